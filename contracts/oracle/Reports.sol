// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Topic} from "../interfaces/IBallots.sol";
import {IReports} from "../interfaces/IReports.sol";
import {Records} from "../libraries/Records.sol";
import {Roots} from "../libraries/Roots.sol";
import {Ballots} from "./Ballots.sol";

/// @title What the meters measured
/// @notice Documented in `IReports`.
abstract contract Reports is IReports, Ballots {
    /// Highest known quality of a reading: 0 is measured, 1 substituted.
    uint256 private constant SUBSTITUTED = 1;

    /// Versions of 16 consecutive periods share a word, so that only the first of them pays for fresh storage.
    uint256 private constant VERSIONS = 16;
    uint256 private constant VERSION_BITS = 16;

    mapping(uint256 word => uint256 versions) private _latest;
    mapping(uint32 period => mapping(uint16 version => bytes32)) private _roots;

    /// @inheritdoc IReports
    function proposeReport(uint32 period, uint16 version, bytes[] calldata buckets) external {
        if (block.timestamp < _close(period)) revert TooEarly(period, _close(period));
        if (block.timestamp >= _windowEnd(period)) revert TooLate(period, _windowEnd(period));
        uint16 next = _latestVersion(period) + 1;
        if (version != next) revert WrongVersion(period, version, next);
        if (buckets.length == 0) revert EmptyReport(period);
        uint256 nodeCount = REGISTRY.nodeCount();
        // Empty buckets behind the last node would only make every settlement dearer.
        if (buckets.length > (nodeCount >> 8) + 1) revert TooManyBuckets(buckets.length, (nodeCount >> 8) + 1);
        bytes32 root;
        for (uint256 b; b < buckets.length; ++b) {
            _checkBucket(b, buckets[b], nodeCount);
            root = Roots.extend(root, keccak256(buckets[b]));
        }
        (uint32 round, uint8 proposer) = _open(Topic.Report, period, version, _close(period), root);
        emit ReportProposed(period, version, round, proposer, root, buckets);
    }

    /// @inheritdoc IReports
    function latestReport(uint32 period) external view returns (uint16 version, bytes32 root) {
        version = _latestVersion(period);
        root = _roots[period][version];
    }

    /// @inheritdoc IReports
    function reportRoot(uint32 period, uint16 version) external view returns (bytes32 root) {
        return _roots[period][version];
    }

    function _latestRoot(uint32 period) internal view returns (bytes32) {
        return _roots[period][_latestVersion(period)];
    }

    function _latestVersion(uint32 period) internal view returns (uint16) {
        return uint16(_latest[period / VERSIONS] >> (period % VERSIONS * VERSION_BITS));
    }

    function _acceptReport(uint32 period, uint16 version, bytes32 root) internal {
        // Versions follow each other, so the one before gives way by adding one.
        _latest[period / VERSIONS] += 1 << (period % VERSIONS * VERSION_BITS);
        _roots[period][version] = root;
        emit ReportAccepted(period, version, root);
    }

    /// @dev An accepted report must never make a settlement fail, so its form is checked before anyone votes: whole records,
    /// of admitted nodes, with strictly ascending indices and known qualities.
    function _checkBucket(uint256 b, bytes calldata bucket, uint256 nodeCount) private pure {
        uint256 least = b == 0 ? 1 : 0; // node 0 has no meter
        for (uint256 offset; offset < bucket.length; offset += Records.READING) {
            uint256 index = Records.indexAt(bucket, offset);
            uint256 quality = uint8(Records.readingAt(bucket, offset) >> 80);
            bool whole = offset + Records.READING <= bucket.length;
            if (!whole || index < least || quality > SUBSTITUTED || (b << 8) + index > nodeCount) {
                revert MalformedBucket(b, offset);
            }
            least = index + 1;
        }
    }
}
