// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What a check is asked for; `Terms.mode`.

// The book clears by the rule.
uint8 constant MARKET = 0;
// Nothing of the book trades; agreements stand. So they do in a void period, whose settlement annuls them.
uint8 constant STANDING = 1;

/// What a period's clearing depends on besides its book; prices in micro-yuan per kWh.
/// @param mode `MARKET` or `STANDING`.
/// @param low Low end of the band of limits and prices.
/// @param high High end of the band.
/// @param planned P_p.
/// @param priceCap Highest retail price of the market; sellers lock it.
/// @param feeCap Highest network fee of the market; buyers lock it beyond their limit.
struct Terms {
    uint8 mode;
    uint32 low;
    uint32 high;
    uint32 planned;
    uint32 priceCap;
    uint32 feeCap;
}

/// The book of one bucket of 256 nodes.
/// @param bucket Its number.
/// @param orders Its orders batch by batch: number of records (2 bytes), records (16 bytes each).
/// @param agreed 38-byte position records of its agreements.
/// @param buses Bus of the node of each of these records, 2 bytes each.
struct Page {
    uint32 bucket;
    bytes orders;
    bytes agreed;
    bytes buses;
}

/// @title A rule of matching: accepts the one valid clearing of a book
/// @notice Stateless. What is valid under each rule is the subject of docs/clearing.md; the errors are each rule's own.
/// @dev The caller answers for everything but claim and feed: the pages are the book's, complete and in ascending order; the
/// state is what the call before returned for the same terms, lines, claim and bitmap. Formats as in SPEC section 8.
interface IRule {
    /// @notice Checks the next part of a clearing. Reverts as soon as it is sure that the claim is not the valid one.
    /// @param terms What the period's clearing depends on besides its book.
    /// @param lines Per bus from 0 on: parent (2 bytes), headroom up (4) and down (4), Wh of the period; bus 0 all zero. A node
    /// whose bus is not among them counts at bus 0.
    /// @param claim The clearing; empty unless the mode is `MARKET`.
    /// @param feed What the rule needs besides the claim for this part.
    /// @param state What the call before returned, empty in the first.
    /// @param cancelled Bitmap of cancelled seqs from the most significant bit on, empty if none is.
    /// @param pages The next buckets, possibly none.
    /// @param last Whether the last bucket of the period is among them: what is not proved by then is refused.
    /// @return positions Of each bucket, 38-byte records: agreements and trades together, locks of both.
    /// @return newState What the next call needs, empty after the last.
    function check(
        Terms calldata terms,
        bytes calldata lines,
        bytes calldata claim,
        bytes calldata feed,
        bytes calldata state,
        bytes calldata cancelled,
        Page[] calldata pages,
        bool last
    ) external view returns (bytes[] memory positions, bytes memory newState);
}
