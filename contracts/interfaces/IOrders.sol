// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Cancel, Order} from "../types/Types.sol";
import {IDesk} from "./IDesk.sol";

/// @title What members order, until the gate closes
/// @notice Takes orders for coming periods, locks what each can cost at most, and keeps one hash per period and bucket of
/// 256 nodes; the bytes are in the events (SPEC sections 5 and 8). Energies in Wh, limits in micro-yuan per kWh.
/// @dev A signature is EIP-712 over `Order` or `Cancel` by the node's account: 64 (EIP-2098) or 65 bytes by a key, or
/// whatever an account with code accepts (ERC-1271) within 100,000 gas. Empty bytes stand for an approval by the account's
/// own transaction: an earlier `approve`, or the sender's, which does not count in a batch.
///
/// An entry of a batch is packed, big-endian: index in the bucket 1, firstPeriod 4, lastPeriod 4, options 1, nonce 4,
/// deadline 5, number of steps 1, then of each step sells 1, energy 5, limit 4, then length of the signature 2, signature.
/// A record is one accepted step in 16 bytes: index 1, bus 2, flags 1 (bit 7 sells, bits 0-2 options), energy 5, limit 4, seq 3.
interface IOrders is IDesk {
    /// @notice Orders of one bucket were accepted: batch number `batch` of the period. An order's records lie together.
    event OrdersPlaced(uint32 indexed period, uint32 indexed bucket, uint32 batch, bytes records);
    /// @notice An order was withdrawn and its lock released; `firstSeq` is the number of its first record.
    event Cancelled(uint32 indexed period, uint32 indexed node, uint32 batch, uint32 firstSeq, uint32 leastNonce);
    /// @notice A node's signatures with a nonce below `leastNonce` are dead, for a period or (0) for all.
    event Revoked(uint32 indexed node, uint32 indexed period, uint32 leastNonce);

    /// @notice The period is too far ahead; `lastPeriod` is the last one that can be ordered now.
    error TooFarAhead(uint32 period, uint32 lastPeriod);
    /// @notice The order is not for this period.
    error NotForPeriod(uint32 period, uint32 firstPeriod, uint32 lastPeriod);
    /// @notice No such node was admitted.
    error UnknownNode(uint32 node);
    /// @notice An order has 1 to 4 steps.
    error WrongStepCount(uint32 node, uint256 steps);
    /// @notice A step is too small to be worth its place in the book.
    error StepTooSmall(uint32 node, uint256 energyWh, uint256 leastWh);
    /// @notice A step's limit is above the market's price cap.
    error LimitAboveCap(uint32 node, uint256 limitUyuanPerKwh, uint256 capUyuanPerKwh);
    /// @notice A bid of the order could trade with an ask of it; every bid limit must be below every ask limit.
    error CrossesItself(uint32 node, uint256 highestBid, uint256 lowestAsk);
    /// @notice The signature was revoked; the nonce must be at least `leastNonce`.
    error NonceTooLow(uint32 node, uint32 nonce, uint32 leastNonce);
    /// @notice The node has an order in this period already; cancel it first.
    error AlreadyPlaced(uint32 node, uint32 period);
    /// @notice A node in debt cannot order; a deposit repays it.
    error NodeInDebt(uint32 node);
    /// @notice The node's free balance does not cover the order's lock.
    error NotCovered(uint32 node, uint256 lockUyuan);
    /// @notice The bytes of a batch end inside this entry, or an order does not fit an entry.
    error MalformedEntry(uint256 index);
    /// @notice The period cannot take that many steps.
    error BookFull(uint32 period, uint256 steps);
    /// @notice These are not the records of this batch of the period.
    error WrongBatch(uint32 period, uint32 batch);
    /// @notice No order of the node begins at this offset of the records.
    error NotFirstRecord(uint32 node, uint256 offset);
    /// @notice The order is cancelled already.
    error AlreadyCancelled(uint32 node, uint256 seq);
    /// @notice A node cancels at most `most` times in a period, lest cancelled orders crowd its bucket's clearing.
    error TooManyCancels(uint32 node, uint32 period, uint256 most);
    /// @notice A least nonce must rise, so that nobody can use the same cancel twice.
    error NonceNotRaised(uint32 node, uint32 leastNonce, uint32 present);

    /// @notice Places one order in a period and locks its worst case. Reverts if anything about it is wrong.
    /// @param period The period; a standing order enters each of its periods by a call of its own.
    /// @param order The order.
    /// @param signature The signature of the node's account, empty if the account itself sends or has approved.
    function place(uint32 period, Order calldata order, bytes calldata signature) external;

    /// @notice Places orders of the sender's own nodes in one bucket, packed as for a batch but with empty signatures; reverts
    /// where `place` would. The cheapest way to order without a relayer.
    function placeOwn(uint32 period, uint32 bucket, bytes calldata entries) external;

    /// @notice Places orders of one bucket. A bad entry is skipped with the error `place` would revert with, and changes
    /// nothing; what concerns the period or the bytes as a whole, or a lack of gas, reverts.
    function placeBatch(uint32 period, uint32 bucket, bytes calldata entries) external;

    /// @notice Withdraws an order strictly before the gate: frees its lock, and its signature is dead for the period if its
    /// nonce is below the cancel's least one.
    /// @param cancel_ The cancel; its least nonce must be above the present one, so choose the order's nonce plus 1.
    /// @param signature As for `place`.
    /// @param batch The batch that holds the order.
    /// @param records All records of that batch, as `OrdersPlaced` told them.
    /// @param offset Where in `records` the order's first one begins.
    function cancel(
        Cancel calldata cancel_,
        bytes calldata signature,
        uint32 batch,
        bytes calldata records,
        uint256 offset
    ) external;

    /// @notice Makes the caller's signatures with a smaller nonce worthless, for one period or (0) for all.
    function revoke(uint32 node, uint32 period, uint32 leastNonce) external;

    /// @notice Least nonce an order of the node needs for a period.
    function leastNonceOf(uint32 node, uint32 period) external view returns (uint32);

    /// @notice What the orders of a period and bucket come to. Empty if there are none.
    /// @return hash Hash over the batches' records: `bytes24(keccak256(hash before ++ keccak256(records)))` per batch, from 0.
    /// @return records Number of records.
    function chainOf(uint32 period, uint32 bucket) external view returns (bytes24 hash, uint32 records);

    /// @notice How many records a period holds, over all buckets, and how many of them are cancelled.
    function ordersOf(uint32 period) external view returns (uint32 orders, uint32 cancelled);

    /// @notice The cancelled records of a period: bit `seq`, counted from the most significant of byte 0. Empty if none.
    function cancelledOf(uint32 period) external view returns (bytes memory bitmap);

    /// @notice The EIP-712 digest a node signs for an order.
    function orderDigest(Order calldata order) external view returns (bytes32);

    /// @notice The EIP-712 digest a node signs for a cancel.
    function cancelDigest(Cancel calldata cancel_) external view returns (bytes32);
}
