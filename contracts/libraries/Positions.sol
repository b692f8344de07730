// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Prices} from "../types/Types.sol";
import {Amounts} from "./Amounts.sol";

/// One node's position while its book is open, in one word: period 24 | options 8 | sold 40 | bought 40 | receive 72 | pay 72.
/// The period makes a word of an earlier period in the same place count as empty.
type OpenPosition is uint256;

using Positions for OpenPosition global;

/// @notice Adds up positions and writes them as the 38-byte records of SPEC section 8.
library Positions {
    /// Length of a packed record.
    uint256 internal constant RECORD = 38;

    uint256 private constant WH = type(uint40).max;
    uint256 private constant NYUAN = type(uint72).max;

    /// @notice An empty position of a period. Periods are below 2^24, which is 478 years of quarter hours.
    function empty(uint32 period) internal pure returns (OpenPosition) {
        return OpenPosition.wrap(uint256(uint24(period)) << 232);
    }

    /// @notice Whether the word belongs to the period.
    function isOf(OpenPosition p, uint32 period) internal pure returns (bool) {
        return OpenPosition.unwrap(p) >> 232 == uint24(period);
    }

    function options(OpenPosition p) internal pure returns (uint256) {
        return (OpenPosition.unwrap(p) >> 224) & 0xff;
    }

    function soldWh(OpenPosition p) internal pure returns (uint256) {
        return (OpenPosition.unwrap(p) >> 184) & WH;
    }

    function boughtWh(OpenPosition p) internal pure returns (uint256) {
        return (OpenPosition.unwrap(p) >> 144) & WH;
    }

    function receiveNyuan(OpenPosition p) internal pure returns (uint256) {
        return (OpenPosition.unwrap(p) >> 72) & NYUAN;
    }

    function payNyuan(OpenPosition p) internal pure returns (uint256) {
        return OpenPosition.unwrap(p) & NYUAN;
    }

    /// @notice Adds options.
    function withOptions(OpenPosition p, uint8 more) internal pure returns (OpenPosition) {
        return OpenPosition.wrap(OpenPosition.unwrap(p) | (uint256(more) << 224));
    }

    /// @notice Adds sold energy. The caller keeps the sum within a 32-bit capacity, so no field overflows.
    function withSale(OpenPosition p, uint256 energyWh, uint256 amountNyuan) internal pure returns (OpenPosition) {
        return OpenPosition.wrap(OpenPosition.unwrap(p) + (energyWh << 184) + (amountNyuan << 72));
    }

    /// @notice Adds bought energy. The caller keeps the sum within a 32-bit capacity, so no field overflows.
    function withPurchase(OpenPosition p, uint256 energyWh, uint256 amountNyuan) internal pure returns (OpenPosition) {
        return OpenPosition.wrap(OpenPosition.unwrap(p) + (energyWh << 144) + amountNyuan);
    }

    /// @notice What must be locked behind the position, micro-yuan (SPEC section 5).
    function lockUyuan(OpenPosition p, Prices memory prices) internal pure returns (uint256) {
        return Amounts.up(p.payNyuan() + prices.fee * p.boughtWh()) + Amounts.up(prices.retail * p.soldWh());
    }

    /// @notice The packed record of a position, left-aligned in two words of which the first 38 bytes count.
    function record(OpenPosition p, uint256 index, Prices memory prices)
        internal
        pure
        returns (uint256 head, uint256 tail)
    {
        // The word without its period is already in the record's order; the index takes the period's last byte.
        uint256 body = uint256(uint232(OpenPosition.unwrap(p)));
        uint256 lock = p.lockUyuan(prices);
        head = (index << 248) | (body << 16) | (lock >> 48);
        tail = lock << 208;
    }
}
