// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRule} from "./IRule.sol";

/// @title A rule under which everybody in a zone trades at one price
/// @notice Of the book, each zone accepts the best bids and the best asks up to a cut; the claim names the cuts and the prices,
/// and the check proves that no exchange of orders the lines allow would be better (docs/clearing.md sections 2 to 5).
/// @dev The claim is 30 bytes per zone, by ascending head, the zone's lowest bus: head 2, price 4, bid cut 12, ask cut 12.
/// A cut is the worst accepted order of the side: limit 4, seq 3, part_wh 5, what it trades; all zero if none is accepted.
/// A bus that heads no zone is in its parent's. There is no feed. A zone is named by its place in the claim.
interface IPool is IRule {
    /// @notice A claim is a whole number of zones, at least one.
    error ClaimBroken(uint256 length);
    /// @notice These rules take no feed.
    error UnexpectedFeed(uint256 length);
    /// @notice The zones' heads must ascend from bus 0 and be on the feeder.
    error ZonesUnordered(uint256 zone);
    /// @notice A cut is no eligible order of the zone's side with this limit, or takes more than the order has.
    error CutMisstated(uint256 zone, uint256 seq);
    /// @notice The flow, Wh towards the root, is beyond what agreements leave of the line's headroom.
    error LineOverloaded(uint256 line, int256 flowWh, int256 limitWh);
    /// @notice More is sold than bought, or less.
    error Unbalanced(int256 surplusWh);
    /// @notice The line of the bus binds and yet the bus is in its parent's zone, or does not and heads one.
    error WrongZone(uint256 bus, uint256 zone);
    /// @notice Of these two orders one trades, or does so in part, in the other's stead, or both should trade more or less.
    error Outranked(uint256 lowSeq, uint256 highSeq);
    /// @notice The zone's price is `price`, micro-yuan per kWh.
    error WrongPrice(uint256 zone, uint256 price);
}
