// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Amounts} from "./Amounts.sol";
import {Records} from "./Records.sol";

/// What the nodes of one bucket agreed and traded, by index.
/// @param present Bit i from the least significant one on: whether node i has a record.
/// @param cells Where two words per node are in memory, arbitrary unless it is present:
/// options 8 | sold 40 | bought 40 | receive 72 | pay 72, as in a record,
/// then lock of its agreements, micro-yuan 128 | lock of its order, nano-yuan 128.
struct Tally {
    uint256 present;
    uint256 cells;
}

/// @notice Adds up the positions of a bucket's nodes and writes them as the 38-byte records of SPEC section 8.
/// @dev A node's capacity is 32 bits for its agreements and as much for its orders, so no sum leaves its field.
library Tallies {
    uint256 private constant CELLS = 256 * 64;
    uint256 private constant OPTIONS_BITS = 224;
    uint256 private constant LOCK_BITS = 128;

    /// @notice A tally to be started bucket after bucket.
    function blank() internal pure returns (Tally memory t) {
        uint256 cells;
        assembly ("memory-safe") {
            cells := mload(0x40)
            mstore(0x40, add(cells, CELLS))
        }
        t.cells = cells;
    }

    /// @notice Starts over from the records of a bucket's agreements.
    function start(Tally memory t, bytes calldata agreed) internal pure {
        uint256 present;
        for (uint256 offset; offset < agreed.length; offset += Records.POSITION) {
            uint256 head = Records.word(agreed, offset);
            present |= 1 << (head >> 248);
            // The lock is the record's last 8 bytes.
            uint256 lockUyuan = uint64(Records.word(agreed, offset + Records.POSITION - 32));
            _put(_cell(t, head >> 248), uint232(head >> 16), lockUyuan << LOCK_BITS);
        }
        t.present = present;
    }

    /// @notice Adds a live order: its options, its lock whatever it trades, and what it trades. `index` must be below 256.
    /// @param traded A `sale` or a `purchase`.
    function addOrder(Tally memory t, uint256 index, uint256 options, uint256 lockNyuan, uint256 traded) internal pure {
        (uint256 cell, uint256 bit, uint256 present) = (_cell(t, index), 1 << index, t.present);
        unchecked {
            if (present & bit == 0) {
                t.present = present | bit;
                _put(cell, (options << OPTIONS_BITS) + traded, lockNyuan);
            } else {
                (uint256 plan, uint256 locks) = _get(cell);
                _put(cell, (plan | (options << OPTIONS_BITS)) + traded, locks + lockNyuan);
            }
        }
    }

    /// @notice What an order sells, Wh, and gets, nano-yuan, as a tally adds it.
    function sale(uint256 wh, uint256 nyuan) internal pure returns (uint256) {
        return (wh << 184) | (nyuan << 72);
    }

    /// @notice What an order buys, Wh, and pays, nano-yuan, as a tally adds it.
    function purchase(uint256 wh, uint256 nyuan) internal pure returns (uint256) {
        return (wh << 144) | nyuan;
    }

    /// @notice The records of all nodes that have one.
    function records(Tally memory t) internal pure returns (bytes memory packed) {
        uint256 offset;
        assembly ("memory-safe") {
            packed := mload(0x40)
            offset := add(packed, 0x20)
            mstore(0x40, add(offset, 9760)) // room for 256 records and the end of the last word written
        }
        (uint256 index, uint256 left, uint256 cell) = (0, t.present, t.cells);
        unchecked {
            while (left != 0) {
                if (left & 1 != 0) {
                    (uint256 plan, uint256 locks) = _get(cell);
                    uint256 lock = (locks >> LOCK_BITS) + Amounts.up(uint128(locks));
                    assembly ("memory-safe") {
                        mstore(offset, or(or(shl(248, index), shl(16, plan)), shr(48, lock)))
                        mstore(add(offset, 32), shl(208, lock))
                        offset := add(offset, 38)
                    }
                } else if (uint16(left) == 0) {
                    (index, left, cell) = (index + 16, left >> 16, cell + 1024);
                    continue;
                }
                (index, left, cell) = (index + 1, left >> 1, cell + 64);
            }
        }
        assembly ("memory-safe") {
            mstore(packed, sub(offset, add(packed, 0x20)))
            mstore(0x40, and(add(offset, 63), not(31))) // gives back what was not needed
        }
    }

    function _cell(Tally memory t, uint256 index) private pure returns (uint256) {
        unchecked {
            return t.cells + (index << 6);
        }
    }

    function _get(uint256 cell) private pure returns (uint256 plan, uint256 locks) {
        assembly ("memory-safe") {
            plan := mload(cell)
            locks := mload(add(cell, 0x20))
        }
    }

    function _put(uint256 cell, uint256 plan, uint256 locks) private pure {
        assembly ("memory-safe") {
            mstore(cell, plan)
            mstore(add(cell, 0x20), locks)
        }
    }
}
