// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPool} from "../interfaces/IPool.sol";
import {Page, Terms} from "../interfaces/IRule.sol";
import {OrderRecord} from "../libraries/Pages.sol";
import {Records} from "../libraries/Records.sol";
import {Tallies} from "../libraries/Tallies.sol";
import {Words} from "../libraries/Words.sol";

/// Buses joined by lines that do not bind. Keys are the places of orders in the one priority of bids and asks
/// (docs/clearing.md section 3): limit 32 | side 2 | place 24, the side 1 for asks and 2 for bids, the place `seq` for asks and
/// `2^24 - 1 - seq` for bids.
/// @param price What bids pay and asks get, micro-yuan per kWh.
/// @param bidCut Key of the worst accepted bid; higher than any if none is.
/// @param bidPart What it trades, Wh; 0 if none is or it was met.
/// @param askCut Key of the worst accepted ask; lower than any if none is.
/// @param askPart What it trades, Wh; 0 if none is or it was met.
/// @param low Highest key below the margin: of accepted asks and unfilled bids.
/// @param high Lowest key above the margin: of accepted bids and unfilled asks.
/// @param above The zone above its head's line.
/// @param binds The direction in which that line binds; `NEITHER` if in both.
struct Zone {
    uint256 price;
    uint256 bidCut;
    uint256 bidPart;
    uint256 askCut;
    uint256 askPart;
    uint256 low;
    uint256 high;
    uint256 above;
    uint256 binds;
}

