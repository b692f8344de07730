// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPairwise} from "../interfaces/IPairwise.sol";
import {IRule, MARKET, Page, Terms} from "../interfaces/IRule.sol";
import {Asks, Matching, Run} from "./Matching.sol";
import {OrderRecord, Pages} from "../libraries/Pages.sol";
import {Records} from "../libraries/Records.sol";
import {Roots} from "../libraries/Roots.sol";
import {Tallies, Tally} from "../libraries/Tallies.sol";
import {Wires, Wiring} from "./Wires.sol";
import {Entry, EntryFields} from "../types/Entry.sol";

/// @title Hao's least-gap matching: a verifier that streams
/// @notice Documented in `IPairwise`.
contract Pairwise is IPairwise {
    using Tallies for Tally;
    using Wires for Wiring;

    uint8 private constant TRADES = 0;
    uint8 private constant MERGE = 1;
    uint8 private constant PAIRS = 2;

    /// Bytes of a `Run`, of the claim's hashes, of a block's head and of the trades of an order.
    uint256 private constant RUN = 352;
    uint256 private constant HASHES = 96;
    uint256 private constant HEAD = 4;
    uint256 private constant TRADE = 14;

    /// What one call works with.
    struct Work {
        Run run;
        Wiring wiring;
        Tally tally;
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
        positions = new bytes[](pages.length);
        Work memory w;
        w.tally = Tallies.blank();
        uint256 offset;
        if (terms.mode == MARKET) _resume(w, _challenge(terms, lines, claim, cancelled), lines, claim, state);
        for (uint256 i; i < pages.length; ++i) {
            w.tally.start(pages[i].agreed);
            if (terms.mode != MARKET) {
                Pages.addStanding(w.tally, terms, cancelled, pages[i].orders);
            } else {
                _agreed(w.wiring, pages[i].agreed, pages[i].buses);
                if (pages[i].orders.length != 0) {
                    bytes calldata trades;
                    (trades, offset) = _block(feed, offset, TRADES, 1);
                    _page(w, terms, cancelled, pages[i], trades);
                }
            }
            positions[i] = w.tally.records();
        }
        if (terms.mode != MARKET) return (positions, newState);
        newState = _replay(w, bytes32(claim[32:64]), feed, offset, state);
        if (!last) return (positions, newState);
        _finish(w.run, claim);
        w.wiring.finish(lines, claim[HASHES:]);
        newState = "";
    }

    /// @dev Fixed by all that is claimed and all that it is claimed of: the claim commits to the book's pages, too.
    function _challenge(Terms calldata terms, bytes calldata lines, bytes calldata claim, bytes calldata cancelled)
        private
        pure
        returns (uint256)
    {
        return uint256(keccak256(abi.encode(terms, keccak256(lines), keccak256(claim), keccak256(cancelled)))) >> 1;
    }

    /// @dev Puts the run, the sums of the buses and the rooms of the lines next to each other, as they are in the state.
    function _resume(Work memory w, uint256 challenge, bytes calldata lines, bytes calldata claim, bytes calldata state)
        private
        pure
    {
        if (claim.length < HASHES || (claim.length - HASHES) % Wires.NAMED != 0) revert ClaimBroken(claim.length);
        Wiring memory wiring = w.wiring;
        wiring.count = (claim.length - HASHES) / Wires.NAMED;
        wiring.busCount = lines.length < 2 * Wires.LINE ? 1 : lines.length / Wires.LINE;
        bytes memory head = new bytes(_headBytes(wiring));
        Run memory run;
        assembly ("memory-safe") {
            run := add(head, 0x20)
        }
        w.run = run;
        wiring.buses = _at(head) + RUN;
        wiring.rooms = wiring.buses + 32 * wiring.busCount;
        wiring.divide(lines, claim[HASHES:]);
        if (state.length == 0) {
            run.challenge = challenge;
            (run.ordersInBook, run.ordersMatched, run.pairsMatched, run.pairsGiven) = (1, 1, 1, 1);
            return;
        }
        assembly ("memory-safe") {
            calldatacopy(run, state.offset, mload(head))
        }
        if (run.challenge != challenge) revert StateOfAnother();
    }

    /// @dev Adds the orders of a bucket with their trades to the tally, the sums of the buses and the products.
    function _page(Work memory w, Terms calldata terms, bytes calldata cancelled, Page calldata page, bytes calldata trades)
        private
        pure
    {
        bytes32 hash = keccak256(abi.encode(page.bucket, keccak256(page.orders), keccak256(trades)));
        w.run.pages = Roots.extend(w.run.pages, hash);
        bytes calldata orders = page.orders;
        (uint256 low, uint256 feeCap, uint256 priceCap) = (terms.low, terms.feeCap, terms.priceCap);
        uint256 span = terms.high - low;
        uint256 next;
        unchecked {
            for (uint256 offset; offset < orders.length;) {
                uint256 end = offset + Pages.COUNT + Pages.RECORD * Pages.countAt(orders, offset);
                for (offset += Pages.COUNT; offset < end; offset += Pages.RECORD) {
                    OrderRecord order = Pages.recordAt(orders, offset);
                    if (cancelled.length != 0) {
                        if (Pages.isCancelled(cancelled, order.seq())) continue;
                    }
                    uint256 traded;
                    // What is below the band wraps around and is beyond it, too.
                    if (order.limit() - low <= span) {
                        if (order.energyWh() != 0) (traded, next) = _trade(w, order, trades, next);
                    }
                    w.tally.addOrder(
                        order.index(), order.options(), Pages.lockOf(order, feeCap, priceCap), traded
                    );
                }
            }
        }
        if (next != trades.length) revert TradesBroken(page.bucket, trades.length, next);
    }

    /// @dev Adds what agreements sell and buy to the sums of the buses.
    function _agreed(Wiring memory wiring, bytes calldata agreed, bytes calldata buses) private pure {
        unchecked {
            for (uint256 i; i * Records.POSITION < agreed.length; ++i) {
                uint256 plan = Records.word(agreed, i * Records.POSITION);
                uint256 sums = (uint256(uint40(plan >> 200)) << 64) | uint40(plan >> 160);
                wiring.add(Records.word(buses, 2 * i) >> 240, sums);
            }
        }
    }

    /// @dev Takes the trades of an eligible order; returns what it trades in the end, as a tally adds it, and where the next ones are.
    function _trade(Work memory w, OrderRecord order, bytes calldata list, uint256 offset)
        private
        pure
        returns (uint256 traded, uint256 next)
    {
        (Run memory run, Wiring memory wiring) = (w.run, w.wiring);
        uint256 trades = Records.word(list, offset) >> 144;
        unchecked {
            uint256 bus = order.bus();
            if (bus >= wiring.busCount) bus = 0;
            (uint256 place, uint256 sum) = order.buys()
                ? (EntryFields.placeOfBid(order.seq()), EntryFields.tradedWh(trades) << 128)
                : (EntryFields.placeOfAsk(order.seq()), EntryFields.tradedWh(trades) << 192);
            uint256 entry = Entry.unwrap(EntryFields.ofOrder(order.limit(), place, order.energyWh(), bus));
            run.ordersInBook = mulmod(run.ordersInBook, run.challenge + entry + trades, Matching.PRIME);
            wiring.addOnFeeder(bus, sum);
            next = offset + TRADE;
            if (wiring.count != 0) {
                uint256 cut = Records.word(list, next) >> 144;
                if (cut != 0) trades = Matching.cutOff(run, order.seq(), trades, cut);
                next += TRADE;
            }
            (uint256 wh, uint256 nyuan) = (EntryFields.tradedWh(trades), EntryFields.amountNyuan(trades));
            traded = order.buys() ? Tallies.purchase(wh, nyuan) : Tallies.sale(wh, nyuan);
        }
    }

    /// @dev Replays the blocks of the feed from an offset on; returns what the next call needs.
    function _replay(Work memory w, bytes32 merged, bytes calldata feed, uint256 offset, bytes calldata state)
        private
        pure
        returns (bytes memory newState)
    {
        Run memory run = w.run;
        uint256 head = _headBytes(w.wiring);
        // Room for every ask that the feed may push; a block being hashed never needs more than its entries.
        Asks memory asks;
        assembly ("memory-safe") {
            newState := mload(0x40)
            let from := add(state.offset, head)
            let length := 0
            if gt(state.length, head) { length := sub(state.length, head) }
            mstore(asks, add(add(newState, 0x20), head))
            mstore(add(asks, 0x20), add(mload(asks), length))
            calldatacopy(mload(asks), from, length)
            mstore(0x40, add(mload(add(asks, 0x20)), mul(3, feed.length)))
        }
        while (offset < feed.length) {
            bytes calldata list;
            if (uint8(feed[offset]) == MERGE) {
                (list, offset) = _block(feed, offset, MERGE, EntryFields.BYTES);
                Matching.merge(run, w.wiring, asks, list);
            } else {
                (list, offset) = _block(feed, offset, PAIRS, Matching.PAIR_BYTES);
                Matching.fit(run, w.wiring, list, asks.top);
            }
        }
        if (run.merge == merged) Matching.close(run, asks);
        assembly ("memory-safe") {
            mcopy(add(newState, 0x20), run, head)
            let top := mload(add(asks, 0x20))
            mstore(newState, sub(top, add(newState, 0x20)))
            mstore(0x40, top)
        }
    }

    /// @dev Requires that what was fed is what is claimed, and that what was fed is right.
    function _finish(Run memory run, bytes calldata claim) private pure {
        if (run.pages != bytes32(claim[0:32])) revert FeedDiffers(TRADES);
        if (run.merge != bytes32(claim[32:64])) revert FeedDiffers(MERGE);
        if (run.pairs != bytes32(claim[64:96])) revert FeedDiffers(PAIRS);
        if (run.ordersInBook != run.ordersMatched) revert OrdersDiffer();
        if (run.pairsMatched != run.pairsGiven) revert PairsDiffer();
        if (run.cuts != 0) revert CutsDiffer();
    }

    /// @dev The block at an offset of the feed, and the offset behind it.
    function _block(bytes calldata feed, uint256 offset, uint8 kind, uint256 size)
        private
        pure
        returns (bytes calldata list, uint256 next)
    {
        uint256 word = Records.word(feed, offset);
        uint256 length = uint24(word >> 224);
        next = offset + HEAD + length;
        if (next > feed.length || word >> 248 != kind || length % size != 0) revert FeedBroken(offset);
        list = feed[offset + HEAD:next];
    }

    function _headBytes(Wiring memory wiring) private pure returns (uint256) {
        return RUN + 32 * (wiring.busCount + wiring.count);
    }

    function _at(bytes memory data) private pure returns (uint256 offset) {
        assembly ("memory-safe") {
            offset := add(data, 0x20)
        }
    }
}
