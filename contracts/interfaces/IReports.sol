// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What the meters measured
/// @notice Versioned reports of a period's readings. The primary proposes with all bytes, so that no data can be withheld;
/// the quorum accepts. Bucket `b` holds the readings of nodes `256 b` to `256 b + 255` as 12-byte records in Wh (SPEC section 8).
interface IReports {
    /// @notice The primary proposed a report; `buckets` are its readings.
    event ReportProposed(
        uint32 indexed period, uint16 version, uint32 round, uint8 indexed proposer, bytes32 root, bytes[] buckets
    );
    /// @notice A report version is final.
    event ReportAccepted(uint32 indexed period, uint16 version, bytes32 root);

    /// @notice A report has at least one bucket.
    error EmptyReport(uint32 period);
    /// @notice A report has no more buckets than there are nodes to fill.
    error TooManyBuckets(uint256 given, uint256 most);
    /// @notice Versions are accepted one after the other.
    error WrongVersion(uint32 period, uint16 given, uint16 expected);
    /// @notice A bucket is not a sequence of whole records of admitted nodes in ascending order.
    error MalformedBucket(uint256 bucket, uint256 atByte);

    /// @notice Proposes the next version of a period's readings. Only the primary of the running round, from the period's
    /// close to the end of its correction window.
    function proposeReport(uint32 period, uint16 version, bytes[] calldata buckets) external;

    /// @notice The latest accepted version of a period and its root; 0 and 0 if there is none.
    function latestReport(uint32 period) external view returns (uint16 version, bytes32 root);

    /// @notice The root of an accepted version; 0 for version 0, which stands for no report at all.
    function reportRoot(uint32 period, uint16 version) external view returns (bytes32 root);
}
