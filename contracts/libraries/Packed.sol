// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Writes and reads rows of bytes in memory: whole words by offset, or short records one after the other.
/// @dev Settlements pass such rows between rooms, because `bytes` are copied whole where arrays are copied word by word.
library Packed {
    using Packed for bytes;

    /// Length of a word.
    uint256 internal constant WORD = 32;

    /// @notice Zeros to be overwritten.
    function zeros(uint256 words) internal pure returns (bytes memory) {
        return new bytes(words * WORD);
    }

    /// @notice An empty log with room for `most` bytes and the spill of its last record.
    function log(uint256 most) internal pure returns (bytes memory rows) {
        rows = new bytes(most + WORD);
        rows.keep(0, 0);
    }

    /// @notice Keeps `length` bytes from an offset on, at most as many as there are.
    function keep(bytes memory rows, uint256 offset, uint256 length) internal pure {
        assembly ("memory-safe") {
            mcopy(add(rows, 0x20), add(add(rows, 0x20), offset), length)
            mstore(rows, length)
        }
    }

    /// @notice The 32 bytes from an offset on. What lies behind the end of `rows` is arbitrary.
    function word(bytes memory rows, uint256 offset) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(add(rows, 0x20), offset))
        }
    }

    /// @notice Overwrites the 32 bytes from an offset on, which must be there.
    function put(bytes memory rows, uint256 offset, uint256 value) internal pure {
        assembly ("memory-safe") {
            mstore(add(add(rows, 0x20), offset), value)
        }
    }

    /// @notice Adds a record, the first `length` bytes of a word, to a log that has room for it.
    function append(bytes memory rows, uint256 record, uint256 length) internal pure {
        assembly ("memory-safe") {
            let end := mload(rows)
            mstore(add(add(rows, 0x20), end), record)
            mstore(rows, add(end, length))
        }
    }
}

