// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What a contract may ask the oracle.
enum QueryKind {
    ExportWh,
    ImportWh,
    PlannedPrice,
    CompensationPrice,
    SellingPrice
}

/// @title Asking the oracle from any contract (Peng, section IV-C)
/// @notice A contract asks for a meter's energy or a price of a period and is called back with the value the committee fixed.
/// Delivery is anyone's separate call, so that a consumer can never hold up a settlement.
interface IQueries {
    /// @notice A contract asked; the fee is the deliverer's, who has to send `callbackGas * 64 / 63` and what delivering takes.
    event Queried(
        bytes32 indexed id,
        address indexed consumer,
        bytes32 meter,
        uint32 period,
        QueryKind kind,
        uint32 callbackGas,
        uint256 feeWei
    );
    /// @notice The consumer was called back; `success` says whether its callback accepted the value.
    event Delivered(bytes32 indexed id, uint256 value, bool success);
    /// @notice A query found no answer in time; its fee went back to the consumer.
    event Refunded(bytes32 indexed id, uint256 feeWei);

    /// @notice Only contracts can be called back.
    error NotAContract(address caller);
    /// @notice The callback may use 30,000 to 1,000,000 gas.
    error CallbackGasOutOfBounds(uint256 gasAsked);
    /// @notice The meter measures no node.
    error UnknownMeter(bytes32 meter);
    /// @notice No open query of this id.
    error UnknownQuery(bytes32 id);
    /// @notice The committee has no measured reading of the meter for the period (yet).
    error NotMeasured(bytes32 meter, uint32 period);
    /// @notice The bytes are not those of the latest accepted report.
    error NotTheReport(uint32 period);
    /// @notice Too little gas left to give the callback what it was promised.
    error GasTooLow(uint256 gasLeft, uint256 needed);
    /// @notice The query can still be answered; refunds open later.
    error RefundTooEarly(bytes32 id, uint256 opensAt);
    /// @notice Nothing to pay out, or the receiver refused it.
    error NothingPaid(address receiver, uint256 amountWei);

    /// @notice Asks for a value. The call's money is the fee of whoever delivers the answer.
    /// @param meter The meter (ignored for prices).
    /// @param period The period.
    /// @param kind What about it.
    /// @param callbackGas Gas the callback gets.
    /// @return id Names the query in the callback.
    function query(bytes32 meter, uint32 period, QueryKind kind, uint32 callbackGas)
        external
        payable
        returns (bytes32 id);

    /// @notice Answers a query by its consumer's `__callback(id, value)`. Energy in Wh, prices in micro-yuan per kWh.
    /// @param id The query.
    /// @param bucketHashes The hashes of the latest report's buckets; empty for prices.
    /// @param bucket The bytes of the meter's bucket; empty for prices.
    function deliver(bytes32 id, bytes32[] calldata bucketHashes, bytes calldata bucket) external;

    /// @notice Returns the fee of a query nobody could answer until the period's correction window ended.
    function refund(bytes32 id) external;

    /// @notice Pays out the caller's earned fees and refunds.
    function collectFees() external;

    /// @notice Fees and refunds an account can collect, wei.
    function feesOf(address account) external view returns (uint256);
}
