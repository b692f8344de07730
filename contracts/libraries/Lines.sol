// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IGrid} from "../interfaces/IGrid.sol";

/// @title The packed lines of a feeder
/// @notice 10 bytes per bus, from bus 0: parent 2, up 4, down 4, big-endian.
library Lines {
    uint256 internal constant BUS = 10;
    uint256 internal constant LIMITS = 8;
    uint256 private constant PARENT = 2;
    uint256 private constant LIMIT = 4;
    /// Bus numbers have 16 bits.
    uint256 private constant MOST_BUSES = 1 << 16;

    /// @dev Returns the number of buses, or reverts where the table is wrong.
    function check(bytes memory lines) internal pure returns (uint256 buses) {
        buses = lines.length / BUS;
        if (buses == 0 || buses > MOST_BUSES || lines.length % BUS != 0) revert IGrid.MalformedTable(buses);
        if (_word(lines, 0) >> (256 - 8 * BUS) != 0) revert IGrid.MalformedTable(0);
        for (uint256 bus = 1; bus < buses; ++bus) {
            if (_word(lines, bus * BUS) >> (256 - 8 * PARENT) >= bus) revert IGrid.MalformedTable(bus);
        }
    }

    /// @dev What a line may carry in a direction, Wh.
    function limitAt(bytes memory lines, uint256 line, bool up) internal pure returns (uint32) {
        return uint32(_word(lines, _offsetOf(line, up)) >> (256 - 8 * LIMIT)); // the shift leaves 32 bits
    }

    /// @dev Writes a headroom, whose size is right, over the limits of all lines.
    function replaceLimits(bytes memory lines, bytes calldata headroom) internal pure {
        for (uint256 i; i < headroom.length; i += LIMITS) {
            uint256 offset = (i / LIMITS + 1) * BUS + PARENT;
            assembly ("memory-safe") {
                let to := add(add(lines, 0x20), offset)
                // A limit of 8 bytes, then what followed it.
                mstore(to, or(shl(192, shr(192, calldataload(add(headroom.offset, i)))), shr(64, shl(64, mload(to)))))
            }
        }
    }

    /// @dev Applies the derate (line 2, direction 1, limit 4) at an offset if it lowers what holds.
    function lower(bytes memory lines, bytes memory derates, uint256 offset) internal pure {
        uint256 derate = _word(derates, offset);
        (uint256 line, bool up, uint32 limitWh) = (derate >> 240, uint8(derate >> 232) != 0, uint32(derate >> 200));
        if (limitWh >= limitAt(lines, line, up)) return;
        uint256 start = _offsetOf(line, up);
        assembly ("memory-safe") {
            let to := add(add(lines, 0x20), start)
            mstore(to, or(shl(224, limitWh), shr(32, shl(32, mload(to)))))
        }
    }

    /// @dev Reverts unless a headroom fits the table.
    function checkHeadroom(bytes memory lines, bytes calldata headroom) internal pure {
        uint256 expected = (lines.length / BUS - 1) * LIMITS;
        if (headroom.length != expected || expected == 0) revert IGrid.HeadroomSize(headroom.length, expected);
        for (uint256 i; i < expected; i += LIMITS) {
            uint256 offset = (i / LIMITS + 1) * BUS + PARENT;
            uint64 limits = uint64(_word(lines, offset) >> 192);
            uint64 given;
            assembly ("memory-safe") {
                given := shr(192, calldataload(add(headroom.offset, i)))
            }
            bool upFits = given >> 32 <= limits >> 32;
            if (upFits && uint32(given) <= uint32(limits)) continue;
            uint8 shift = upFits ? 0 : 32;
            // Tables have no more buses than 16 bits can number; a limit has 32 bits.
            revert IGrid.HeadroomAboveLimit(
                uint16(i / LIMITS + 1), !upFits, uint32(given >> shift), uint32(limits >> shift)
            );
        }
    }

    function _offsetOf(uint256 line, bool up) private pure returns (uint256) {
        return line * BUS + PARENT + (up ? 0 : LIMIT);
    }

    /// @dev 32 bytes from an offset on; those behind the end are of no use.
    function _word(bytes memory data, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), offset))
        }
    }
}