/// @notice Follows what zones trade, and proves in two passes over the lines that nothing better was possible.
/// @dev Documented in `IPool`. No sum overflows, see `Pool`.
library Zones {
    using Words for uint256[];

    /// A feeder cut into zones.
    /// @param zones The zones, by their heads.
    /// @param ofBus Zone of each bus.
    /// @param sums Per bus: sold 64 | bought 64 by orders | sold 64 | bought 64 by agreements, Wh.
    struct Feeder {
        Zone[] zones;
        uint256[] ofBus;
        uint256[] sums;
    }

    uint256 private constant ZONE = 30;
    uint256 private constant LINE = 10;

    uint256 private constant LIMIT_BITS = 26;
    uint256 private constant ASK = 1 << 24;
    uint256 private constant BID = 2 << 24;
    uint256 private constant HIGHEST = 3 << 24;
    uint256 private constant SEQ = type(uint24).max;

    uint256 private constant NEITHER = 0;
    uint256 private constant UP = 1;
    uint256 private constant DOWN = 2;

    // In a state a zone is low 58 | high 58 | bid cut met 1 | ask cut met 1.
    uint256 private constant KEY_BITS = 58;
    uint256 private constant KEY = (1 << KEY_BITS) - 1;

    /// @notice Takes up a claim where the state has it, or begins.
    function open(Terms calldata terms, bytes calldata lines, bytes calldata claim, bytes calldata state)
        internal
        pure
        returns (Feeder memory f)
    {
        uint256 count = claim.length / ZONE;
        if (count == 0 || claim.length % ZONE != 0) revert IPool.ClaimBroken(claim.length);
        uint256 buses = lines.length / LINE;
        (f.zones, f.ofBus, f.sums) = (new Zone[](count), new uint256[](buses), new uint256[](buses));
        _divide(f, lines, claim);
        (uint256 low, uint256 high) =
            (uint256(terms.low) << LIMIT_BITS, (uint256(terms.high) << LIMIT_BITS) | HIGHEST);
        for (uint256 i; i < count; ++i) {
            Zone memory zone = f.zones[i];
            _read(zone, i, Records.word(claim, i * ZONE));
            (zone.low, zone.high) = (low, high);
        }
        if (state.length != 0) _resume(f, state);
    }

    /// @notice What `open` takes up.
    function pack(Feeder memory f) internal pure returns (bytes memory state) {
        uint256[] memory words = new uint256[](f.zones.length);
        for (uint256 i; i < words.length; ++i) {
            Zone memory zone = f.zones[i];
            words[i] = (zone.low << (KEY_BITS + 2)) | (zone.high << 2) | (zone.bidPart == 0 ? 2 : 0)
                | (zone.askPart == 0 ? 1 : 0);
        }
        state = abi.encodePacked(f.sums, words);
    }

    /// @notice Adds what the agreements of a bucket sell and buy at their buses.
    function addAgreed(Feeder memory f, Page calldata page) internal pure {
        unchecked {
            uint256 count = page.agreed.length / Records.POSITION;
            for (uint256 i; i < count; ++i) {
                uint256 plan = Records.word(page.agreed, i * Records.POSITION);
                uint256 bus = _onFeeder(f, Records.word(page.buses, 2 * i) >> 240);
                f.sums.add(bus, (uint256(uint40(plan >> 200)) << 64) | uint40(plan >> 160));
            }
        }
    }

    /// @notice Takes an eligible bid.
    /// @return traded What it buys and pays, as a tally adds it.
    function bid(Feeder memory f, OrderRecord order) internal pure returns (uint256 traded) {
        unchecked {
            uint256 bus = _onFeeder(f, order.bus());
            Zone memory zone = f.zones[f.ofBus.get(bus)];
            (uint256 energyWh, uint256 wh) = (order.energyWh(), 0);
            uint256 key = (order.limit() << LIMIT_BITS) | BID | (SEQ - order.seq());
            if (key > zone.bidCut) {
                wh = energyWh;
            } else {
                if (key == zone.bidCut) {
                    (wh, zone.bidPart) = (zone.bidPart, 0);
                    if (wh > energyWh) revert IPool.CutMisstated(f.ofBus.get(bus), order.seq());
                }
                // A partial order bounds the price on both sides.
                if (wh != energyWh && key > zone.low) zone.low = key;
            }
            if (wh == 0) return 0;
            f.sums.add(bus, wh << 128);
            if (key < zone.high) zone.high = key;
            traded = Tallies.purchase(wh, wh * zone.price);
        }
    }

    /// @notice Takes an eligible ask.
    /// @return traded What it sells and gets, as a tally adds it.
    function ask(Feeder memory f, OrderRecord order) internal pure returns (uint256 traded) {
        unchecked {
            uint256 bus = _onFeeder(f, order.bus());
            Zone memory zone = f.zones[f.ofBus.get(bus)];
            (uint256 energyWh, uint256 wh) = (order.energyWh(), 0);
            uint256 key = (order.limit() << LIMIT_BITS) | ASK | order.seq();
            if (key < zone.askCut) {
                wh = energyWh;
            } else {
                if (key == zone.askCut) {
                    (wh, zone.askPart) = (zone.askPart, 0);
                    if (wh > energyWh) revert IPool.CutMisstated(f.ofBus.get(bus), order.seq());
                }
                // A partial order bounds the price on both sides.
                if (wh != energyWh && key < zone.high) zone.high = key;
            }
            if (wh == 0) return 0;
            f.sums.add(bus, wh << 192);
            if (key > zone.low) zone.low = key;
            traded = Tallies.sale(wh, wh * zone.price);
        }
    }

    /// @notice Requires that every cut was met, that no line carries too much, that zones end where lines bind, and nowhere else,
    /// and that sold equals bought.
    /// @dev Turns the sums of each bus into those below its line.
    function checkFlows(Feeder memory f, bytes calldata lines) internal pure {
        for (uint256 i; i < f.zones.length; ++i) {
            Zone memory zone = f.zones[i];
            if (zone.bidPart != 0) revert IPool.CutMisstated(i, _seqOf(zone.bidCut));
            if (zone.askPart != 0) revert IPool.CutMisstated(i, _seqOf(zone.askCut));
        }
        (uint256[] memory ofBus, uint256[] memory sums) = (f.ofBus, f.sums);
        unchecked {
            for (uint256 bus = sums.length - 1; bus != 0; --bus) {
                uint256 line = Records.word(lines, bus * LINE);
                uint256 below = sums.get(bus);
                sums.add(line >> 240, below);
                int256 flowWh = _flow(below >> 128);
                int256 agreedWh = _flow(below);
                int256 mostWh = int256(uint256(uint32(line >> 208))) - agreedWh;
                if (mostWh < 0) mostWh = 0;
                int256 leastWh = -int256(uint256(uint32(line >> 176))) - agreedWh;
                if (leastWh > 0) leastWh = 0;
                if (flowWh > mostWh) revert IPool.LineOverloaded(bus, flowWh, mostWh);
                if (flowWh < leastWh) revert IPool.LineOverloaded(bus, flowWh, leastWh);
                (uint256 zone, uint256 above) = (ofBus.get(bus), ofBus.get(line >> 240));
                if ((flowWh == mostWh || flowWh == leastWh) != (zone != above)) revert IPool.WrongZone(bus, zone);
                if (zone == above) continue;
                f.zones[zone].above = above;
                if (mostWh != leastWh) f.zones[zone].binds = flowWh == mostWh ? UP : DOWN;
            }
        }
        int256 surplusWh = _flow(sums.get(0) >> 128);
        if (surplusWh != 0) revert IPool.Unbalanced(surplusWh);
    }

    /// @notice Requires that a marginal key exists for every zone that never falls along a flow that binds: that nothing
    /// better was possible. Leaves in each zone the interval of its marginal key.
    function checkRanks(Feeder memory f) internal pure {
        for (uint256 i = f.zones.length - 1; i != 0; --i) {
            _relate(f, i);
        }
        for (uint256 i = 1; i < f.zones.length; ++i) {
            _relate(f, i);
        }
        for (uint256 i; i < f.zones.length; ++i) {
            (uint256 low, uint256 high) = (f.zones[i].low, f.zones[i].high);
            if (low > high) revert IPool.Outranked(_seqOf(low), _seqOf(high));
        }
    }

    /// @notice The limit in a key.
    function limitOf(uint256 key) internal pure returns (uint256) {
        return key >> LIMIT_BITS;
    }

    /// @dev Gives every bus its zone: heads begin one, other buses are in their parent's.
    function _divide(Feeder memory f, bytes calldata lines, bytes calldata claim) private pure {
        (uint256[] memory ofBus, uint256 buses, uint256 count) = (f.ofBus, f.ofBus.length, f.zones.length);
        uint256 next = Records.word(claim, 0) >> 240;
        if (next != 0) revert IPool.ZonesUnordered(0);
        uint256 begun;
        unchecked {
            for (uint256 bus; bus < buses; ++bus) {
                if (bus == next) {
                    ofBus.put(bus, begun++);
                    // Behind the last head is none.
                    next = begun < count ? Records.word(claim, begun * ZONE) >> 240 : buses;
                } else {
                    ofBus.put(bus, ofBus.get(Records.word(lines, bus * LINE) >> 240));
                }
            }
        }
        if (begun != count) revert IPool.ZonesUnordered(begun);
    }

    /// @dev Reads a zone of the claim.
    function _read(Zone memory zone, uint256 number, uint256 word) private pure {
        zone.price = uint32(word >> 208);
        (uint256 bidCut, uint256 askCut) = (uint96(word >> 112), uint96(word >> 16));
        (zone.bidPart, zone.askPart) = (uint40(bidCut), uint40(askCut));
        if (zone.bidPart != 0) zone.bidCut = ((bidCut >> 64) << LIMIT_BITS) | BID | (SEQ - uint24(bidCut >> 40));
        else if (bidCut == 0) zone.bidCut = type(uint256).max;
        else revert IPool.CutMisstated(number, uint24(bidCut >> 40));
        if (zone.askPart != 0) zone.askCut = ((askCut >> 64) << LIMIT_BITS) | ASK | uint24(askCut >> 40);
        else if (askCut != 0) revert IPool.CutMisstated(number, uint24(askCut >> 40));
    }

    function _resume(Feeder memory f, bytes calldata state) private pure {
        uint256 buses = f.sums.length;
        for (uint256 bus; bus < buses; ++bus) {
            f.sums[bus] = Records.word(state, 32 * bus);
        }
        for (uint256 i; i < f.zones.length; ++i) {
            uint256 word = Records.word(state, 32 * (buses + i));
            Zone memory zone = f.zones[i];
            (zone.low, zone.high) = (word >> (KEY_BITS + 2), (word >> 2) & KEY);
            if (word & 2 != 0) zone.bidPart = 0;
            if (word & 1 != 0) zone.askPart = 0;
        }
    }

    /// @dev Lets a zone and the one above it bound each other, if their line binds in one direction.
    function _relate(Feeder memory f, uint256 i) private pure {
        Zone memory upstream = f.zones[i];
        if (upstream.binds == NEITHER) return;
        Zone memory downstream = f.zones[upstream.above];
        if (upstream.binds == DOWN) (upstream, downstream) = (downstream, upstream);
        if (upstream.low > downstream.low) downstream.low = upstream.low;
        if (downstream.high < upstream.high) upstream.high = downstream.high;
    }

    /// @dev The bus, or the root if the feeder does not have it.
    function _onFeeder(Feeder memory f, uint256 bus) private pure returns (uint256) {
        return bus < f.sums.length ? bus : 0;
    }

    /// @dev Sold less bought of sums.
    function _flow(uint256 sums) private pure returns (int256) {
        return int256(uint256(uint64(sums >> 64))) - int256(uint256(uint64(sums)));
    }

    function _seqOf(uint256 key) private pure returns (uint256) {
        return key & BID != 0 ? SEQ - (key & SEQ) : key & SEQ;
    }
}
