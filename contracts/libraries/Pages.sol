// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Terms} from "../interfaces/IRule.sol";
import {Records} from "./Records.sol";
import {Tallies, Tally} from "./Tallies.sol";

/// One step of an order as the book keeps it: index 8 | bus 16 | flags 8 | energy 40 | limit 32 | seq 24 (SPEC section 8).
type OrderRecord is uint256;

using OrderRecords for OrderRecord global;

/// @notice Reads the fields of a `OrderRecord`.
library OrderRecords {
    uint256 private constant SELLS = 1 << 103;
    uint256 private constant OPTIONS = 7;

    function index(OrderRecord s) internal pure returns (uint256) {
        return OrderRecord.unwrap(s) >> 120;
    }

    function bus(OrderRecord s) internal pure returns (uint256) {
        return uint16(OrderRecord.unwrap(s) >> 104);
    }

    function buys(OrderRecord s) internal pure returns (bool) {
        return OrderRecord.unwrap(s) & SELLS == 0;
    }

    function options(OrderRecord s) internal pure returns (uint256) {
        return (OrderRecord.unwrap(s) >> 96) & OPTIONS;
    }

    function energyWh(OrderRecord s) internal pure returns (uint256) {
        return uint40(OrderRecord.unwrap(s) >> 56);
    }

    function limit(OrderRecord s) internal pure returns (uint256) {
        return uint32(OrderRecord.unwrap(s) >> 24);
    }

    function seq(OrderRecord s) internal pure returns (uint256) {
        return uint24(OrderRecord.unwrap(s));
    }
}

/// @notice Walks the orders of a page: batch by batch a number of records (2 bytes), then the records (16 bytes each).
library Pages {
    using Tallies for Tally;

    /// Bytes of a batch's number of records.
    uint256 internal constant COUNT = 2;
    /// Bytes of a record.
    uint256 internal constant RECORD = 16;

    /// @notice Whether a page holds exactly the batches that add up to a hash and a number of records: of every batch in turn
    /// `hash' = first 24 bytes of keccak256(hash ++ keccak256(records))`, from 0.
    function areOf(bytes calldata orders, bytes24 hash, uint256 records) internal pure returns (bool) {
        bytes24 reached;
        uint256 counted;
        uint256 offset;
        while (offset < orders.length) {
            uint256 count = countAt(orders, offset);
            uint256 end = offset + COUNT + RECORD * count;
            if (end > orders.length) return false;
            bytes32 batch = keccak256(orders[offset + COUNT:end]);
            reached = bytes24(keccak256(abi.encodePacked(reached, batch)));
            (counted, offset) = (counted + count, end);
        }
        return reached == hash && counted == records;
    }

    /// @notice Number of records of the batch at an offset.
    function countAt(bytes calldata orders, uint256 offset) internal pure returns (uint256) {
        return Records.word(orders, offset) >> 240;
    }

    /// @notice The order at an offset.
    function recordAt(bytes calldata orders, uint256 offset) internal pure returns (OrderRecord) {
        return OrderRecord.wrap(Records.word(orders, offset) >> 128);
    }

    /// @notice Whether a bitmap, from the most significant bit on, has a seq.
    function isCancelled(bytes calldata cancelled, uint256 seq) internal pure returns (bool) {
        return seq >> 3 < cancelled.length && (Records.word(cancelled, seq >> 3) >> (255 - (seq & 7))) & 1 != 0;
    }

    /// @notice What the highest prices of a market lock behind an order, nano-yuan: a bid its limit and the highest fee, an ask
    /// the highest price.
    function lockOf(OrderRecord order, uint256 feeCap, uint256 priceCap) internal pure returns (uint256) {
        unchecked {
            return order.energyWh() * (order.buys() ? order.limit() + feeCap : priceCap); // 40 and 33 bits
        }
    }

    /// @notice Adds the orders of a bucket of which none trades.
    function addStanding(Tally memory tally, Terms calldata terms, bytes calldata cancelled, bytes calldata orders)
        internal
        pure
    {
        (uint256 feeCap, uint256 priceCap) = (terms.feeCap, terms.priceCap);
        for (uint256 offset; offset < orders.length;) {
            uint256 end = offset + COUNT + RECORD * countAt(orders, offset);
            for (offset += COUNT; offset < end; offset += RECORD) {
                OrderRecord order = recordAt(orders, offset);
                if (isCancelled(cancelled, order.seq())) continue;
                tally.addOrder(order.index(), order.options(), lockOf(order, feeCap, priceCap), 0);
            }
        }
    }
}
