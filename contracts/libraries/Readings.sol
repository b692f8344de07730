// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Reads the 12-byte reading records of SPEC section 8: index 1, quality 1, export 5, import 5.
library Readings {
    /// Length of a packed record.
    uint256 internal constant RECORD = 12;
    /// Highest known quality: 0 measured, 1 substituted.
    uint256 internal constant SUBSTITUTED = 1;

    uint256 private constant WH = type(uint40).max;

    /// @notice Index of the record that starts at byte `offset`.
    function indexAt(bytes calldata bucket, uint256 offset) internal pure returns (uint256) {
        return uint8(bucket[offset]);
    }

    /// @notice Quality, export and import, the latter two in Wh, of the record that starts at byte `offset`.
    function valuesAt(bytes calldata bucket, uint256 offset)
        internal
        pure
        returns (uint256 quality, uint256 exportWh, uint256 importWh)
    {
        uint256 word = uint96(bytes12(bucket[offset:offset + RECORD]));
        return ((word >> 80) & 0xff, (word >> 40) & WH, word & WH);
    }

    /// @notice Where a bucket stops being a sequence of whole records with strictly ascending indices and known qualities;
    /// its length if it never does.
    function wellFormedUntil(bytes calldata bucket) internal pure returns (uint256 offset) {
        uint256 next;
        for (; offset + RECORD <= bucket.length; offset += RECORD) {
            uint256 index = indexAt(bucket, offset);
            if (index < next || uint8(bucket[offset + 1]) > SUBSTITUTED) return offset;
            next = index + 1;
        }
    }

    /// @notice Finds a node's measured record in a well-formed bucket.
    function find(bytes calldata bucket, uint256 index)
        internal
        pure
        returns (bool measured, uint256 exportWh, uint256 importWh)
    {
        for (uint256 offset; offset < bucket.length; offset += RECORD) {
            if (indexAt(bucket, offset) != index) continue;
            uint256 quality;
            (quality, exportWh, importWh) = valuesAt(bucket, offset);
            return (quality != SUBSTITUTED, exportWh, importWh);
        }
    }
}
