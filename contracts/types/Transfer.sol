// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What a settlement does to one node's account, a record of 22 bytes:
/// node 32 | flags 8 (1 holds, 2 held) | release 64 | net 72 (signed), amounts in micro-yuan (SPEC section 7).
type Transfer is uint256;

using TransferFields for Transfer global;

/// @dev Packs a transfer. A difference of nets is below 2^68 in size, so the narrowing is lossless.
function toTransfer(uint256 node, uint256 flags, uint256 releaseUyuan, int256 netUyuan) pure returns (Transfer) {
    return Transfer.wrap(
        (node << 144) | (flags << 136) | (releaseUyuan << 72) | uint256(uint72(uint256(netUyuan)))
    );
}

/// @dev Reads the record at an offset.
function transferAt(bytes calldata records, uint256 offset) pure returns (Transfer t) {
    assembly ("memory-safe") {
        t := shr(80, calldataload(add(records.offset, offset)))
    }
}

/// @notice Reads the fields of a `Transfer`.
library TransferFields {
    /// Length of a packed record.
    uint256 internal constant RECORD = 22;

    /// The flag of a node whose money is held.
    uint256 internal constant HOLDS = 1;
    /// The flag of a node whose money was held.
    uint256 internal constant HELD = 2;

    uint256 private constant HOLD = HOLDS << 136;
    uint256 private constant WAS_HELD = HELD << 136;

    /// @notice The record, left-aligned in a word.
    function record(Transfer t) internal pure returns (uint256) {
        return Transfer.unwrap(t) << 80;
    }

    /// @notice The node whose account moves.
    function node(Transfer t) internal pure returns (uint32) {
        return uint32(Transfer.unwrap(t) >> 144);
    }

    /// @notice Whether the previous settlement of the period held the node's money.
    function wasHeld(Transfer t) internal pure returns (bool) {
        return Transfer.unwrap(t) & WAS_HELD != 0;
    }

    /// @notice Whether this settlement holds the node's money, its meter being unread.
    function hold(Transfer t) internal pure returns (bool) {
        return Transfer.unwrap(t) & HOLD != 0;
    }

    /// @notice Both flags; zero if nothing was held and nothing will be.
    function flags(Transfer t) internal pure returns (uint256) {
        return uint8(Transfer.unwrap(t) >> 136);
    }

    /// @notice Lock of the position to release, micro-yuan.
    function releaseUyuan(Transfer t) internal pure returns (uint256) {
        return uint64(Transfer.unwrap(t) >> 72);
    }

    /// @notice What the node gains, or loses if negative, micro-yuan.
    function netUyuan(Transfer t) internal pure returns (int256) {
        return int72(uint72(Transfer.unwrap(t)));
    }
}
