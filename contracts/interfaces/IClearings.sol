// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Proposal} from "./IBallots.sol";

/// One seat's signed reason why a clearing must not stand.
/// @param seat Index of the seat in the period's committee.
/// @param line The line that carries too much.
/// @param up Which way: towards the root or away from it.
/// @param limitWh What it should carry at most, Wh of the period; below what held for this attempt.
/// @param signature EIP-712 signature of `Objection`, 65 bytes.
struct SeatObjection {
    uint8 seat;
    uint16 line;
    bool up;
    uint32 limitWh;
    bytes signature;
}

/// @title The vote on a clearing
/// @notice The master's checked clearing is the proposal, `Proposal{Clearing, period, attempt, 0, positions root}`: nobody has to
/// make it. Seats support it with `IBallots.vote`, or oppose it here and say what would mend it. Both end at the last call.
/// @dev A seat has one word per attempt. With more than `n - quorum` objections to one line and direction, so at least one
/// honest, the lowest limit that as many seats find low enough binds the line for the rest of the period, and the period is
/// open for a clearing that fits (Sun, section III-A). Objections to different lines do not add up.
interface IClearings {
    /// @notice A seat's objection counted.
    event Objected(
        uint32 indexed period, uint16 attempt, uint8 indexed seat, uint16 line, bool up, uint32 limitWh
    );

    /// @notice Who opposes a clearing has to name a line, with `object`.
    error OpposedWithoutALine(uint8 seat);
    /// @notice The limit is not below what held, so that the next clearing would be the same.
    error NothingLowered(uint8 seat, uint32 limitWh, uint32 heldWh);

    /// @notice Counts objections to a checked clearing. Words of seats that have spoken, or on what is decided, change nothing.
    /// @param clearing The checked clearing.
    /// @param objections The objections.
    /// @param headroom As in `IGrid.linesOf`: what the limits are compared with.
    function object(Proposal calldata clearing, SeatObjection[] calldata objections, bytes calldata headroom) external;

    /// @notice A seat's objection to an attempt; all zero if there is none.
    function objectionOf(uint32 period, uint16 attempt, uint8 seat)
        external
        view
        returns (uint16 line, bool up, uint32 limitWh);
}
