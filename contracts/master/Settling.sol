// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Basis, Bucket, Hashes, IMaster, Job, Lines, Stage} from "../interfaces/IMaster.sol";
import {Amounts} from "../libraries/Amounts.sol";
import {Legs} from "../libraries/Legs.sol";
import {Roots} from "../libraries/Roots.sol";
import {Settlement} from "../libraries/Settlement.sol";
import {Sheet, Sheets} from "../libraries/Sheets.sol";
import {Deviation} from "../types/Deviation.sol";
import {Reading} from "../types/Reading.sol";
import {Transfer, toTransfer} from "../types/Transfer.sol";
import {Leg, Prices} from "../types/Types.sol";
import {Periods} from "./Periods.sol";

/// @title Settling a period
/// @notice Documented in `IMaster`.
abstract contract Settling is Periods {
    using Legs for Leg;
    using Sheets for Sheet;

    uint8 private constant COUNT = 0;
    uint8 private constant MATCH = 1;
    uint8 private constant PAY = 2;
    uint8 private constant DONE = 3;

    /// @inheritdoc IMaster
    function settle(Job calldata given, Hashes calldata hashes, Bucket[] calldata buckets, uint32 most)
        external
        returns (bool done)
    {
        Period storage p = _periods[given.period];
        Job memory job;
        (done, job) = _resume(p, given);
        if (!done) return false;

        _checkHashes(p, job, hashes);
        uint256 total = _bucketCount(hashes);
        uint256 left = total - job.bucket;
        if (buckets.length == 0 || buckets.length > left) revert WrongBuckets(buckets.length, left);
        _checkBytes(job.bucket, hashes, buckets);

        Sheet memory sheet = Sheets.read(job.bucket, buckets, p.isVoid);
        uint256 nodes = sheet.nodes.length;
        bool whole = buckets.length == total && job.row == 0 && nodes <= most;
        bool more = sheet.cut(job.row, most);
        if (more && (buckets.length != 1 || most < _leastNodes())) revert CannotStop(buckets.length, nodes, most);
        Deviation[] memory was = _deviations(sheet, sheet.was, job.was);
        Deviation[] memory now_ = _deviations(sheet, sheet.now_, job.now_);
        do {
            bool passEnds = !more && job.bucket + buckets.length == total;
            if (job.pass == PAY) {
                _pay(job, sheet, was, now_, passEnds);
            } else {
                _prepare(job.pass, job.was, was);
                _prepare(job.pass, job.now_, now_);
            }
            if (passEnds) _nextPass(job);
            else if (more) job.row += most;
            else (job.bucket, job.row) = (job.bucket + uint32(buckets.length), 0); // at most the period's buckets
        } while (whole && job.pass != DONE);

        if (job.pass == DONE) return _finish(p, job);
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
        if (p.stage < Stage.Cleared) revert NotCleared(period);
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

    /// @dev What every node of a sheet departed from its plan by, under one basis; nothing if there is no such basis.
    function _deviations(Sheet memory sheet, Reading[] memory readings, Basis memory basis)
        private
        pure
        returns (Deviation[] memory deviations)
    {
        if (!basis.exists) return deviations;
        deviations = new Deviation[](sheet.nodes.length);
        for (uint256 i; i < deviations.length; ++i) {
            deviations[i] = Settlement.deviation(sheet.nodes[i], sheet.plans[i], readings[i], basis.finalMode);
        }
    }

    /// @dev Adds a chunk to the totals: of the compensation and all deviations first, then of what is left to sell.
    function _prepare(uint8 pass, Basis memory basis, Deviation[] memory deviations) private view {
        if (!basis.exists) return;
        if (pass == COUNT) {
            (uint256 demandWh, uint256 supplyWh) = ONE.count(deviations);
            basis.compensation.demandWh += demandWh;
            basis.compensation.supplyWh += supplyWh;
            for (uint256 i; i < deviations.length; ++i) {
                basis.local.demandWh += deviations[i].demandWh();
                basis.local.supplyWh += deviations[i].surplusWh();
            }
        } else {
            Deviation[] memory left;
            (left, basis.compensation) = ONE.serve(deviations, basis.compensation);
            (uint256 demandWh, uint256 supplyWh) = TWO.count(left);
            basis.selling.demandWh += demandWh;
            basis.selling.supplyWh += supplyWh;
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
        if (pass == PAY) return;
        uint256 tradedWh = (pass == COUNT ? basis.compensation : basis.selling).tradedWh();
        basis.local.demandWh -= tradedWh;
        basis.local.supplyWh -= tradedWh;
        (basis.compensation.demandSeenWh, basis.compensation.supplySeenWh) = (0, 0);
    }

    /// @dev Computes the nets of a chunk under both bases and has the vault move the difference.
    function _pay(Job memory job, Sheet memory sheet, Deviation[] memory was, Deviation[] memory now_, bool last)
        private
    {
        Prices memory prices = ORACLE.pricesOf(job.period);
        int256[] memory netsBefore = _nets(job, sheet, was, prices, false);
        int256[] memory nets = _nets(job, sheet, now_, prices, true);

        Transfer[] memory transfers = new Transfer[](nets.length);
        uint256 moved;
        for (uint256 i; i < nets.length; ++i) {
            int256 net = nets[i];
            job.nodesUyuan += net;
            if (now_[i].flagged()) job.flagged = true;
            // After the last settlement no reading can come that would free what is held.
            bool hold = now_[i].flagged() && !job.now_.finalMode;
            (uint256 release, bool wasHeld) = (sheet.locksUyuan[i], false);
            if (job.was.exists) {
                net -= netsBefore[i];
                (release, wasHeld) = (0, was[i].flagged());
            }
            if (net == 0 && release == 0 && wasHeld == hold) continue;
            transfers[moved++] = toTransfer(sheet.nodes[i], wasHeld, hold, release, net);
        }
        assembly ("memory-safe") {
            mstore(transfers, moved) // only ever shortens the array
        }
        VAULT.settle(job.period, transfers, last);
    }

    /// @dev Takes a chunk through all legs under one basis; nothing if there is no such basis. Only the present basis
    /// announces its shares and adds to the job's lines.
    function _nets(Job memory job, Sheet memory sheet, Deviation[] memory deviations, Prices memory prices, bool present)
        private
        returns (int256[] memory nets)
    {
        Basis memory basis = present ? job.now_ : job.was;
        if (!basis.exists) return nets;
        Deviation[] memory left1;
        Deviation[] memory left2;
        Deviation[] memory left3;
        if (present) {
            (left1, basis.compensation) = ONE.compensate(job.period, basis.version, deviations, basis.compensation);
            (left2, left3, basis.selling, basis.local) =
                TWO.sell(job.period, basis.version, left1, basis.selling, basis.local);
        } else {
            (left1, basis.compensation) = ONE.serve(deviations, basis.compensation);
            (left2, left3, basis.selling, basis.local) = TWO.serve(left1, basis.selling, basis.local);
        }
        nets = new int256[](deviations.length);
        for (uint256 i; i < nets.length; ++i) {
            uint256 feeNyuan;
            (nets[i], feeNyuan) =
                Settlement.net(sheet.plans[i], deviations[i], left1[i], left2[i], left3[i], prices);
            if (!present) continue;
            job.feesNyuan += feeNyuan;
            job.rentNyuan += int256(sheet.plans[i].payNyuan()) - int256(sheet.plans[i].receiveNyuan());
            job.importedWh += left3[i].demandWh();
            job.exportedWh += left3[i].surplusWh();
        }
    }

    function _finish(Period storage p, Job memory job) private returns (bool) {
        Basis memory basis = job.now_;
        if (!job.was.exists) ++_settledPeriods;
        delete p.jobHash;
        p.stage = basis.finalMode ? Stage.Final : Stage.Settled;
        p.version = basis.version;
        p.flagged = job.flagged;
        emit PeriodSettled(job.period, basis.version, basis.finalMode, _lines(job));
        return true;
    }

    function _lines(Job memory job) private view returns (Lines memory l) {
        Prices memory p = ORACLE.pricesOf(job.period);
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
