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

    /// Stands for an entry that was refused.
    Entry internal constant NONE = Entry.wrap(0);
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
        uint256 count = order.steps.length;
        if (count > type(uint8).max || word.length > type(uint16).max) revert IOrders.MalformedEntry(0);
        uint256 head = (uint256(uint8(order.node)) << 248) | (uint256(order.firstPeriod) << 216)
            | (uint256(order.lastPeriod) << 184) | (uint256(order.options) << 176) | (uint256(order.nonce) << 144)
            | (uint256(order.deadline) << 104) | (count << 96);
        uint256 end;
        assembly ("memory-safe") {
            batch := mload(0x40)
            mstore(add(batch, 0x20), head)
            end := add(batch, add(0x20, HEAD))
        }
        for (uint256 i; i < count; ++i) {
            Step calldata s = order.steps[i];
            uint256 packed = (s.sells ? 1 << 72 : 0) | (uint256(s.energyWh) << 32) | s.limitUyuanPerKwh;
            assembly ("memory-safe") {
                mstore(end, shl(176, packed))
                end := add(end, STEP)
            }
        }
        assembly ("memory-safe") {
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

    /// @notice Where the signature lies in memory, and its length.
    function signature(Entry e) internal pure returns (uint256 begin, uint256 length) {
        uint256 count = e.steps();
        assembly ("memory-safe") {
            begin := add(e, add(HEAD, mul(STEP, count)))
            length := shr(240, mload(begin))
            begin := add(begin, 2)
        }
    }

    /// @notice The EIP-712 digest of an order of at most 4 steps.
    /// @param separator Where the signature is good.
    function digest(Entry e, bytes32 separator, bytes32 market, uint256 node) internal pure returns (bytes32 result) {
        bytes32 orderType = ORDER_TYPEHASH;
        bytes32 stepType = STEP_TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            let head := mload(e)
            let hashes := add(free, 0x80)
            let next := hashes
            mstore(free, stepType)
            let from := add(e, HEAD)
            for { let end := add(from, mul(STEP, byte(19, head))) } lt(from, end) { from := add(from, STEP) } {
                let word := shr(176, mload(from))
                mstore(add(free, 0x20), iszero(iszero(shr(72, word))))
                mstore(add(free, 0x40), and(shr(32, word), 0xffffffffff))
                mstore(add(free, 0x60), and(word, 0xffffffff))
                mstore(next, keccak256(free, 0x80))
                next := add(next, 0x20)
            }
            let stepsHash := keccak256(hashes, sub(next, hashes))
            mstore(free, orderType)
            mstore(add(free, 0x20), market)
            mstore(add(free, 0x40), node)
            mstore(add(free, 0x60), and(shr(216, head), 0xffffffff))
            mstore(add(free, 0x80), and(shr(184, head), 0xffffffff))
            mstore(add(free, 0xa0), byte(9, head))
            mstore(add(free, 0xc0), and(shr(144, head), 0xffffffff))
            mstore(add(free, 0xe0), and(shr(104, head), 0xffffffffff))
            mstore(add(free, 0x100), stepsHash)
            let structHash := keccak256(free, 0x120)
            mstore(free, hex"1901")
            mstore(add(free, 0x02), separator)
            mstore(add(free, 0x22), structHash)
            result := keccak256(free, 0x42)
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
