// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Basis, Bucket} from "../interfaces/IMaster.sol";
import {Deviation} from "../types/Deviation.sol";
import {Plan, PlanFields} from "../types/Plan.sol";
import {Reading, ReadingFields} from "../types/Reading.sol";
import {Packed} from "./Packed.sol";
import {Records} from "./Records.sol";
import {Settlement} from "./Settlement.sol";

/// Everything a settlement knows of some nodes, in ascending order, a column each and a word a row.
/// @param plans Their `Plan`s.
/// @param locksUyuan Funds locked behind the positions, micro-yuan.
/// @param was Their `Deviation`s by the earlier report; no rows if there is none.
/// @param now_ Their `Deviation`s by the present report.
struct Sheet {
    bytes plans;
    bytes locksUyuan;
    bytes was;
    bytes now_;
}

/// @notice Merges the packed positions and readings of buckets into one sheet.
library Sheets {
    using Packed for bytes;

    uint256 private constant BUCKET = 256;

    /// @notice The nodes of consecutive buckets.
    /// @param first Number of the first bucket.
    /// @param buckets Their bytes.
    /// @param isVoid Whether the period is void, so that its positions keep nothing but options and lock.
    /// @param was What the period was settled on before.
    /// @param now_ What it is settled on now.
    function read(uint256 first, Bucket[] calldata buckets, bool isVoid, Basis memory was, Basis memory now_)
        internal
        pure
        returns (Sheet memory sheet)
    {
        uint256 most;
        for (uint256 b; b < buckets.length; ++b) {
            most += _mostNodes(buckets[b]);
        }
        sheet.plans = Packed.zeros(most);
        sheet.locksUyuan = Packed.zeros(most);
        if (was.exists) sheet.was = Packed.zeros(most);
        sheet.now_ = Packed.zeros(most);
        uint256 end;
        for (uint256 b; b < buckets.length; ++b) {
            end = _merge(sheet, end, (first + b) * BUCKET, buckets[b], isVoid, was, now_);
        }
        _keep(sheet, 0, end);
    }

    /// @notice How many nodes the sheet has.
    function rows(Sheet memory sheet) internal pure returns (uint256) {
        return sheet.now_.length / Packed.WORD;
    }

    /// @notice Keeps `most` rows from one on, and tells whether rows behind them were cut off.
    function cut(Sheet memory sheet, uint256 from, uint256 most) internal pure returns (bool more) {
        uint256 count = rows(sheet) - from;
        if (from == 0 && count <= most) return false;
        more = count > most;
        if (more) count = most;
        _keep(sheet, from * Packed.WORD, count * Packed.WORD);
    }

    function _keep(Sheet memory sheet, uint256 offset, uint256 length) private pure {
        sheet.plans.keep(offset, length);
        sheet.locksUyuan.keep(offset, length);
        if (sheet.was.length != 0) sheet.was.keep(offset, length);
        sheet.now_.keep(offset, length);
    }

    /// @dev A bucket has no more nodes than records, nor than indices up to its last.
    function _mostNodes(Bucket calldata bucket) private pure returns (uint256 most) {
        most = bucket.positions.length / Records.POSITION + bucket.was.length / Records.READING
            + bucket.now_.length / Records.READING;
        uint256 indices = _indices(bucket.positions, Records.POSITION);
        uint256 more = _indices(bucket.was, Records.READING);
        if (more > indices) indices = more;
        more = _indices(bucket.now_, Records.READING);
        if (more > indices) indices = more;
        if (most > indices) most = indices;
    }

    function _indices(bytes calldata records, uint256 size) private pure returns (uint256) {
        return records.length == 0 ? 0 : Records.indexAt(records, records.length - size) + 1;
    }

    /// @dev Walks the three record lists of a bucket side by side and writes their union from an offset on.
    function _merge(
        Sheet memory sheet,
        uint256 offset,
        uint256 base,
        Bucket calldata bucket,
        bool isVoid,
        Basis memory was,
        Basis memory now_
    ) private pure returns (uint256 end) {
        (bytes calldata plans, bytes calldata earlier, bytes calldata present) =
            (bucket.positions, bucket.was, bucket.now_);
        (uint256 atPlan, uint256 atEarlier, uint256 atPresent) = (0, 0, 0);
        uint256 indexPlan = Records.indexAt(plans, 0);
        uint256 indexEarlier = Records.indexAt(earlier, 0);
        uint256 indexPresent = Records.indexAt(present, 0);
        unchecked {
            // Offsets stay below the lengths and one record.
            for (end = offset;; end += Packed.WORD) {
                uint256 index = indexPlan < indexPresent ? indexPlan : indexPresent;
                if (indexEarlier < index) index = indexEarlier;
                if (index == Records.NONE) return end;

                Plan plan;
                if (indexPlan == index) {
                    plan = PlanFields.fromRecord(Records.word(plans, atPlan));
                    if (isVoid) plan = plan.annulled();
                    sheet.plans.put(end, Plan.unwrap(plan));
                    // The lock is the record's last 8 bytes, so it ends the word that starts 6 bytes into the record.
                    sheet.locksUyuan.put(end, uint64(Records.word(plans, atPlan + Records.POSITION - 32)));
                    atPlan += Records.POSITION;
                    indexPlan = Records.indexAt(plans, atPlan);
                }
                Reading reading;
                if (indexPresent == index) {
                    reading = ReadingFields.fromRecord(Records.readingAt(present, atPresent));
                    atPresent += Records.READING;
                    indexPresent = Records.indexAt(present, atPresent);
                }
                Deviation d = Settlement.deviation(base + index, plan, reading, now_.finalMode);
                sheet.now_.put(end, Deviation.unwrap(d));
                if (!was.exists) continue;
                reading = Reading.wrap(0);
                if (indexEarlier == index) {
                    reading = ReadingFields.fromRecord(Records.readingAt(earlier, atEarlier));
                    atEarlier += Records.READING;
                    indexEarlier = Records.indexAt(earlier, atEarlier);
                }
                d = Settlement.deviation(base + index, plan, reading, was.finalMode);
                sheet.was.put(end, Deviation.unwrap(d));
            }
        }
    }
}
