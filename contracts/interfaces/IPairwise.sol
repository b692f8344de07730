// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRule} from "./IRule.sol";

/// @title Hao's least-gap matching (Eq. 2): a verifier that streams
/// @notice Replays the matching over given lists and proves by products modulo a prime that the lists are the book's
/// (docs/clearing.md section 6; docs/adr has why that is enough).
///
/// The claim is `pages 32 | merge 32 | pairs 32`, then per line that may bind, ascending: line 2 | up 8 | down 8, what the
/// agreements leave of its headroom, Wh. The first three commit to what is fed, each `h' = keccak256(h ++ keccak256(block))`
/// from 0; a page's block is `bucket 32 | keccak256(orders) | keccak256(trades)`; pages without orders have none.
///
/// The feed is a sequence of blocks `kind 1 | length 3 | bytes`, one of trades for each page with orders of the call first:
///
///     0 trades  per eligible order of the page: traded_wh 5, amount_nyuan 9 of the replay without lines;
///               and if the claim names lines, what they cut off: cut_wh 5, cut_nyuan 9
///     1 merge   entries of 15 bytes in merge order: limit 4, buys 1, place 3, energy_wh 5, bus 2
///     2 pairs   of 23 bytes by (gap, ask, bid), only those that cross a named line: gap 4, ask seq 3, bid seq 3,
///               matched_wh 5, seller's zone 2, buyer's zone 2, price 4
///
/// The named lines cut the feeder into zones; zone 0 has the root, zone i lies below the i-th named line. Pages, merge and
/// pairs may come in any interleaving over any number of calls.
interface IPairwise is IRule {
    /// @notice The claim's length fits no number of lines.
    error ClaimBroken(uint256 length);
    /// @notice The claim's lines do not ascend, or the feeder has none of this number.
    error LinesUnordered(uint256 line);
    /// @notice The state belongs to another claim or other terms.
    error StateOfAnother();
    /// @notice At this offset the feed has no block, or none of a kind that may come here, or one of a broken length.
    error FeedBroken(uint256 offset);
    /// @notice The trades of a page have another length than its eligible orders need, bytes.
    error TradesBroken(uint32 bucket, uint256 length, uint256 needed);
    /// @notice What was fed is not what the claim commits to.
    /// @param list 0 the pages with their trades, 1 the merge order, 2 the pairs.
    error FeedDiffers(uint8 list);
    /// @notice The order is merged too late, or twice.
    error MergedLate(uint256 seq);
    /// @notice The order's bus is not on the feeder.
    error OffFeeder(uint256 seq, uint256 bus);
    /// @notice The pair comes too late, or twice.
    error PairLate(uint256 askSeq, uint256 bidSeq);
    /// @notice The pair is in a zone that the claim does not have.
    error NoZone(uint256 askSeq, uint256 bidSeq);
    /// @notice More of the order is said to be cut off than it traded.
    error Overcut(uint256 seq);
    /// @notice The merged orders with what they trade are not the eligible orders of the book with the trades given: an
    /// order is missing, misstated or out of place, or trades otherwise.
    error OrdersDiffer();
    /// @notice The pairs given are not those that the replay makes across the claim's lines, or misstate one.
    error PairsDiffer();
    /// @notice What lines cut off the pairs is not what the pages say is cut off their orders.
    error CutsDiffer();
    /// @notice The claim misstates what agreements leave of a line's headroom.
    /// @param upWh What they leave towards the root, Wh.
    /// @param downWh What they leave away from it, Wh.
    error HeadroomDiffers(uint256 line, uint256 upWh, uint256 downWh);
    /// @notice The line may bind, but the claim does not name it.
    error LineMayBind(uint256 line);
}
