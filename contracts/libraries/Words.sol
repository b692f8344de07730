// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Entry} from "./Entries.sol";

/// @notice Elements of arrays in memory, for loops whose bounds are known: nothing is checked.
library Words {
    function get(uint256[] memory array, uint256 i) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(array, shl(5, add(i, 1))))
        }
    }

    function entry(Entry[] memory array, uint256 i) internal pure returns (Entry value) {
        assembly ("memory-safe") {
            value := mload(add(array, shl(5, add(i, 1))))
        }
    }

    /// @notice A byte of a string of bytes.
    function octet(bytes memory array, uint256 i) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := byte(0, mload(add(array, add(0x20, i))))
        }
    }
}
