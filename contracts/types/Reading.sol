// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// A report's word on one node: exists 8 | index 8 | quality 8 | export 40 | import 40, energies in Wh. All zero if the
/// report does not know the node.
type Reading is uint256;

using ReadingFields for Reading global;

/// @notice Reads the fields of a `Reading`.
library ReadingFields {
    uint256 private constant WH = type(uint40).max;
    uint256 private constant EXISTS = 1 << 96;

    /// @notice The reading in a packed 12-byte record.
    function fromRecord(uint256 record) internal pure returns (Reading) {
        return Reading.wrap(record | EXISTS);
    }

    function exists(Reading r) internal pure returns (bool) {
        return Reading.unwrap(r) != 0;
    }

    /// @notice Whether the values are a profile, the meter being silent.
    function isSubstituted(Reading r) internal pure returns (bool) {
        return (Reading.unwrap(r) >> 80) & 0xff != 0;
    }

    function exportWh(Reading r) internal pure returns (uint256) {
        return (Reading.unwrap(r) >> 40) & WH;
    }

    function importWh(Reading r) internal pure returns (uint256) {
        return Reading.unwrap(r) & WH;
    }
}
