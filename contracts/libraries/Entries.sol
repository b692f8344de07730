// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IOrders} from "../interfaces/IOrders.sol";
import {Order, Step} from "../types/Types.sol";

/// A packed order in memory, by its address; `IOrders` gives the format.
type Entry is uint256;

using Entries for Entry global;

/// @notice Reads packed orders where they lie, hashes them, and writes their records.
library Entries {
    bytes32 internal constant STEP_TYPEHASH = keccak256("Step(bool sells,uint40 energyWh,uint32 limitUyuanPerKwh)");
    bytes32 internal constant ORDER_TYPEHASH = keccak256(
        "Order(bytes32 market,uint32 node,uint32 firstPeriod,uint32 lastPeriod,uint8 options,uint32 nonce,uint40 deadline,"
        "Step[] steps)Step(bool sells,uint40 energyWh,uint32 limitUyuanPerKwh)"
    );

    /// Bytes of a record.
    uint256 internal constant RECORD = 16;

    uint256 private constant HEAD = 20;
    uint256 private constant STEP = 10;

    /// @notice Finds the entries in a batch, each within its bytes.
    function split(bytes memory batch) internal pure returns (Entry[] memory entries) {
        uint256 failed;
        assembly ("memory-safe") {
            entries := mload(0x40)
            let next := add(entries, 0x20)
            let at := add(batch, 0x20)
            let end := add(at, mload(batch))
            for {} lt(at, end) {} {
                mstore(next, at)
                next := add(next, 0x20)
                // What lies behind the batch is read as well, but only to find that the entry ends there.
                at := add(at, add(HEAD, mul(STEP, byte(19, mload(at)))))
                at := add(at, add(2, shr(240, mload(at))))
            }
            failed := gt(at, end)
            mstore(entries, shr(5, sub(sub(next, entries), 0x20)))
            mstore(0x40, next)
        }
        if (failed != 0) revert IOrders.MalformedEntry(entries.length - 1);
    }

    /// @notice Packs an order with its signature as a batch of its own.
    function pack(Order calldata order, bytes calldata word) internal pure returns (bytes memory batch) {
        Step[] calldata list = order.steps;
        if (list.length > type(uint8).max || word.length > type(uint16).max) revert IOrders.MalformedEntry(0);
        // Fields are cut to their width here, so it is what is left of them that is checked, signed and placed.
        assembly ("memory-safe") {
            batch := mload(0x40)
            let count := list.length
            let from := list.offset
            let head := or(shl(248, calldataload(add(order, 0x20))), shl(96, count))
            head := or(head, shl(216, and(calldataload(add(order, 0x40)), 0xffffffff)))
            head := or(head, shl(184, and(calldataload(add(order, 0x60)), 0xffffffff)))
            head := or(head, shl(176, and(calldataload(add(order, 0x80)), 0xff)))
            head := or(head, shl(144, and(calldataload(add(order, 0xa0)), 0xffffffff)))
            head := or(head, shl(104, and(calldataload(add(order, 0xc0)), 0xffffffffff)))
            mstore(add(batch, 0x20), head)
            let end := add(batch, add(0x20, HEAD))
            for { let last := add(end, mul(STEP, count)) } lt(end, last) { end := add(end, STEP) } {
                let side := shl(248, iszero(iszero(calldataload(from))))
                let energyWh := shl(208, and(calldataload(add(from, 0x20)), 0xffffffffff))
                mstore(end, or(side, or(energyWh, shl(176, and(calldataload(add(from, 0x40)), 0xffffffff)))))
                from := add(from, 0x60)
            }
            mstore(end, shl(240, word.length))
            end := add(end, 2)
            calldatacopy(end, word.offset, word.length)
            end := add(end, word.length)
            mstore(batch, sub(sub(end, batch), 0x20))
            mstore(0x40, and(add(end, 0x1f), not(0x1f)))
        }
    }

    function index(Entry e) internal pure returns (uint256) {
        return _field(e, 248, type(uint8).max);
    }

    function firstPeriod(Entry e) internal pure returns (uint256) {
        return _field(e, 216, type(uint32).max);
    }

    function lastPeriod(Entry e) internal pure returns (uint256) {
        return _field(e, 184, type(uint32).max);
    }

    function options(Entry e) internal pure returns (uint256) {
        return _field(e, 176, type(uint8).max);
    }

    function nonce(Entry e) internal pure returns (uint256) {
        return _field(e, 144, type(uint32).max);
    }

    function deadline(Entry e) internal pure returns (uint256) {
        return _field(e, 104, type(uint40).max);
    }

    function steps(Entry e) internal pure returns (uint256) {
        return _field(e, 96, type(uint8).max);
    }

    /// @notice A step; any byte but 0 sells.
    function step(Entry e, uint256 i) internal pure returns (bool sells, uint256 energyWh, uint256 limitUyuanPerKwh) {
        uint256 word;
        assembly ("memory-safe") {
            word := shr(176, mload(add(e, add(HEAD, mul(STEP, i)))))
        }
        return (word >> 72 != 0, (word >> 32) & type(uint40).max, word & type(uint32).max);
    }

    /// @notice What all steps come to. Energies in Wh, prices in micro-yuan per kWh.
    /// @param leastWh Least energy of a step.
    /// @param cap Highest limit, and what a seller may have to pay for what it sells.
    /// @param fee What a buyer may have to pay on top of its limit.
    /// @return soldWh Energy of the asks.
    /// @return boughtWh Energy of the bids.
    /// @return lockNyuan Worst case: a buyer never pays more than its limit, a seller buys everything back at the cap.
    /// @return sound Whether every step is within its bounds and every bid limit below every ask limit.
    function sums(Entry e, uint256 leastWh, uint256 cap, uint256 fee)
        internal
        pure
        returns (uint256 soldWh, uint256 boughtWh, uint256 lockNyuan, bool sound)
    {
        assembly ("memory-safe") {
            let lowestAsk := 0x100000000
            let bidEnd := 0
            let wrong := 0
            let from := add(e, HEAD)
            for { let end := add(from, mul(STEP, byte(19, mload(e)))) } lt(from, end) { from := add(from, STEP) } {
                let word := shr(176, mload(from))
                let limit := and(word, 0xffffffff)
                let energyWh := and(shr(32, word), 0xffffffffff)
                wrong := or(wrong, or(lt(energyWh, leastWh), gt(limit, cap)))
                switch shr(72, word)
                case 0 {
                    boughtWh := add(boughtWh, energyWh)
                    lockNyuan := add(lockNyuan, mul(energyWh, add(limit, fee)))
                    if iszero(lt(limit, bidEnd)) { bidEnd := add(limit, 1) }
                }
                default {
                    soldWh := add(soldWh, energyWh)
                    lockNyuan := add(lockNyuan, mul(energyWh, cap))
                    if lt(limit, lowestAsk) { lowestAsk := limit }
                }
            }
            sound := iszero(or(wrong, gt(bidEnd, lowestAsk)))
        }
    }

    /// @notice Where the signature lies in memory, and its length.
    function signature(Entry e) internal pure returns (uint256 begin, uint256 length) {
        uint256 count = e.steps();
        assembly ("memory-safe") {
            begin := add(e, add(HEAD, mul(STEP, count)))
            length := shr(240, mload(begin))
            begin := add(begin, 2)
        }
    }

    /// @notice Memory in which digests are put together, with what all of them have in common.
    /// @param separator Where the signatures are good.
    function form(bytes32 separator, bytes32 market) internal pure returns (uint256 blank) {
        bytes32 orderType = ORDER_TYPEHASH;
        bytes32 stepType = STEP_TYPEHASH;
        // A step 0x80, hashes of 4 steps 0x80, an order 0x120, what is signed 0x42.
        assembly ("memory-safe") {
            blank := mload(0x40)
            mstore(blank, stepType)
            mstore(add(blank, 0x100), orderType)
            mstore(add(blank, 0x120), market)
            mstore(add(blank, 0x220), hex"1901")
            mstore(add(blank, 0x222), separator)
            mstore(0x40, add(blank, 0x280))
        }
    }

    /// @notice The EIP-712 digest of an order of at most 4 steps.
    /// @param blank See `form`.
    function digest(Entry e, uint256 blank, uint256 node) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let head := mload(e)
            let hashes := add(blank, 0x80)
            let next := hashes
            let from := add(e, HEAD)
            for { let end := add(from, mul(STEP, byte(19, head))) } lt(from, end) { from := add(from, STEP) } {
                let word := shr(176, mload(from))
                mstore(add(blank, 0x20), iszero(iszero(shr(72, word))))
                mstore(add(blank, 0x40), and(shr(32, word), 0xffffffffff))
                mstore(add(blank, 0x60), and(word, 0xffffffff))
                mstore(next, keccak256(blank, 0x80))
                next := add(next, 0x20)
            }
            mstore(add(blank, 0x140), node)
            mstore(add(blank, 0x160), and(shr(216, head), 0xffffffff))
            mstore(add(blank, 0x180), and(shr(184, head), 0xffffffff))
            mstore(add(blank, 0x1a0), byte(9, head))
            mstore(add(blank, 0x1c0), and(shr(144, head), 0xffffffff))
            mstore(add(blank, 0x1e0), and(shr(104, head), 0xffffffffff))
            mstore(add(blank, 0x200), keccak256(hashes, sub(next, hashes)))
            mstore(add(blank, 0x242), keccak256(add(blank, 0x100), 0x120))
            result := keccak256(add(blank, 0x220), 0x42)
        }
    }

    /// @notice The digest of an order of one step, in a row.
    /// @param firstNode First node of the order's bucket.
    function digestOfOne(Entry e, uint256 blank, uint256 firstNode) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let head := mload(e)
            let word := mload(add(e, HEAD))
            mstore(add(blank, 0x20), iszero(iszero(byte(0, word))))
            mstore(add(blank, 0x40), and(shr(208, word), 0xffffffffff))
            mstore(add(blank, 0x60), and(shr(176, word), 0xffffffff))
            mstore(0, keccak256(blank, 0x80))
            mstore(add(blank, 0x140), or(firstNode, byte(0, head)))
            mstore(add(blank, 0x160), and(shr(216, head), 0xffffffff))
            mstore(add(blank, 0x180), and(shr(184, head), 0xffffffff))
            mstore(add(blank, 0x1a0), byte(9, head))
            mstore(add(blank, 0x1c0), and(shr(144, head), 0xffffffff))
            mstore(add(blank, 0x1e0), and(shr(104, head), 0xffffffffff))
            mstore(add(blank, 0x200), keccak256(0, 0x20))
            mstore(add(blank, 0x242), keccak256(add(blank, 0x100), 0x120))
            result := keccak256(add(blank, 0x220), 0x42)
        }
    }

    /// @notice Writes the order's records to free memory, spilling up to 16 bytes behind them.
    /// @param to Where to write.
    /// @param bus Bus of the order's node.
    /// @param seq Number of the first record.
    /// @return end Where the records end.
    function write(Entry e, uint256 to, uint256 bus, uint256 seq) internal pure returns (uint256 end) {
        assembly ("memory-safe") {
            let head := mload(e)
            let common := or(or(shl(248, byte(0, head)), shl(232, bus)), shl(224, byte(9, head)))
            end := to
            let from := add(e, HEAD)
            for { let last := add(from, mul(STEP, byte(19, head))) } lt(from, last) { from := add(from, STEP) } {
                let word := shr(176, mload(from))
                let sells := shl(231, iszero(iszero(shr(72, word))))
                let amounts := shl(152, and(word, 0xffffffffffffffffff))
                mstore(end, or(or(common, sells), or(amounts, shl(128, seq))))
                seq := add(seq, 1)
                end := add(end, RECORD)
            }
        }
    }

    function _field(Entry e, uint256 shift, uint256 mask) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := and(shr(shift, mload(e)), mask)
        }
    }
}
