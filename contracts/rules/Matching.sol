// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPairwise} from "../interfaces/IPairwise.sol";
import {Entry, EntryFields} from "../types/Entry.sol";
import {Roots} from "../libraries/Roots.sol";
import {Wires, Wiring} from "./Wires.sol";

/// What one call of `pairwise` hands to the next; in the state, bus sums, rooms and open asks follow these words.
/// @param challenge r, fixed by everything that is claimed.
/// @param pages Hash of the pages fed so far.
/// @param merge Hash of the merge order fed so far.
/// @param pairs Hash of the pairs fed so far.
/// @param ordersInBook Product of (r + entry) over the book's eligible orders with the trades claimed.
/// @param ordersMatched The same over the orders that the replay is done with.
/// @param pairsMatched Product of (r + pair) over the pairs of the replay that cross a line.
/// @param pairsGiven The same over the pairs fed.
/// @param cuts Random linear combination of the cuts claimed less that of the cuts made.
/// @param lastEntry The last entry merged.
/// @param lastPair The last pair fed.
struct Run {
    uint256 challenge;
    bytes32 pages;
    bytes32 merge;
    bytes32 pairs;
    uint256 ordersInBook;
    uint256 ordersMatched;
    uint256 pairsMatched;
    uint256 pairsGiven;
    uint256 cuts;
    uint256 lastEntry;
    uint256 lastPair;
}

/// The asks that bids may still take, the best on top, as words of memory.
/// @param bottom Where the first one is.
/// @param top Behind the last one.
struct Asks {
    uint256 bottom;
    uint256 top;
}

