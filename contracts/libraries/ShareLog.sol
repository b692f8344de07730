// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Collects the shares of a leg for its event: node 4 bytes, whether it supplied 1, energy 6 (Wh).
/// @dev A shortage and extra demand of 40 bits each add up to 41.
library ShareLog {
    uint256 private constant RECORD = 11;

    /// @notice An empty log with room for `most` records.
    function open(uint256 most) internal pure returns (bytes memory log) {
        log = new bytes(most * RECORD + 32);
        assembly ("memory-safe") {
            mstore(log, 0)
        }
    }

    /// @notice Adds a record; nothing for a share of zero. There must be room left.
    function add(bytes memory log, uint256 node, bool supplied, uint256 energyWh) internal pure {
        if (energyWh == 0) return;
        uint256 word = (node << 224) | (supplied ? uint256(1) << 216 : 0) | (energyWh << 168);
        assembly ("memory-safe") {
            let length := mload(log)
            mstore(add(add(log, 0x20), length), word)
            mstore(log, add(length, RECORD))
        }
    }
}
