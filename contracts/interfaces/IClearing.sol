// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IClearingVote} from "./IClearingVote.sol";

/// How far the check of a claim has come; its hash is what the chain keeps between two calls.
/// @param buckets Number of buckets of the period.
/// @param bucket The next one.
/// @param root Root of the positions so far.
/// @param state What the rule needs to go on.
struct ClearJob {
    uint32 buckets;
    uint32 bucket;
    bytes32 root;
    bytes state;
}

/// @title Fixing the positions of a period
/// @notice From the gate on, anyone proposes the clearing of a period's book, and the market's rule refuses every one but the
/// valid one (SPEC section 10). A check may take several calls. Every job ever reached stays good, so nobody can hold up a claim:
/// neither with another claim, nor by going on with this one in another way.
interface IClearing is IClearingVote {
    /// @notice The positions of a bucket, as 38-byte records, by some claim. They count if `root`, that of all buckets up to this
    /// one, leads to the period's.
    event PositionsFixed(uint32 indexed period, uint32 indexed bucket, bytes32 indexed root, bytes positions);
    /// @notice The check of a claim paused between two calls; anyone may continue with this job.
    event ClearingContinued(uint32 indexed period, uint16 indexed attempt, bytes claim, ClearJob job);
    /// @notice A claim is the valid clearing of the period's book; the committee votes on the root until the last call.
    event Checked(uint32 indexed period, uint16 indexed attempt, bytes32 root, uint32 buckets, bytes claim);
    /// @notice The committee opposed a clearing; the next one is attempt `attempt`, under the limits it set.
    event Reopened(uint32 indexed period, uint16 attempt);
    /// @notice All positions of a period are fixed; `void` if that was not before the last call, so that no energy of them counts.
    event Cleared(uint32 indexed period, uint32 buckets, bytes32 root, bool void);

    /// @notice The period's gate is still open.
    error GateOpen(uint32 period, uint256 gateAt);
    /// @notice The market did not exist when the period ran.
    error BeforeMarket(uint32 period, uint32 firstPeriod);
    /// @notice Nothing trades in the period, its book being empty, cancelled or void: claim, headroom and feed must be empty.
    error NothingToClaim(uint32 period);
    /// @notice No check of this claim in the present attempt has come to this job.
    error UnknownJob(uint32 period, bytes32 jobHash);
    /// @notice A call has at most as many buckets as are left.
    error TooManyPages(uint256 given, uint256 left);
    /// @notice These are not the orders of the bucket as they were placed.
    error WrongPage(uint32 period, uint32 bucket);
    /// @notice Only the oracle decides about a clearing.
    error OnlyOracle(address caller);
    /// @notice There is no checked clearing of this attempt to decide about.
    error NotChecked(uint32 period, uint16 attempt);
    /// @notice The period has started; what was not decided is void.
    error LastCallPassed(uint32 period, uint256 startAt);

    /// @notice Checks the next buckets of a clearing, from the period's gate on. With the last one the period becomes `Checked`;
    /// if nothing of its book can trade `Cleared` at once, after the last call `Void`. Once it is any of these, this does nothing.
    /// @param period The period.
    /// @param claim The clearing, in the rule's format; empty if nothing can trade.
    /// @param headroom The headroom fixed for the period, as in `IGrid.linesOf`; empty if nothing can trade.
    /// @param feed What the rule needs besides, for this call.
    /// @param job The job of a `ClearingContinued`, or an empty one to begin.
    /// @param pages The orders of the next buckets: of every batch its number of records (2 bytes) and its records.
    function clear(
        uint32 period,
        bytes calldata claim,
        bytes calldata headroom,
        bytes calldata feed,
        ClearJob calldata job,
        bytes[] calldata pages
    ) external;

    /// @notice The root of a period's positions; 0 while there are none.
    function positionsRoot(uint32 period) external view returns (bytes32);

    /// @notice Whether a period's positions are fixed, or the market did not exist when it ran.
    function isCleared(uint32 period) external view returns (bool);
}
