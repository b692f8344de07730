// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IClearingVote} from "../interfaces/IClearingVote.sol";

/// @title The master's side of a vote, without any clearing behind it
contract MockMaster is IClearingVote {
    enum Stage {
        Open,
        Checked,
        Cleared
    }

    struct Period {
        bytes32 root;
        uint16 attempt;
        Stage stage;
    }

    mapping(uint32 period => Period) private _periods;

    /// @notice Puts a root to the vote.
    function check(uint32 period, bytes32 root) external {
        (_periods[period].root, _periods[period].stage) = (root, Stage.Checked);
    }

    /// @inheritdoc IClearingVote
    function clearingOf(uint32 period) external view returns (uint16 attempt, bytes32 root, bool decided) {
        Period storage p = _periods[period];
        return (p.attempt, p.root, p.stage == Stage.Cleared);
    }

    /// @inheritdoc IClearingVote
    function authenticate(uint32 period, uint16 attempt) external {
        require(attempt == _periods[period].attempt);
        _periods[period].stage = Stage.Cleared;
    }

    /// @inheritdoc IClearingVote
    function reopen(uint32 period) external {
        _periods[period] = Period({root: 0, attempt: _periods[period].attempt + 1, stage: Stage.Open});
    }
}
