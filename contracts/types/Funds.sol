// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// One node's account in one word: free 64 | locked 64 | base 31 | window 96 | has debt 1, amounts in micro-yuan.
/// Bit `i` of the window, from the lowest, tells that an order of the node is live in period `base + i`.
type Funds is uint256;

using FundsFields for Funds global;

/// @notice Reads and changes the fields of an account word.
library FundsFields {
    /// Periods the window spans.
    uint256 internal constant SPAN = 96;
    /// Periods a base can name.
    uint256 internal constant PERIODS = 1 << 31;

    uint256 private constant AMOUNT = type(uint64).max;
    uint256 private constant WINDOW = type(uint96).max;
    uint256 private constant ORDERS = type(uint128).max - 1;

    function freeUyuan(Funds f) internal pure returns (uint256) {
        return Funds.unwrap(f) >> 192;
    }

    function lockedUyuan(Funds f) internal pure returns (uint256) {
        return (Funds.unwrap(f) >> 128) & AMOUNT;
    }

    /// @notice The first period of the window.
    function base(Funds f) internal pure returns (uint256) {
        return (Funds.unwrap(f) >> 97) & (PERIODS - 1);
    }

    function window(Funds f) internal pure returns (uint256) {
        return (Funds.unwrap(f) >> 1) & WINDOW;
    }

    function hasDebt(Funds f) internal pure returns (bool) {
        return f.debtBit() != 0;
    }

    /// @notice One if there is debt, else zero.
    function debtBit(Funds f) internal pure returns (uint256) {
        return Funds.unwrap(f) & 1;
    }

    /// @notice Replaces both amounts, each below 2^64, and whether there is debt.
    function withAmounts(Funds f, uint256 free, uint256 locked, bool debt) internal pure returns (Funds) {
        return Funds.wrap((free << 192) | (locked << 128) | (Funds.unwrap(f) & ORDERS) | (debt ? 1 : 0));
    }

    /// @notice Slides the window to the first open period, locks an amount and sets a bit, if nothing stands against it.
    /// @param openPeriod The first open period.
    /// @param bit Of a period in the window that begins there.
    /// @return entered Zero if there is debt, the bit is set, the free amount is smaller or the window is further on.
    function entering(Funds f, uint256 openPeriod, uint256 bit, uint256 amountUyuan)
        internal
        pure
        returns (Funds entered)
    {
        assembly ("memory-safe") {
            let from := and(shr(97, f), 0x7fffffff)
            let orders := shl(1, shr(sub(openPeriod, from), and(shr(1, f), 0xffffffffffffffffffffffff)))
            let wrong := or(or(and(f, 1), and(orders, bit)), or(gt(from, openPeriod), gt(amountUyuan, shr(192, f))))
            if iszero(wrong) {
                entered := or(shl(128, shr(128, f)), or(or(orders, bit), shl(97, openPeriod)))
                // What is locked is part of the token's supply, which fits 64 bits.
                entered := add(sub(entered, shl(192, amountUyuan)), shl(128, amountUyuan))
            }
        }
    }

    /// @notice Moves the window on so that it begins at `period`, below 2^31; it never moves back.
    function slidTo(Funds f, uint256 period) internal pure returns (Funds) {
        uint256 from = f.base();
        if (period <= from) return f;
        unchecked {
            // Shifting by more than a word's bits leaves nothing, as it should: those periods are past.
            uint256 orders = (period << 97) | ((f.window() >> (period - from)) << 1);
            return Funds.wrap((Funds.unwrap(f) & ~ORDERS) | orders);
        }
    }

    /// @notice The word's bit for a period inside the window.
    function bitOf(Funds f, uint256 period) internal pure returns (uint256) {
        return 2 << (period - f.base());
    }

    function isLive(Funds f, uint256 bit) internal pure returns (bool) {
        return Funds.unwrap(f) & bit != 0;
    }

    /// @notice Sets or clears a period's bit.
    function flipped(Funds f, uint256 bit) internal pure returns (Funds) {
        return Funds.wrap(Funds.unwrap(f) ^ bit);
    }
}
