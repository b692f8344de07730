// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What a settlement does to one node's account, in one word:
/// node 32 | wasHeld 8 | hold 8 | release 64 | net 112 (signed), amounts in micro-yuan (SPEC section 7).
type Transfer is uint256;

using TransferFields for Transfer global;

/// @dev Packs a transfer. The net is below 2^67 in size, so the narrowing is lossless.
function toTransfer(uint256 node, bool wasHeld, bool hold, uint256 releaseUyuan, int256 netUyuan)
    pure
    returns (Transfer)
{
    return Transfer.wrap(
        (node << 192) | (wasHeld ? uint256(1) << 184 : 0) | (hold ? uint256(1) << 176 : 0) | (releaseUyuan << 112)
            | uint256(uint112(int112(netUyuan)))
    );
}

/// @notice Reads the fields of a `Transfer`.
library TransferFields {
    uint256 private constant FLAG = 1;

    /// @notice The node whose account moves.
    function node(Transfer t) internal pure returns (uint32) {
        return uint32(Transfer.unwrap(t) >> 192);
    }

    /// @notice Whether the previous settlement of the period held the node's money.
    function wasHeld(Transfer t) internal pure returns (bool) {
        return (Transfer.unwrap(t) >> 184) & FLAG != 0;
    }

    /// @notice Whether this settlement holds the node's money, its meter being unread.
    function hold(Transfer t) internal pure returns (bool) {
        return (Transfer.unwrap(t) >> 176) & FLAG != 0;
    }

    /// @notice Lock of the position to release, micro-yuan.
    function releaseUyuan(Transfer t) internal pure returns (uint256) {
        return uint64(Transfer.unwrap(t) >> 112);
    }

    /// @notice What the node gains, or loses if negative, micro-yuan.
    function netUyuan(Transfer t) internal pure returns (int256) {
        return int112(uint112(Transfer.unwrap(t)));
    }
}
