// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clock} from "../Clock.sol";
import {IBook} from "../interfaces/IBook.sol";
import {IClearing} from "../interfaces/IClearing.sol";
import {IGrid} from "../interfaces/IGrid.sol";
import {IMaster, Stage} from "../interfaces/IMaster.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {IRule} from "../interfaces/IRule.sol";
import {ISubordinate_one, ISubordinate_two} from "../interfaces/ISubordinates.sol";
import {IVault} from "../interfaces/IVault.sol";
import {Amounts} from "../libraries/Amounts.sol";
import {Limits, Schedule} from "../types/Types.sol";

/// @title Where every period stands
/// @notice Documented in `IMaster`.
abstract contract Periods is IMaster, Clock {
    /// The rooms a master works with.
    struct Rooms {
        IRegistry registry;
        IBook book;
        IOracle oracle;
        IVault vault;
        ISubordinate_one one;
        ISubordinate_two two;
        IGrid grid;
        IRule rule;
    }

    struct Period {
        Stage stage;
        bool isVoid;
        bool flagged;
        uint16 version;
        uint32 buckets;
        uint16 attempt;
        bytes32 positionsRoot;
        bytes32 jobHash;
    }

    IRegistry internal immutable REGISTRY;
    IBook internal immutable BOOK;
    IOracle internal immutable ORACLE;
    IVault internal immutable VAULT;
    ISubordinate_one internal immutable ONE;
    ISubordinate_two internal immutable TWO;
    IGrid internal immutable GRID;
    IRule internal immutable RULE;

    /// @inheritdoc IMaster
    uint32 public immutable firstPeriod;

    mapping(uint32 period => Period) internal _periods;
    uint256 internal _settledPeriods;

    constructor(Schedule memory s, Rooms memory rooms) Clock(s) {
        REGISTRY = rooms.registry;
        BOOK = rooms.book;
        ORACLE = rooms.oracle;
        VAULT = rooms.vault;
        ONE = rooms.one;
        TWO = rooms.two;
        GRID = rooms.grid;
        RULE = rooms.rule;
        firstPeriod = uint32(_currentPeriod()) + 1; // 2^32 periods outlast any schedule
    }

    /// @inheritdoc IMaster
    function periodOf(uint32 period)
        external
        view
        returns (Stage stage, uint32 buckets, uint16 version, bool flagged)
    {
        Period storage p = _periods[period];
        return (_stageOf(period), p.buckets, p.version, p.flagged);
    }

    /// @inheritdoc IClearing
    function positionsRoot(uint32 period) external view returns (bytes32) {
        return _periods[period].positionsRoot;
    }

    /// @inheritdoc IMaster
    function jobHash(uint32 period) external view returns (bytes32) {
        return _periods[period].jobHash;
    }

    /// @inheritdoc IClearing
    function isCleared(uint32 period) external view returns (bool) {
        return period < firstPeriod || _stageOf(period) >= Stage.Cleared;
    }

    /// @inheritdoc IMaster
    function unsettled() public view returns (uint256) {
        if (block.timestamp < _start(firstPeriod)) return 0;
        return _currentPeriod() + 1 - firstPeriod - _settledPeriods;
    }

    /// @inheritdoc IMaster
    function marginOf(uint32 node) external view returns (uint256) {
        uint256 periods = unsettled();
        if (periods > _mostUnsettled()) periods = _mostUnsettled();
        Limits memory l = ORACLE.limits();
        return periods * Amounts.up(REGISTRY.nodeOf(node).importCapacityWh * (uint256(l.priceCap) + l.feeCap));
    }

    /// @dev Where a period stands, a clearing nobody decided about being void from the last call on.
    function _stageOf(uint32 period) internal view returns (Stage stage) {
        stage = _periods[period].stage;
        if (stage == Stage.Checked && block.timestamp >= _start(period)) stage = Stage.Void;
    }

    /// @dev Fixes the positions of a period, in the stage that the time gives it.
    function _fix(uint32 period, Period storage p) internal {
        p.isVoid = block.timestamp >= _start(period);
        p.stage = p.isVoid ? Stage.Void : Stage.Cleared;
        emit Cleared(period, p.buckets, p.positionsRoot, p.isVoid);
    }
}
