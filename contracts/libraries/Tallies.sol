// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Amounts} from "./Amounts.sol";
import {Records} from "./Records.sol";

/// What the nodes of one bucket agreed and traded, by index.
/// @param present Bit i from the least significant one on: whether node i has a record.
/// @param plans Per node: options 8 | sold 40 | bought 40 | receive 72 | pay 72, as in a record.
/// @param locks Per node: lock of its agreements, micro-yuan 128 | lock of its order, nano-yuan 128.
struct Tally {
    uint256 present;
    uint256[] plans;
    uint256[] locks;
}

/// @notice Adds up the positions of a bucket's nodes and writes them as the 38-byte records of SPEC section 8.
/// @dev A node's capacity is 32 bits for its agreements and as much for its orders, so no sum leaves its field.
library Tallies {
    uint256 private constant BUCKET = 256;
    uint256 private constant OPTIONS_BITS = 224;
    uint256 private constant LOCK_BITS = 128;

    /// @notice A tally to be started bucket after bucket.
    function blank() internal pure returns (Tally memory t) {
        t.plans = new uint256[](BUCKET);
        t.locks = new uint256[](BUCKET);
    }

    /// @notice Starts over from the records of a bucket's agreements.
    function start(Tally memory t, bytes calldata agreed) internal pure {
        (uint256[] memory plans, uint256[] memory locks) = (t.plans, t.locks);
        t.present = 0;
        assembly ("memory-safe") {
            // Beyond its end calldata is zero.
            calldatacopy(add(plans, 0x20), calldatasize(), mul(0x20, mload(plans)))
            calldatacopy(add(locks, 0x20), calldatasize(), mul(0x20, mload(locks)))
        }
        for (uint256 offset; offset < agreed.length; offset += Records.POSITION) {
            uint256 head = Records.word(agreed, offset);
            uint256 index = head >> 248;
            t.present |= 1 << index;
            t.plans[index] = uint232(head >> 16);
            // The lock is the record's last 8 bytes.
            t.locks[index] = uint256(uint64(Records.word(agreed, offset + Records.POSITION - 32))) << LOCK_BITS;
        }
    }

    /// @notice Adds a live order: its options and its lock, whatever it trades. `index` must be below 256.
    function addOrder(Tally memory t, uint256 index, uint256 options, uint256 lockNyuan) internal pure {
        t.present |= 1 << index;
        (uint256 plan, uint256 lock) = (_at(t.plans, index), _at(t.locks, index));
        unchecked {
            _put(plan, _get(plan) | (options << OPTIONS_BITS));
            _put(lock, _get(lock) + lockNyuan);
        }
    }

    /// @notice Adds what an order sells, Wh, and gets, nano-yuan. `index` must be below 256.
    function addSale(Tally memory t, uint256 index, uint256 wh, uint256 nyuan) internal pure {
        uint256 plan = _at(t.plans, index);
        unchecked {
            _put(plan, _get(plan) + (wh << 184) + (nyuan << 72));
        }
    }

    /// @notice Adds what an order buys, Wh, and pays, nano-yuan. `index` must be below 256.
    function addPurchase(Tally memory t, uint256 index, uint256 wh, uint256 nyuan) internal pure {
        uint256 plan = _at(t.plans, index);
        unchecked {
            _put(plan, _get(plan) + (wh << 144) + nyuan);
        }
    }

    /// @notice The records of all nodes that have one.
    function records(Tally memory t) internal pure returns (bytes memory packed) {
        uint256 offset;
        assembly ("memory-safe") {
            packed := mload(0x40)
            offset := add(packed, 0x20)
            mstore(0x40, add(offset, 9760)) // room for 256 records and the end of the last word written
        }
        unchecked {
            for ((uint256 index, uint256 left) = (0, t.present); left != 0; (++index, left >>= 1)) {
                if (left & 1 == 0) continue;
                (uint256 plan, uint256 locks) = (_get(_at(t.plans, index)), _get(_at(t.locks, index)));
                uint256 lock = (locks >> LOCK_BITS) + Amounts.up(uint128(locks));
                assembly ("memory-safe") {
                    mstore(offset, or(or(shl(248, index), shl(16, plan)), shr(48, lock)))
                    mstore(add(offset, 32), shl(208, lock))
                    offset := add(offset, 38)
                }
            }
        }
        assembly ("memory-safe") {
            mstore(packed, sub(offset, add(packed, 0x20)))
            mstore(0x40, and(add(offset, 63), not(31))) // gives back what was not needed
        }
    }

    function _at(uint256[] memory column, uint256 index) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := add(add(column, 0x20), shl(5, index))
        }
    }

    function _get(uint256 place) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(place)
        }
    }

    function _put(uint256 place, uint256 word) private pure {
        assembly ("memory-safe") {
            mstore(place, word)
        }
    }
}
