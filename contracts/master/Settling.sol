// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Basis, Bucket, Hashes, IMaster, Job, Lines, Stage} from "../interfaces/IMaster.sol";
import {Amounts} from "../libraries/Amounts.sol";
import {Legs} from "../libraries/Legs.sol";
import {Packed} from "../libraries/Packed.sol";
import {Roots} from "../libraries/Roots.sol";
import {Course, Settlement} from "../libraries/Settlement.sol";
import {ShareLog} from "../libraries/ShareLog.sol";
import {Sheet, Sheets} from "../libraries/Sheets.sol";
import {Deviation} from "../types/Deviation.sol";
import {Plan} from "../types/Plan.sol";
import {TransferFields, toTransfer} from "../types/Transfer.sol";
import {Leg, Prices} from "../types/Types.sol";
import {Periods} from "./Periods.sol";

/// @title Settling a period
/// @notice Documented in `IMaster`.
abstract contract Settling is Periods {
    using Legs for Leg;
    using Packed for bytes;
    using Sheets for Sheet;

    uint8 private constant COUNT = 0;
    uint8 private constant MATCH = 1;
    uint8 private constant PAY = 2;
    uint8 private constant DONE = 3;

    uint256 private constant STILL_HELD = TransferFields.HOLDS | TransferFields.HELD;

    /// @inheritdoc IMaster
    function settle(Job calldata given, Hashes calldata hashes, Bucket[] calldata buckets, uint32 most)
        external
        returns (bool done)
    {
        Period storage p = _periods[given.period];
        Job memory job;
        (done, job) = _resume(p, given);
        if (!done) return false;
        if (p.stage == Stage.Checked) _fix(given.period, p);

        _checkHashes(p, job, hashes);
        uint256 total = _bucketCount(hashes);
        uint256 left = total - job.bucket;
        if (buckets.length == 0 || buckets.length > left) revert WrongBuckets(buckets.length, left);
        _checkBytes(job.bucket, hashes, buckets);

        Sheet memory sheet = Sheets.read(job.bucket, buckets, p.isVoid, job.was, job.now_);
        uint256 nodes = sheet.rows();
        // Only what counts and matches in this very call keeps the first leg's shares for paying.
        bool whole = job.pass == COUNT && buckets.length == total && job.row == 0 && nodes <= most;
        bool more = sheet.cut(job.row, most);
        if (more && (buckets.length != 1 || most < _leastNodes())) revert CannotStop(buckets.length, nodes, most);
        Course memory was;
        Course memory present;
        (was.left, present.left) = (sheet.was, sheet.now_);
        Prices memory prices;
        do {
            bool passEnds = !more && job.bucket + buckets.length == total;
            if (job.pass == COUNT) {
                _count(job.was, was);
                _count(job.now_, present);
            } else if (job.pass == MATCH) {
                // What one call does as a whole it does once, and tells at once.
                _match(job, job.was, was, false);
                _match(job, job.now_, present, whole);
            } else {
                if (!whole) {
                    _compensate(job, job.was, was, false);
                    _compensate(job, job.now_, present, true);
                }
                prices = ORACLE.pricesOf(job.period);
                _pay(job, sheet, was, present, prices, passEnds);
            }
            if (passEnds) _nextPass(job);
            else if (more) job.row += most;
            else (job.bucket, job.row) = (job.bucket + uint32(buckets.length), 0); // at most the period's buckets
        } while (whole && job.pass != DONE);

        if (job.pass == DONE) return _finish(p, job, prices);
        p.jobHash = keccak256(abi.encode(job));
        emit Continued(job.period, job);
    }

    /// @dev A call that stops inside a bucket handles at least so many nodes, lest tiny steps make everybody else's stale.
    function _leastNodes() internal pure virtual returns (uint256) {
        return 32;
    }

    /// @dev Takes up the settlement under way, or begins the one that is due; `go` is false if there is none, or if the
    /// given job is not the one under way.
    function _resume(Period storage p, Job calldata given) private view returns (bool go, Job memory job) {
        uint32 period = given.period;
        if (period < firstPeriod) revert BeforeMarket(period, firstPeriod);
        if (_stageOf(period) < Stage.Cleared) revert NotCleared(period);
        if (p.jobHash != 0) {
            job = given;
            return (keccak256(abi.encode(job)) == p.jobHash, job);
        }
        job.period = period;
        bool settled = p.stage >= Stage.Settled;
        if (settled) {
            job.was.exists = true;
            job.was.version = p.version;
            job.was.root = ORACLE.reportRoot(period, p.version);
        }
        job.now_.exists = true;
        (job.now_.version, job.now_.root) = ORACLE.latestReport(period);
        bool isNew = !settled || job.now_.version > p.version;
        if (p.stage == Stage.Final) {
            go = false;
        } else if (block.timestamp >= _windowEnd(period)) {
            job.now_.finalMode = true;
            go = isNew || p.flagged;
        } else if (job.now_.version != 0 || settled) {
            go = isNew;
        } else if (block.timestamp >= _settleDeadline(period)) {
            go = true;
        } else {
            revert NothingToSettle(period, _settleDeadline(period));
        }
    }

    function _checkHashes(Period storage p, Job memory job, Hashes calldata hashes) private view {
        if (hashes.positions.length != p.buckets || Roots.fold(hashes.positions) != p.positionsRoot) {
            revert WrongHashes(job.period, 0);
        }
        if (Roots.fold(hashes.was) != job.was.root) revert WrongHashes(job.period, 1);
        if (Roots.fold(hashes.now_) != job.now_.root) revert WrongHashes(job.period, 2);
    }

    function _checkBytes(uint32 first, Hashes calldata hashes, Bucket[] calldata buckets) private pure {
        for (uint32 i; i < buckets.length; ++i) {
            uint32 b = first + i;
            if (!_isBucket(hashes.positions, b, buckets[i].positions)) revert WrongBytes(b, 0);
            if (!_isBucket(hashes.was, b, buckets[i].was)) revert WrongBytes(b, 1);
            if (!_isBucket(hashes.now_, b, buckets[i].now_)) revert WrongBytes(b, 2);
        }
    }

    /// @dev A report can reach behind the last bucket of the positions: with meters admitted since the period was cleared.
    function _bucketCount(Hashes calldata hashes) private pure returns (uint256 count) {
        count = hashes.positions.length;
        if (hashes.was.length > count) count = hashes.was.length;
        if (hashes.now_.length > count) count = hashes.now_.length;
    }

    /// @dev Buckets behind a list's last one are empty.
    function _isBucket(bytes32[] calldata hashes, uint256 b, bytes calldata data) private pure returns (bool) {
        return b < hashes.length ? keccak256(data) == hashes[b] : data.length == 0;
    }

    /// @dev Adds a chunk to the totals of the compensation.
    function _count(Basis memory basis, Course memory course) private view {
        if (!basis.exists) return;
        (uint256 demandWh, uint256 supplyWh) = ONE.count(course.left);
        basis.compensation.demandWh += demandWh;
        basis.compensation.supplyWh += supplyWh;
    }

    /// @dev Adds what compensation leaves of a chunk to the totals of the selling leg, and of all that is left.
    function _match(Job memory job, Basis memory basis, Course memory course, bool announced) private {
        if (!basis.exists) return;
        _compensate(job, basis, course, announced);
        (uint256 takeableWh, uint256 offeredWh, uint256 demandWh, uint256 surplusWh) = TWO.count(course.left);
        basis.selling.demandWh += takeableWh;
        basis.selling.supplyWh += offeredWh;
        basis.local.demandWh += demandWh;
        basis.local.supplyWh += surplusWh;
    }

    /// @dev Takes a chunk through the first leg; nothing if there is no such basis.
    function _compensate(Job memory job, Basis memory basis, Course memory course, bool announced) private {
        if (basis.compensation.tradedWh() == 0) return;
        bytes memory left = course.left;
        bytes memory shares;
        (shares, basis.compensation) = announced
            ? ONE.compensate(job.period, basis.version, left, basis.compensation)
            : ONE.serve(left, basis.compensation);
        course.compensated.log = shares;
        uint256 i;
        unchecked {
            for (uint256 j; j < shares.length; j += ShareLog.RECORD) {
                (uint256 node, uint256 energyWh, bool supplied) = ShareLog.recordAt(shares, j);
                Deviation d = Deviation.wrap(left.word(i));
                // Only nodes of the chunk have shares, in its order.
                for (; d.node() != node; d = Deviation.wrap(left.word(i))) i += Packed.WORD;
                left.put(i, Deviation.unwrap(supplied ? d.lessOver(energyWh) : d.lessShort(energyWh)));
            }
        }
    }

    /// @dev Ends a pass: what one leg traded is no longer there for the local balance.
    function _nextPass(Job memory job) private pure {
        (job.bucket, job.row) = (0, 0);
        _endPass(job.pass, job.was);
        _endPass(job.pass, job.now_);
        ++job.pass;
    }

    function _endPass(uint8 pass, Basis memory basis) private pure {
        (basis.compensation.demandSeenWh, basis.compensation.supplySeenWh) = (0, 0);
        if (pass != MATCH) return;
        uint256 tradedWh = basis.selling.tradedWh();
        basis.local.demandWh -= tradedWh;
        basis.local.supplyWh -= tradedWh;
    }

    /// @dev Computes the nets of a chunk under both bases and has the vault move the difference.
    function _pay(
        Job memory job,
        Sheet memory sheet,
        Course memory was,
        Course memory present,
        Prices memory prices,
        bool last
    ) private {
        _sell(job, job.was, was, false);
        _sell(job, job.now_, present, true);
        bytes memory transfers = Packed.log(sheet.rows() * TransferFields.RECORD);
        unchecked {
            // A period's nodes are below 2^32, so its sums stay far below 2^256.
            (bytes memory plans, bytes memory locks, bytes memory left) = (sheet.plans, sheet.locksUyuan, present.left);
            bool again = job.was.exists;
            for (uint256 i; i < left.length; i += Packed.WORD) {
                Plan plan = Plan.wrap(plans.word(i));
                Deviation d = Deviation.wrap(left.word(i));
                int256 net = Settlement.net(plan, d, present, prices);
                (uint256 release, uint256 flags) = (locks.word(i), 0);
                if (d.flagged()) {
                    job.flagged = true;
                    // After the last settlement no reading can come that would free what is held.
                    if (!job.now_.finalMode) flags = TransferFields.HOLDS;
                }
                if (again) {
                    Deviation before = Deviation.wrap(was.left.word(i));
                    net -= Settlement.net(plan, before, was, prices);
                    release = 0;
                    if (before.flagged()) flags |= TransferFields.HELD;
                }
                // What was held and still is, without a change, stays as it is.
                if (uint256(net) | release == 0 && (flags == 0 || flags == STILL_HELD)) continue;
                transfers.append(toTransfer(d.node(), flags, release, net).record(), TransferFields.RECORD);
            }
        }
        job.nodesUyuan += present.netUyuan;
        job.feesNyuan += present.feesNyuan;
        job.rentNyuan += present.rentNyuan;
        job.importedWh += present.importedWh;
        job.exportedWh += present.exportedWh;
        VAULT.settle(job.period, transfers, last);
    }

    /// @dev Takes a chunk through the second and the third leg; nothing if there is no such basis.
    function _sell(Job memory job, Basis memory basis, Course memory course, bool announced) private {
        if (basis.selling.tradedWh() | basis.local.tradedWh() == 0) return;
        (course.sold.log, course.balanced.log, basis.selling, basis.local) = announced
            ? TWO.sell(job.period, basis.version, course.left, basis.selling, basis.local)
            : TWO.serve(course.left, basis.selling, basis.local);
    }

    function _finish(Period storage p, Job memory job, Prices memory prices) private returns (bool) {
        Basis memory basis = job.now_;
        if (!job.was.exists) ++_settledPeriods;
        delete p.jobHash;
        p.stage = basis.finalMode ? Stage.Final : Stage.Settled;
        p.version = basis.version;
        p.flagged = job.flagged;
        emit PeriodSettled(job.period, basis.version, basis.finalMode, _lines(job, prices));
        return true;
    }

    function _lines(Job memory job, Prices memory p) private pure returns (Lines memory l) {
        l.compensatedWh = job.now_.compensation.tradedWh();
        l.soldWh = job.now_.selling.tradedWh();
        l.balancedWh = job.now_.local.tradedWh();
        (l.importedWh, l.exportedWh, l.feesNyuan) = (job.importedWh, job.exportedWh, job.feesNyuan);
        l.gridUyuan = -job.nodesUyuan;
        // Every rule and every agreement makes buyers pay at least what sellers get.
        l.rentNyuan = uint256(job.rentNyuan);
        int256 namedNyuan = int256(l.importedWh * p.retail) - int256(l.exportedWh * p.feedIn)
            + int256(l.balancedWh * (p.compensation - p.selling)) + int256(l.feesNyuan) + job.rentNyuan;
        // Payers round up and payees down, so the grid company is left with at least its named lines.
        l.dustNyuan = uint256(l.gridUyuan * int256(Amounts.NYUAN_PER_UYUAN) - namedNyuan);
    }
}
