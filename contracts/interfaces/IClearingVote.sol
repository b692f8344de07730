// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What a master lets the committee decide about a checked clearing
/// @notice Documented with the votes in `IClearings`.
interface IClearingVote {
    /// @notice What there is to vote on.
    /// @return attempt Clearings of the period that were reopened so far.
    /// @return root Root of the positions of the checked clearing, which stays after the quorum; 0 while there is none.
    /// @return decided Whether the vote is over: the period is `Cleared` or further.
    function clearingOf(uint32 period) external view returns (uint16 attempt, bytes32 root, bool decided);

    /// @notice Makes a `Checked` clearing the period's. Only the oracle, before the last call.
    function authenticate(uint32 period, uint16 attempt) external;

    /// @notice Throws a `Checked` clearing away and opens the next attempt. Only the oracle, before the last call.
    function reopen(uint32 period) external;
}
