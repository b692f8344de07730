// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ClearJob, IClearing} from "../interfaces/IClearing.sol";
import {IClearingVote} from "../interfaces/IClearingVote.sol";
import {Stage} from "../interfaces/IMaster.sol";
import {MARKET, Page, STANDING, Terms} from "../interfaces/IRule.sol";
import {Pages} from "../libraries/Pages.sol";
import {Roots} from "../libraries/Roots.sol";
import {Limits, Prices} from "../types/Types.sol";
import {Periods} from "./Periods.sol";

/// @title Fixing the positions of a period
/// @notice Documented in `IClearing`.
abstract contract Clearing is Periods {
    /// Jobs that a check of a period has come to.
    mapping(uint32 period => mapping(bytes32 jobHash => bool)) private _jobs;

    /// @inheritdoc IClearing
    function clear(
        uint32 period,
        bytes calldata claim,
        bytes calldata headroom,
        bytes calldata feed,
        ClearJob calldata given,
        bytes[] calldata pages
    ) external {
        if (period < firstPeriod) revert BeforeMarket(period, firstPeriod);
        if (block.timestamp < _gate(period)) revert GateOpen(period, _gate(period));
        Period storage p = _periods[period];
        if (p.stage != Stage.Open) return;
        (Terms memory terms, bool cancels) = _terms(period);
        bool clears = terms.mode == MARKET;
        if (!clears && claim.length + headroom.length + feed.length != 0) revert NothingToClaim(period);
        // What a job is good for.
        bytes32 check = keccak256(abi.encode(p.attempt, terms.mode, keccak256(claim)));
        ClearJob memory job = _resume(period, check, given);
        uint256 left = job.buckets - job.bucket;
        if (pages.length > left) revert TooManyPages(pages.length, left);

        bool last = pages.length == left;
        Page[] memory book = _read(period, job.bucket, pages);
        bytes memory lines;
        if (clears) lines = GRID.linesOf(period, headroom);
        bytes memory cancelled;
        if (cancels) cancelled = BOOK.cancelledOf(period);
        bytes[] memory positions;
        (positions, job.state) = RULE.check(terms, lines, claim, feed, job.state, cancelled, book, last);
        for (uint256 i; i < positions.length; ++i) {
            job.root = Roots.extend(job.root, keccak256(positions[i]));
            emit PositionsFixed(period, job.bucket++, job.root, positions[i]);
        }
        if (!last) {
            _jobs[period][_hash(check, job)] = true;
            emit ClearingContinued(period, p.attempt, claim, job);
            return;
        }
        (p.buckets, p.positionsRoot) = (job.buckets, job.root);
        if (!clears) return _fix(period, p);
        p.stage = Stage.Checked;
        emit Checked(period, p.attempt, job.root, job.buckets, claim);
    }

    /// @inheritdoc IClearingVote
    function authenticate(uint32 period, uint16 attempt) external {
        _fix(period, _checked(period, attempt));
    }

    /// @inheritdoc IClearingVote
    function reopen(uint32 period) external {
        uint16 attempt = _periods[period].attempt;
        Period storage p = _checked(period, attempt);
        // Every attempt lowers a limit in a period's last quarter hours: they never come to 2^16.
        (p.stage, p.attempt, p.positionsRoot) = (Stage.Open, attempt + 1, 0);
        emit Reopened(period, attempt + 1);
    }

    /// @inheritdoc IClearingVote
    function clearingOf(uint32 period) external view returns (uint16 attempt, bytes32 root, bool decided) {
        Period storage p = _periods[period];
        return (p.attempt, p.positionsRoot, _stageOf(period) >= Stage.Cleared);
    }

    /// @dev A clearing the oracle may decide about.
    function _checked(uint32 period, uint16 attempt) private view returns (Period storage p) {
        p = _periods[period];
        if (msg.sender != address(ORACLE)) revert OnlyOracle(msg.sender);
        if (p.stage != Stage.Checked || p.attempt != attempt) revert NotChecked(period, attempt);
        if (block.timestamp >= _start(period)) revert LastCallPassed(period, _start(period));
    }

    /// @dev Takes up a job that a check of this claim has come to, or begins. Members admitted since the gate have no positions.
    function _resume(uint32 period, bytes32 check, ClearJob calldata given) private view returns (ClearJob memory job) {
        if (given.bucket == 0 && given.state.length == 0) {
            job.buckets = (REGISTRY.nodeCount() >> 8) + 1;
            return job;
        }
        job = given;
        bytes32 hash = _hash(check, job);
        if (!_jobs[period][hash]) revert UnknownJob(period, hash);
    }

    function _hash(bytes32 check, ClearJob memory job) private pure returns (bytes32) {
        return keccak256(abi.encode(check, job));
    }

    /// @dev What the period's clearing depends on besides its book, and whether any order is cancelled. Nothing of the book trades
    /// from the last call on, or without an order, or without a price at which members may trade.
    function _terms(uint32 period) private view returns (Terms memory terms, bool cancels) {
        (uint32 orders, uint32 cancelled) = BOOK.ordersOf(period);
        Limits memory l = ORACLE.limits();
        Prices memory p = ORACLE.pricesOf(period);
        terms = Terms({
            mode: MARKET,
            low: l.tradeFloor > p.selling ? l.tradeFloor : p.selling,
            high: l.tradeCeiling < p.compensation ? l.tradeCeiling : p.compensation,
            planned: p.planned,
            priceCap: l.priceCap,
            feeCap: l.feeCap
        });
        bool late = block.timestamp >= _start(period);
        if (late || orders == cancelled || terms.low > terms.high) terms.mode = STANDING;
        cancels = cancelled != 0;
    }

    /// @dev The book of the next buckets, the given orders compared with what the book keeps of them.
    function _read(uint32 period, uint32 first, bytes[] calldata pages) private view returns (Page[] memory book) {
        book = new Page[](pages.length);
        for (uint32 i; i < book.length; ++i) {
            (bytes24 hash, uint32 records) = BOOK.chainOf(period, first + i);
            if (!Pages.areOf(pages[i], hash, records)) revert WrongPage(period, first + i);
            (book[i].bucket, book[i].orders) = (first + i, pages[i]);
            (book[i].agreed, book[i].buses) = BOOK.agreedOf(period, first + i);
        }
    }
}
