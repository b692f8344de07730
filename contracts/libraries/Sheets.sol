// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bucket} from "../interfaces/IMaster.sol";
import {Plan, PlanFields} from "../types/Plan.sol";
import {Reading, ReadingFields} from "../types/Reading.sol";
import {Records} from "./Records.sol";

/// Everything a settlement knows of some nodes, in ascending order, a column each.
/// @param nodes The nodes; its length is the sheet's, the other columns may be longer.
/// @param plans Their positions.
/// @param locksUyuan Funds locked behind the positions, micro-yuan.
/// @param was Their readings in the earlier report.
/// @param now_ Their readings in the present report.
struct Sheet {
    uint256[] nodes;
    Plan[] plans;
    uint256[] locksUyuan;
    Reading[] was;
    Reading[] now_;
}

/// @notice Merges the packed positions and readings of buckets into one sheet.
/// @dev The bytes have been checked against their hashes, so they are well formed.
library Sheets {
    uint256 private constant BUCKET = 256;

    /// @notice The nodes of consecutive buckets.
    /// @param first Number of the first bucket.
    /// @param buckets Their bytes.
    /// @param isVoid Whether the period is void, so that its positions keep nothing but options and lock.
    function read(uint256 first, Bucket[] calldata buckets, bool isVoid) internal pure returns (Sheet memory sheet) {
        uint256 most;
        for (uint256 b; b < buckets.length; ++b) {
            most += _mostNodes(buckets[b]);
        }
        sheet.nodes = new uint256[](most);
        sheet.plans = new Plan[](most);
        sheet.locksUyuan = new uint256[](most);
        sheet.was = new Reading[](most);
        sheet.now_ = new Reading[](most);
        uint256 count;
        for (uint256 b; b < buckets.length; ++b) {
            count = _merge(sheet, count, (first + b) * BUCKET, buckets[b], isVoid);
        }
        _shorten(sheet, count);
    }

    /// @notice Keeps `most` rows from one on, and tells whether rows behind them were cut off.
    function cut(Sheet memory sheet, uint256 from, uint256 most) internal pure returns (bool more) {
        uint256 count = sheet.nodes.length - from;
        if (from == 0 && count <= most) return false;
        more = count > most;
        if (more) count = most;
        for (uint256 row; row < count; ++row) {
            sheet.nodes[row] = sheet.nodes[from + row];
            sheet.plans[row] = sheet.plans[from + row];
            sheet.locksUyuan[row] = sheet.locksUyuan[from + row];
            sheet.was[row] = sheet.was[from + row];
            sheet.now_[row] = sheet.now_[from + row];
        }
        _shorten(sheet, count);
    }

    function _shorten(Sheet memory sheet, uint256 count) private pure {
        uint256[] memory nodes = sheet.nodes;
        assembly ("memory-safe") {
            mstore(nodes, count) // only ever shortens the column
        }
    }

    function _mostNodes(Bucket calldata bucket) private pure returns (uint256 most) {
        most = bucket.positions.length / Records.POSITION + bucket.was.length / Records.READING
            + bucket.now_.length / Records.READING;
        if (most > BUCKET) most = BUCKET;
    }

    /// @dev Walks the three record lists of a bucket side by side and appends their union from row `row` on.
    function _merge(Sheet memory sheet, uint256 row, uint256 base, Bucket calldata bucket, bool isVoid)
        private
        pure
        returns (uint256 next)
    {
        (uint256 atPlan, uint256 atWas, uint256 atNow) = (0, 0, 0);
        for (next = row;; ++next) {
            uint256 plan = Records.indexAt(bucket.positions, atPlan);
            uint256 was = Records.indexAt(bucket.was, atWas);
            uint256 present = Records.indexAt(bucket.now_, atNow);
            uint256 index = plan < was ? plan : was;
            if (present < index) index = present;
            if (index == Records.NONE) return next;

            sheet.nodes[next] = base + index;
            if (plan == index) {
                Plan p = PlanFields.fromRecord(Records.word(bucket.positions, atPlan));
                sheet.plans[next] = isVoid ? p.annulled() : p;
                // The lock is the record's last 8 bytes, so it ends the word that starts 6 bytes into the record.
                sheet.locksUyuan[next] = uint64(Records.word(bucket.positions, atPlan + Records.POSITION - 32));
                atPlan += Records.POSITION;
            }
            if (was == index) {
                sheet.was[next] = ReadingFields.fromRecord(Records.readingAt(bucket.was, atWas));
                atWas += Records.READING;
            }
            if (present == index) {
                sheet.now_[next] = ReadingFields.fromRecord(Records.readingAt(bucket.now_, atNow));
                atNow += Records.READING;
            }
        }
    }
}
