// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who decides what the meters said
/// @notice The oracle's seats. The committee of a period is frozen when its price proposals open; a rotation reaches only
/// later periods.
interface ICommittee {
    /// @notice From `fromPeriod` on, `signer` holds the seat.
    event SeatRotated(uint8 indexed seat, address indexed signer, uint32 fromPeriod);

    /// @notice A committee has 1 to 32 seats.
    error CommitteeSize(uint256 seats);
    /// @notice A seat needs an account of its own.
    error BadSigner(address signer);
    /// @notice No such seat.
    error UnknownSeat(uint256 seat, uint256 seats);
    /// @notice The caller does not hold the registry role.
    error NotAllowed(address caller, bytes32 role);

    /// @notice Gives a seat a new signer, after a delay. Only the registry's `COMMITTEE_ROLE`.
    function rotateSeat(uint8 seat, address signer) external returns (uint32 fromPeriod);

    /// @notice The signers of a period's seats, in seat order.
    function seatsOf(uint32 period) external view returns (address[] memory);

    /// @notice Votes needed among `seats`: strictly more than two thirds.
    function quorumOf(uint256 seats) external pure returns (uint256);
}
