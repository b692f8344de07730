// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Turns nano-yuan (Wh times micro-yuan per kWh) into micro-yuan, and shares energy without losing a Wh.
library Amounts {
    /// One micro-yuan in nano-yuan.
    uint256 internal constant NYUAN_PER_UYUAN = 1000;

    /// @notice What a payee gets: rounded down, so that nobody is paid what nobody paid.
    function down(uint256 nyuan) internal pure returns (uint256) {
        return nyuan / NYUAN_PER_UYUAN;
    }

    /// @notice What a payer owes: rounded up.
    function up(uint256 nyuan) internal pure returns (uint256) {
        unchecked {
            return (nyuan + NYUAN_PER_UYUAN - 1) / NYUAN_PER_UYUAN; // amounts are below 2^80
        }
    }

    /// @notice A node's part of `traded`, telescoping: the parts of a side add up to `traded` exactly.
    /// @param traded Energy the whole side trades, Wh, at most `total`.
    /// @param seen Quantity of the nodes before this one, Wh.
    /// @param quantity Quantity of this node, Wh.
    /// @param total Quantity of the whole side, Wh, not zero.
    function share(uint256 traded, uint256 seen, uint256 quantity, uint256 total) internal pure returns (uint256) {
        if (traded == total) return quantity;
        unchecked {
            // All are sums of at most 2^32 nodes' 2^40 Wh, so the products stay below 2^144; the second floor is the smaller.
            return traded * (seen + quantity) / total - traded * seen / total;
        }
    }
}
