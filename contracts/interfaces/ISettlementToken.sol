// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The market's money
/// @notice One token is one yuan, with 6 decimals, so its smallest unit is the micro-yuan (uyuan). The grid company issues it
/// against a recharge and pays out what is redeemed.
interface ISettlementToken {
    /// @notice Tokens were issued against a payment outside the chain.
    event Recharged(address indexed to, uint256 amountUyuan, string reference_);
    /// @notice Tokens were burnt; the grid company owes the holder the amount outside the chain.
    event Redeemed(address indexed holder, uint256 amountUyuan, string reference_);

    /// @notice The caller does not hold the treasury role.
    error NotTreasury(address caller);
    /// @notice Issuing the amount would lift the supply above what an account of the vault can hold.
    error SupplyAboveCap(uint256 amountUyuan, uint256 capUyuan);

    /// @notice Issues tokens. Only the registry's `TREASURY_ROLE`.
    /// @param to Who paid.
    /// @param amountUyuan How much, micro-yuan.
    /// @param reference_ The payment's reference, for the books.
    function recharge(address to, uint256 amountUyuan, string calldata reference_) external;

    /// @notice Burns the caller's tokens against a payment outside the chain.
    /// @param amountUyuan How much, micro-yuan.
    /// @param reference_ Where to pay, for the books.
    function redeem(uint256 amountUyuan, string calldata reference_) external;
}
