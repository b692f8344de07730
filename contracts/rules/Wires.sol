// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPairwise} from "../interfaces/IPairwise.sol";
import {Entry} from "../types/Entry.sol";

/// The feeder as `pairwise` sees it: buses joined by lines that cannot bind form one zone.
/// @param buses Where the sums of each bus are in memory, one word each:
/// sold 64 | bought 64 | sold by agreements 64 | bought by agreements 64, Wh.
/// @param busCount How many there are.
/// @param rooms Where the zones below the lines are that the claim names, one word each:
/// zone above 16 | room up 120 | room down 120, Wh.
/// @param count How many lines the claim names, one less than there are zones.
/// @param ofBus Zone of each bus, empty if the claim names no line.
struct Wiring {
    uint256 buses;
    uint256 busCount;
    uint256 rooms;
    uint256 count;
    uint256[] ofBus;
}

/// @notice Flows and rooms of a feeder. Its bytes are `parent 2 | up 4 | down 4` per bus from 0 on, parents first.
library Wires {
    /// Bytes of a line of the feeder.
    uint256 internal constant LINE = 10;
    /// Bytes of a line in a claim.
    uint256 internal constant NAMED = 18;

    uint256 private constant WH = type(uint64).max;
    uint256 private constant SIDE = 120;
    uint256 private constant ROOM = (1 << SIDE) - 1;

    /// @notice Numbers the zones, and writes their rooms as the claim has them.
    /// @param named The lines that the claim names: line 2 | up 8 | down 8 each.
    function divide(Wiring memory z, bytes calldata lines, bytes calldata named) internal pure {
        if (z.count == 0) return;
        z.ofBus = new uint256[](z.busCount);
        uint256 zone;
        uint256 next = _word(named, 0);
        unchecked {
            for (uint256 bus = 1; bus < z.busCount; ++bus) {
                uint256 above = _load(_item(z.ofBus, _word(lines, bus * LINE) >> 240));
                if (bus == next >> 240 && zone != z.count) {
                    uint256 room = (uint256(uint64(next >> 176)) << SIDE) | uint64(next >> 112);
                    _store(z.rooms + 32 * zone, (above << 2 * SIDE) | room);
                    above = ++zone;
                    next = _word(named, zone * NAMED);
                }
                _store(_item(z.ofBus, bus), above);
            }
        }
        if (zone != z.count) revert IPairwise.LinesUnordered(next >> 240);
    }

    /// @notice The zone of an order.
    function zoneOf(Wiring memory z, Entry e) internal pure returns (uint256) {
        uint256 bus = e.bus();
        if (bus >= z.busCount) revert IPairwise.OffFeeder(e.seq(), bus);
        return _load(_item(z.ofBus, bus));
    }

    /// @notice Lets a pair through as far as its path has room for, and takes that room.
    /// @dev Takes all of it on the way and gives back what does not fit: most pairs pass whole. Words wrap around meanwhile.
    function pass(Wiring memory z, uint256 from, uint256 to, uint256 matchedWh) internal pure returns (uint256 wh) {
        unchecked {
            wh = matchedWh;
            uint256 taken = _upwards(matchedWh);
            uint256 root = z.rooms - 32; // zone 0 has no line
            (uint256 a, uint256 b) = (from, to);
            // Parents come first, so the end with the higher number is the one below.
            while (a != b) {
                uint256 room;
                if (a > b) {
                    uint256 line = root + (a << 5);
                    uint256 word = _load(line);
                    _store(line, word - taken);
                    (room, a) = ((word >> SIDE) & ROOM, word >> 2 * SIDE);
                } else {
                    uint256 line = root + (b << 5);
                    uint256 word = _load(line);
                    _store(line, word + taken);
                    (room, b) = (word & ROOM, word >> 2 * SIDE);
                }
                if (room < wh) wh = room;
            }
            if (wh != matchedWh) _giveBack(root, from, to, _upwards(matchedWh - wh));
        }
    }

    /// @dev Undoes a part of what a pair took of its path.
    function _giveBack(uint256 root, uint256 from, uint256 to, uint256 upwards) private pure {
        unchecked {
            while (from != to) {
                uint256 line = root + ((from > to ? from : to) << 5);
                uint256 word = from > to ? _load(line) + upwards : _load(line) - upwards;
                _store(line, word);
                if (from > to) from = word >> 2 * SIDE;
                else to = word >> 2 * SIDE;
            }
        }
    }

    /// @dev What an upward flow takes of a word: what one direction gains the other loses; neither falls below zero or reaches
    /// 2^120 in the end.
    function _upwards(uint256 wh) private pure returns (uint256) {
        unchecked {
            return (wh << SIDE) - wh;
        }
    }

    /// @notice Adds to the sums of a bus; a bus that the feeder lacks counts as the root.
    function add(Wiring memory z, uint256 bus, uint256 sums) internal pure {
        addOnFeeder(z, bus < z.busCount ? bus : 0, sums);
    }

    /// @notice Adds to the sums of a bus that the feeder has.
    function addOnFeeder(Wiring memory z, uint256 bus, uint256 sums) internal pure {
        unchecked {
            uint256 word = z.buses + 32 * bus;
            _store(word, _load(word) + sums); // 2^24 orders and 2^32 nodes of 40-bit energies
        }
    }

    /// @notice Requires that the claim has the rooms that agreements leave, and that no line binds which it does not name.
    /// @dev Turns the sums of each bus into those below its line.
    function finish(Wiring memory z, bytes calldata lines, bytes calldata named) internal pure {
        uint256 left = z.count;
        unchecked {
            for (uint256 bus = z.busCount - 1; bus != 0; --bus) {
                uint256 sums = _load(z.buses + 32 * bus);
                uint256 word = _word(lines, bus * LINE);
                addOnFeeder(z, word >> 240, sums);
                (uint256 upWh, uint256 downWh) = _left(word, sums);
                if (left != 0 && _word(named, (left - 1) * NAMED) >> 240 == bus) {
                    word = _word(named, --left * NAMED);
                    if (uint64(word >> 176) != upWh || uint64(word >> 112) != downWh) {
                        revert IPairwise.HeadroomDiffers(bus, upWh, downWh);
                    }
                } else if (sums >> 192 > upWh || ((sums >> 128) & WH) > downWh) {
                    revert IPairwise.LineMayBind(bus);
                }
            }
        }
    }

    /// @dev What agreements leave of a line's headroom. One they exceed counts as base load: none is left on its side, and
    /// all that they relieve on the other.
    function _left(uint256 line, uint256 sums) private pure returns (uint256 upWh, uint256 downWh) {
        unchecked {
            (uint256 soldWh, uint256 boughtWh) = ((sums >> 64) & WH, sums & WH);
            (uint256 up, uint256 down) = (uint32(line >> 208) + boughtWh, uint32(line >> 176) + soldWh); // 65 bits
            upWh = up > soldWh ? up - soldWh : 0;
            downWh = down > boughtWh ? down - boughtWh : 0;
        }
    }

    /// @dev Where an item of a column is, whose place is known to be below its length.
    function _item(uint256[] memory column, uint256 place) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := add(add(column, 0x20), shl(5, place))
        }
    }

    function _word(bytes calldata data, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(data.offset, offset))
        }
    }

    function _load(uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(offset)
        }
    }

    function _store(uint256 offset, uint256 word) private pure {
        assembly ("memory-safe") {
            mstore(offset, word)
        }
    }
}
