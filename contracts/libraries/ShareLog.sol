// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Packed} from "./Packed.sol";

/// A log of shares and how far it was read.
struct Shares {
    bytes log;
    uint256 offset;
}

/// @notice The shares of a leg, as events carry them: node 4 bytes, whether it supplied 1, energy 6 (Wh), ascending.
/// @dev A shortage and extra demand of 40 bits each add up to 41.
library ShareLog {
    using Packed for bytes;

    /// Length of a record.
    uint256 internal constant RECORD = 11;

    /// @notice An empty log with room for `most` records.
    function open(uint256 most) internal pure returns (bytes memory) {
        return Packed.log(most * RECORD);
    }

    /// @notice Adds a record; nothing for a share of zero. There must be room left.
    function add(bytes memory log, uint256 node, bool supplied, uint256 energyWh) internal pure {
        if (energyWh == 0) return;
        log.append((node << 224) | (supplied ? uint256(1) << 216 : 0) | (energyWh << 168), RECORD);
    }

    /// @notice The record at an offset.
    function recordAt(bytes memory log, uint256 offset) internal pure returns (uint256 node, uint256 energyWh, bool supplied) {
        uint256 record = log.word(offset);
        return (record >> 224, uint48(record >> 168), uint8(record >> 216) != 0);
    }

    /// @notice A node's share, Wh, and whether it supplied; zero if the next share is another node's.
    /// @param s The shares. Nodes must be asked for in ascending order, leaving out none that has a share.
    /// @param node The node.
    function next(Shares memory s, uint256 node) internal pure returns (uint256 energyWh, bool supplied) {
        (bytes memory log, uint256 offset) = (s.log, s.offset);
        if (offset == log.length) return (0, false);
        uint256 record = log.word(offset);
        if (record >> 224 != node) return (0, false);
        unchecked {
            s.offset = offset + RECORD; // at most the length
        }
        return (uint48(record >> 168), uint8(record >> 216) != 0);
    }
}
