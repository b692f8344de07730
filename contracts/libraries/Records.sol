// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Walks packed records in calldata: fixed length, the node's index in the first byte (SPEC section 8).
library Records {
    /// Length of a position record.
    uint256 internal constant POSITION = 38;
    /// Length of a reading record.
    uint256 internal constant READING = 12;
    /// What `indexAt` tells behind the last record; higher than any index.
    uint256 internal constant NONE = 256;

    /// @notice Index of the record at a byte offset, or `NONE` at the end.
    function indexAt(bytes calldata records, uint256 offset) internal pure returns (uint256) {
        return offset < records.length ? word(records, offset) >> 248 : NONE;
    }

    /// @notice The 32 bytes from an offset on. What lies behind the end of `records` is arbitrary.
    function word(bytes calldata records, uint256 offset) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(records.offset, offset))
        }
    }

    /// @notice The reading record at an offset.
    function readingAt(bytes calldata records, uint256 offset) internal pure returns (uint256) {
        return word(records, offset) >> 160;
    }
}
