// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What all messages of members have in common
/// @notice Refusals and approvals shared by agreements, declarations and orders.
interface IDesk {
    /// @notice A node approved a message by transaction instead of a signature.
    event Approved(uint32 indexed node, bytes32 indexed digest);
    /// @notice A batch entry was refused and left out; `reason` is the encoded error.
    event Skipped(uint256 index, bytes reason);

    /// @notice The grid company paused orders.
    error OrdersPaused();
    /// @notice The message is for another market, or for this chain before it was reset.
    error WrongMarket(bytes32 given, bytes32 expected);
    /// @notice The market does not settle periods that began before it did.
    error BeforeMarket(uint32 period, uint32 firstPeriod);
    /// @notice The message's deadline has passed.
    error Expired(uint256 deadline, uint256 nowAt);
    /// @notice The period takes no more orders.
    error GateClosed(uint32 period, uint256 gateAt);
    /// @notice The node is suspended.
    error NodeSuspended(uint32 node);
    /// @notice The node's role does not let it stand on this side.
    error RoleForbids(uint32 node, uint8 role);
    /// @notice The node would plan more than its capacity in the period.
    error OverCapacity(uint32 node, uint256 plannedWh, uint256 capacityWh);
    /// @notice Unknown option bits.
    error UnknownOptions(uint8 options);
    /// @notice Neither a signature nor an approval of the node's account.
    error NotSigned(uint32 node, address account);
    /// @notice The caller does not act for the node.
    error NotAccount(uint32 node, address caller);
    /// @notice The batch ran out of gas at an entry; send it with more, or with fewer entries.
    error BatchOutOfGas(uint256 index);
    /// @notice The storage is still needed by a period nobody has cleared; clear that one first.
    error PeriodUncleared(uint32 period);

    /// @notice Approves a message of `digest` for a node by transaction, as contract accounts must.
    function approve(uint32 node, bytes32 digest) external;
}
