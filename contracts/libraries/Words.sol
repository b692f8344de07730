// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Elements of arrays in memory, for loops whose bounds are known: nothing is checked.
library Words {
    function get(uint256[] memory array, uint256 i) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(array, shl(5, add(i, 1))))
        }
    }

    function put(uint256[] memory array, uint256 i, uint256 value) internal pure {
        assembly ("memory-safe") {
            mstore(add(array, shl(5, add(i, 1))), value)
        }
    }

    function add(uint256[] memory array, uint256 i, uint256 value) internal pure {
        assembly ("memory-safe") {
            let place := add(array, shl(5, add(i, 1)))
            mstore(place, add(mload(place), value))
        }
    }
}
