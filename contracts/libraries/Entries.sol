// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bucket} from "../interfaces/IMaster.sol";
import {Readings} from "./Readings.sol";

/// One report's word on a node.
/// @param present Whether the report has the node at all.
/// @param substituted Whether the values are a profile, the meter being silent.
/// @param exportWh Fed in, Wh.
/// @param importWh Drawn, Wh.
struct Reading {
    bool present;
    bool substituted;
    uint256 exportWh;
    uint256 importWh;
}

/// Everything a settlement knows of one node.
/// @param node The node.
/// @param hasPosition Whether it has a position.
/// @param options The position's options.
/// @param soldWh Energy sold, Wh.
/// @param boughtWh Energy bought, Wh.
/// @param receiveNyuan Money to receive for the plan, nano-yuan.
/// @param payNyuan Money to pay for the plan, nano-yuan.
/// @param lockedUyuan Funds locked behind the position, micro-yuan.
/// @param was Its reading in the earlier report.
/// @param now_ Its reading in the present report.
struct Entry {
    uint256 node;
    bool hasPosition;
    uint256 options;
    uint256 soldWh;
    uint256 boughtWh;
    uint256 receiveNyuan;
    uint256 payNyuan;
    uint256 lockedUyuan;
    Reading was;
    Reading now_;
}

/// @notice Merges the packed positions and readings of buckets into one list of nodes, in ascending order.
/// @dev The bytes have been checked against their hashes, so they are well formed.
library Entries {
    uint256 private constant POSITION = 38;
    uint256 private constant NODES = 256;
    uint256 private constant WH = type(uint40).max;
    uint256 private constant NYUAN = type(uint72).max;

    /// @notice The nodes of consecutive buckets.
    /// @param first Number of the first bucket.
    /// @param buckets Their bytes.
    /// @param isVoid Whether the period is void, so that its positions keep nothing but options and lock.
    function read(uint256 first, Bucket[] calldata buckets, bool isVoid) internal pure returns (Entry[] memory entries) {
        uint256[] memory present = new uint256[](buckets.length);
        uint256 count;
        for (uint256 b; b < buckets.length; ++b) {
            present[b] = _indices(buckets[b].positions, POSITION) | _indices(buckets[b].was, Readings.RECORD)
                | _indices(buckets[b].now_, Readings.RECORD);
            for (uint256 bits = present[b]; bits != 0; bits &= bits - 1) {
                ++count;
            }
        }
        entries = new Entry[](count);
        uint256 next;
        for (uint256 b; b < buckets.length; ++b) {
            next = _merge((first + b) * NODES, present[b], buckets[b], entries, next);
        }
        if (isVoid) _annul(entries);
    }

    function _annul(Entry[] memory entries) private pure {
        for (uint256 i; i < entries.length; ++i) {
            Entry memory e = entries[i];
            (e.soldWh, e.boughtWh, e.receiveNyuan, e.payNyuan) = (0, 0, 0, 0);
        }
    }

    /// @dev Which indices a bucket's records carry, as bits.
    function _indices(bytes calldata records, uint256 length) private pure returns (uint256 bits) {
        for (uint256 offset; offset < records.length; offset += length) {
            bits |= 1 << uint8(records[offset]);
        }
    }

    /// @dev Walks the three record lists of a bucket side by side.
    function _merge(uint256 base, uint256 present, Bucket calldata bucket, Entry[] memory entries, uint256 next)
        private
        pure
        returns (uint256)
    {
        uint256 atPosition;
        uint256 atWas;
        uint256 atNow;
        for (uint256 index; present != 0; (++index, present >>= 1)) {
            if (present & 1 == 0) continue;
            Entry memory e = entries[next++];
            e.node = base + index;
            if (_isAt(bucket.positions, atPosition, index)) {
                _position(e, bucket.positions, atPosition);
                atPosition += POSITION;
            }
            if (_isAt(bucket.was, atWas, index)) {
                _reading(e.was, bucket.was, atWas);
                atWas += Readings.RECORD;
            }
            if (_isAt(bucket.now_, atNow, index)) {
                _reading(e.now_, bucket.now_, atNow);
                atNow += Readings.RECORD;
            }
        }
        return next;
    }

    function _isAt(bytes calldata records, uint256 offset, uint256 index) private pure returns (bool) {
        return offset < records.length && uint8(records[offset]) == index;
    }

    function _reading(Reading memory r, bytes calldata records, uint256 offset) private pure {
        uint256 quality;
        (quality, r.exportWh, r.importWh) = Readings.valuesAt(records, offset);
        r.present = true;
        r.substituted = quality == Readings.SUBSTITUTED;
    }

    function _position(Entry memory e, bytes calldata records, uint256 offset) private pure {
        uint256 head = uint256(bytes32(records[offset:offset + 32]));
        e.hasPosition = true;
        e.options = (head >> 240) & 0xff;
        e.soldWh = (head >> 200) & WH;
        e.boughtWh = (head >> 160) & WH;
        e.receiveNyuan = (head >> 88) & NYUAN;
        e.payNyuan = (head >> 16) & NYUAN;
        e.lockedUyuan = uint64(bytes8(records[offset + 30:offset + POSITION]));
    }
}
