// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPool} from "../interfaces/IPool.sol";
import {IRule, MARKET, Page, Terms} from "../interfaces/IRule.sol";
import {OrderRecord, Pages} from "../libraries/Pages.sol";
import {Tallies, Tally} from "../libraries/Tallies.sol";
import {Zone, Zones} from "./Zones.sol";

/// @title A rule under which everybody in a zone trades at one price
/// @notice Documented in `IPool`.
/// @dev Energies have 40 bits, limits 32 and a period fewer than 2^24 records, so no sum here overflows.
abstract contract Pool is IPool {
    using Tallies for Tally;
    using Zones for Zones.Feeder;

    /// Limits with which a bid, and an ask, takes part, both ends included.
    struct Band {
        uint256 bidLow;
        uint256 bidHigh;
        uint256 askLow;
        uint256 askHigh;
    }

    /// @inheritdoc IRule
    function check(
        Terms calldata terms,
        bytes calldata lines,
        bytes calldata claim,
        bytes calldata feed,
        bytes calldata state,
        bytes calldata cancelled,
        Page[] calldata pages,
        bool last
    ) external pure returns (bytes[] memory positions, bytes memory newState) {
        if (feed.length != 0) revert UnexpectedFeed(feed.length);
        positions = new bytes[](pages.length);
        Tally memory tally = Tallies.blank();
        if (terms.mode != MARKET) {
            for (uint256 i; i < pages.length; ++i) {
                tally.start(pages[i].agreed);
                Pages.addStanding(tally, terms, cancelled, pages[i].orders);
                positions[i] = tally.records();
            }
            return (positions, newState);
        }
        Zones.Feeder memory feeder = Zones.open(terms, lines, claim, state);
        Band memory band = _band(terms);
        for (uint256 i; i < pages.length; ++i) {
            tally.start(pages[i].agreed);
            feeder.addAgreed(pages[i]);
            _trade(tally, feeder, band, terms, cancelled, pages[i].orders);
            positions[i] = tally.records();
        }
        if (last) _prove(feeder, terms, lines);
        else newState = feeder.pack();
    }

    /// @dev Who takes part.
    function _band(Terms calldata terms) internal pure virtual returns (Band memory);

    /// @dev The price of a zone, given the ends of the interval its marginal limit lies in.
    function _price(Terms calldata terms, uint256 low, uint256 high) internal pure virtual returns (uint256);

    /// @dev Takes the orders of a bucket: what the cuts of their zones let them trade, and how that bounds the zones' prices.
    function _trade(
        Tally memory tally,
        Zones.Feeder memory feeder,
        Band memory band,
        Terms calldata terms,
        bytes calldata cancelled,
        bytes calldata orders
    ) private pure {
        (uint256 feeCap, uint256 priceCap) = (terms.feeCap, terms.priceCap);
        unchecked {
            for (uint256 offset; offset < orders.length;) {
                uint256 end = offset + Pages.COUNT + Pages.RECORD * Pages.countAt(orders, offset);
                for (offset += Pages.COUNT; offset < end; offset += Pages.RECORD) {
                    OrderRecord order = Pages.recordAt(orders, offset);
                    if (cancelled.length != 0) {
                        if (Pages.isCancelled(cancelled, order.seq())) continue;
                    }
                    uint256 limit = order.limit();
                    (uint256 lockNyuan, uint256 traded) = (order.energyWh(), 0);
                    if (order.buys()) {
                        lockNyuan *= limit + feeCap;
                        if (limit >= band.bidLow && limit <= band.bidHigh) traded = feeder.bid(order);
                    } else {
                        lockNyuan *= priceCap;
                        if (limit >= band.askLow && limit <= band.askHigh) traded = feeder.ask(order);
                    }
                    tally.addOrder(order.index(), order.options(), lockNyuan, traded);
                }
            }
        }
    }

    /// @dev Requires that the lines hold, that nothing better was possible, and that the prices are right.
    function _prove(Zones.Feeder memory feeder, Terms calldata terms, bytes calldata lines) private pure {
        feeder.checkFlows(lines);
        feeder.checkRanks();
        for (uint256 i; i < feeder.zones.length; ++i) {
            Zone memory zone = feeder.zones[i];
            uint256 price = _price(terms, Zones.limitOf(zone.low), Zones.limitOf(zone.high));
            if (zone.price != price) revert WrongPrice(i, price);
        }
    }
}