/// @notice Replays the matching and multiplies what it meets into products modulo a prime (docs/clearing.md section 6).
library Matching {
    using Wires for Wiring;

    /// The largest prime below 2^256. A challenge is below 2^255 and what is added to it below 2^232.
    uint256 internal constant PRIME = type(uint256).max - 188;
    /// Bytes of a pair.
    uint256 internal constant PAIR_BYTES = 23;

    /// @notice Merges a block of entries: asks are pushed, bids take from the top.
    /// @dev The memory from `asks.top` on must belong to the stack, for as many words as there are entries.
    function merge(Run memory run, Wiring memory wiring, Asks memory asks, bytes calldata list) internal pure {
        run.merge = Roots.extend(run.merge, hashOf(list, asks.top));
        uint256 r = run.challenge;
        uint256 last = run.lastEntry;
        uint256 top = asks.top;
        uint256 product = run.ordersMatched;
        unchecked {
            for (uint256 offset; offset < list.length; offset += EntryFields.BYTES) {
                Entry e = EntryFields.read(list, offset);
                if (Entry.unwrap(e) <= last) revert IPairwise.MergedLate(e.seq());
                last = Entry.unwrap(e);
                if (e.buys()) {
                    (e, top, product) = _take(run, wiring, asks.bottom, top, product, e);
                    product = mulmod(product, r + Entry.unwrap(e), PRIME);
                } else {
                    assembly ("memory-safe") {
                        mstore(top, e)
                    }
                    top += 32;
                }
            }
        }
        (run.lastEntry, run.ordersMatched, asks.top) = (last, product, top);
    }

    /// @notice Ends the replay: the asks still open trade no more.
    function close(Run memory run, Asks memory asks) internal pure {
        (uint256 r, uint256 product, uint256 top) = (run.challenge, run.ordersMatched, asks.bottom);
        unchecked {
            for (; top < asks.top; top += 32) {
                product = mulmod(product, r + _load(top), PRIME);
            }
        }
        (run.ordersMatched, asks.top) = (product, asks.bottom);
    }

    /// @notice Lets a block of pairs through as far as the lines have room for.
    /// @param scratch Memory that belongs to the caller, for as many bytes as the list has.
    function fit(Run memory run, Wiring memory wiring, bytes calldata list, uint256 scratch) internal pure {
        run.pairs = Roots.extend(run.pairs, hashOf(list, scratch));
        (uint256 r, uint256 last, uint256 product) = (run.challenge, run.lastPair, run.pairsGiven);
        unchecked {
            for (uint256 offset; offset < list.length; offset += PAIR_BYTES) {
                uint256 pair;
                assembly ("memory-safe") {
                    pair := shr(72, calldataload(add(list.offset, offset)))
                }
                (uint256 ask, uint256 bid) = (uint24(pair >> 128), uint24(pair >> 104));
                if (pair <= last) revert IPairwise.PairLate(ask, bid);
                last = pair;
                product = mulmod(product, r + pair, PRIME);
                (uint256 matchedWh, uint256 from, uint256 to) = (uint40(pair >> 64), uint16(pair >> 48), uint16(pair >> 32));
                if (from > wiring.count) revert IPairwise.NoZone(ask, bid);
                if (to > wiring.count) revert IPairwise.NoZone(ask, bid);
                uint256 cutWh = matchedWh - wiring.pass(from, to, matchedWh);
                if (cutWh == 0) continue;
                uint256 weights = addmod(_weight(r, ask), _weight(r, bid), PRIME);
                // Subtracted, by the negative that is not below zero.
                uint256 cut = mulmod(weights, EntryFields.packTrade(cutWh, uint32(pair)), PRIME);
                run.cuts = addmod(run.cuts, PRIME - cut, PRIME);
            }
        }
        (run.lastPair, run.pairsGiven) = (last, product);
    }

    /// @notice Takes off an order's trades what lines cut off.
    function cutOff(Run memory run, uint256 seq, uint256 trades, uint256 cut) internal pure returns (uint256) {
        if (
            EntryFields.tradedWh(cut) > EntryFields.tradedWh(trades)
                || EntryFields.amountNyuan(cut) > EntryFields.amountNyuan(trades)
        ) revert IPairwise.Overcut(seq);
        run.cuts = addmod(run.cuts, mulmod(_weight(run.challenge, seq), cut, PRIME), PRIME);
        unchecked {
            return trades - cut; // both fields are at least as large
        }
    }

    /// @dev The random weight of an order in the combination of cuts.
    function _weight(uint256 r, uint256 seq) private pure returns (uint256) {
        return uint256(Roots.extend(bytes32(r), bytes32(seq)));
    }

    /// @notice `keccak256` of calldata by way of memory that belongs to the caller.
    function hashOf(bytes calldata data, uint256 scratch) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            calldatacopy(scratch, data.offset, data.length)
            hash := keccak256(scratch, data.length)
        }
    }

    /// @dev Lets a bid take asks from the top until it is filled or none is left; multiplies those it takes whole.
    function _take(Run memory run, Wiring memory wiring, uint256 bottom, uint256 top, uint256 product, Entry bid)
        private
        pure
        returns (Entry, uint256, uint256)
    {
        unchecked {
            uint256 wantedWh = bid.energyWh();
            while (wantedWh != 0 && top != bottom) {
                Entry ask = Entry.wrap(_load(top - 32));
                uint256 openWh = ask.leftWh();
                uint256 wh = openWh < wantedWh ? openWh : wantedWh;
                uint256 price = (ask.limit() + bid.limit()) >> 1; // 33 bits
                if (wiring.count != 0) _cross(run, wiring, ask, bid, wh, price);
                uint256 trades = EntryFields.packTrade(wh, price);
                (ask, bid) = (ask.trade(trades), bid.trade(trades));
                wantedWh -= wh;
                if (wh == openWh) {
                    top -= 32;
                    product = mulmod(product, run.challenge + Entry.unwrap(ask), PRIME);
                } else {
                    assembly ("memory-safe") {
                        mstore(sub(top, 32), ask)
                    }
                }
            }
            return (bid, top, product);
        }
    }

    /// @dev Notes a pair of the replay if a named line is between its ends.
    function _cross(Run memory run, Wiring memory wiring, Entry ask, Entry bid, uint256 wh, uint256 price) private pure {
        (uint256 from, uint256 to) = (wiring.zoneOf(ask), wiring.zoneOf(bid));
        if (from == to) return;
        unchecked {
            // Merged by limit, so the bid's is not below the ask's.
            uint256 pair = ((bid.limit() - ask.limit()) << 152) | (ask.askSeq() << 128) | (bid.bidSeq() << 104) | (wh << 64)
                | (from << 48) | (to << 32) | price;
            run.pairsMatched = mulmod(run.pairsMatched, run.challenge + pair, PRIME);
        }
    }

    function _load(uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(offset)
        }
    }
}
