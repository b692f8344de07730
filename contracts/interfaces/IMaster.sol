// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Leg} from "../types/Types.sol";
import {IClearing} from "./IClearing.sol";

/// Where a period stands. `Open` also covers the time from the gate until a clearing is checked, `Checked` the vote on it.
enum Stage {
    Open,
    Checked,
    Cleared,
    Void,
    Settled,
    Final
}

/// What a settlement is computed from.
/// @param exists False for the predecessor of a period's first settlement.
/// @param finalMode Whether unread meters count as having delivered nothing.
/// @param version The report's version, 0 for none.
/// @param root The report's root.
/// @param compensation Progress of leg 1.
/// @param selling Progress of leg 2.
/// @param local Progress of leg 3.
struct Basis {
    bool exists;
    bool finalMode;
    uint16 version;
    bytes32 root;
    Leg compensation;
    Leg selling;
    Leg local;
}

/// A settlement under way; its hash is what the chain keeps between two chunks.
/// @param period The period.
/// @param pass 0 counts, 1 matches, 2 pays.
/// @param bucket The next bucket of the pass.
/// @param row Nodes of that bucket the pass has handled already, if a call stopped inside it.
/// @param flagged Whether a flagged node was met.
/// @param was What the period was settled on before.
/// @param now_ What it is settled on now.
/// @param nodesUyuan Sum of the nodes' nets so far.
/// @param importedWh Energy bought from the grid company so far.
/// @param exportedWh Energy sold to the grid company so far.
/// @param feesNyuan Network fees so far.
/// @param rentNyuan What plans paid more than they received so far; negative while more payees than payers were met.
struct Job {
    uint32 period;
    uint8 pass;
    uint32 bucket;
    uint32 row;
    bool flagged;
    Basis was;
    Basis now_;
    int256 nodesUyuan;
    uint256 importedWh;
    uint256 exportedWh;
    uint256 feesNyuan;
    int256 rentNyuan;
}

/// The bytes of one bucket that a settlement needs.
/// @param positions The bucket's positions, as `PositionsFixed` carried them.
/// @param was The bucket's readings in the report the period was settled on before; empty if none.
/// @param now_ The bucket's readings in the report it is settled on now; empty if none.
struct Bucket {
    bytes positions;
    bytes was;
    bytes now_;
}

/// The hashes of all buckets of a period, to check `Bucket`s against the roots.
/// @param positions Of the positions.
/// @param was Of the earlier report; empty if none.
/// @param now_ Of the present report; empty if none.
struct Hashes {
    bytes32[] positions;
    bytes32[] was;
    bytes32[] now_;
}

/// The named lines of a settled period (SPEC section 6).
/// @param compensatedWh Moved by leg 1, at P_c.
/// @param soldWh Moved by leg 2, at P_s.
/// @param balancedWh Moved by leg 3; the grid company keeps the spread P_c - P_s.
/// @param importedWh Bought from the grid company at retail.
/// @param exportedWh Sold to the grid company at feed-in.
/// @param feesNyuan Network fees, nano-yuan.
/// @param rentNyuan What plans paid more than they received: the rent of binding lines (docs/clearing.md section 4), nano-yuan.
/// @param dustNyuan What rounding left with the grid company, nano-yuan.
/// @param gridUyuan The grid company's net, micro-yuan.
struct Lines {
    uint256 compensatedWh;
    uint256 soldWh;
    uint256 balancedWh;
    uint256 importedWh;
    uint256 exportedWh;
    uint256 feesNyuan;
    uint256 rentNyuan;
    uint256 dustNyuan;
    int256 gridUyuan;
}

/// @title The period's life
/// @notice Fixes the positions of a period once its gate has closed and settles it, again for every later report, and a last
/// time when the correction window has ended. Anyone may trigger every step (SPEC sections 4, 6 and 7).
interface IMaster is IClearing {
    /// @notice A settlement paused between two chunks; anyone may continue with this job.
    event Continued(uint32 indexed period, Job job);
    /// @notice A period was settled on a report version (0 for none); `finalMode` when nothing can follow.
    event PeriodSettled(uint32 indexed period, uint16 indexed version, bool finalMode, Lines lines);

    /// @notice The period's positions must be fixed first; call `clear`.
    error NotCleared(uint32 period);
    /// @notice There is no report yet; on none the period can be settled from `deadline` on.
    error NothingToSettle(uint32 period, uint256 deadline);
    /// @notice The hashes do not add up to the period's root; `which` is 0 positions, 1 earlier report, 2 present report.
    error WrongHashes(uint32 period, uint8 which);
    /// @notice The bytes of a bucket do not match its hash; `which` as in `WrongHashes`.
    error WrongBytes(uint32 bucket, uint8 which);
    /// @notice A call needs at least one bucket, and at most those the pass has left.
    error WrongBuckets(uint256 given, uint256 left);
    /// @notice A call may stop inside a bucket only if it is the only one, and after 32 nodes or more.
    error CannotStop(uint256 buckets, uint256 nodes, uint256 most);

    /// @notice Settles a period, or carries on: count, match and pay over all its buckets.
    /// @dev If the chunk is the whole period, all passes run in one call. Otherwise the call handles the next
    /// `buckets.length` buckets of the present pass, or the next `most` nodes of one, so that no bucket can be too large for a
    /// transaction. A call whose job is stale, or that has nothing to do, changes nothing.
    /// @param job The job of the last `Continued`, or just the period to begin.
    /// @param hashes The hashes of all buckets.
    /// @param buckets The bytes of the next buckets.
    /// @param most Most nodes to handle, 32 or more unless the buckets have fewer.
    /// @return done Whether anything was done.
    function settle(Job calldata job, Hashes calldata hashes, Bucket[] calldata buckets, uint32 most)
        external
        returns (bool done);

    /// @notice Where a period stands.
    /// @return stage Its stage.
    /// @return buckets Number of its buckets, once a clearing was checked.
    /// @return version Report version it was last settled on.
    /// @return flagged Whether that settlement met unread meters.
    function periodOf(uint32 period) external view returns (Stage stage, uint32 buckets, uint16 version, bool flagged);

    /// @notice Hash of the settlement under way, 0 if there is none.
    function jobHash(uint32 period) external view returns (bytes32);

    /// @notice Periods that have started and are not settled.
    function unsettled() external view returns (uint256);

    /// @notice What a node must leave in the vault for periods that are not settled, micro-yuan.
    function marginOf(uint32 node) external view returns (uint256);

    /// @notice The first period this market settles.
    function firstPeriod() external view returns (uint32);
}
