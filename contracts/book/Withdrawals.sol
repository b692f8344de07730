// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IOrders} from "../interfaces/IOrders.sol";
import {Amounts} from "../libraries/Amounts.sol";
import {Entries} from "../libraries/Entries.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {Cancel, Limits} from "../types/Types.sol";
import {Desk} from "./Desk.sol";

/// @title What the book keeps of orders, and how they are taken back
/// @notice Documented in `IOrders`.
abstract contract Withdrawals is IOrders, Desk {
    /// What a node has taken back of a period, or (0) of all.
    struct Withdrawal {
        uint32 leastNonce;
        uint32 cancels;
    }

    bytes32 private constant CANCEL_TYPEHASH =
        keccak256("Cancel(bytes32 market,uint32 node,uint32 period,uint32 leastNonce,uint40 deadline)");

    /// Periods this far apart share storage: those that can be ordered, and those between their gate and their last call.
    uint256 internal constant RING = 128;
    /// Cancelled orders keep their place: with these bounds those of a bucket always fit a transaction of the clearing.
    uint256 private constant MOST_CANCELS = 3;
    /// Where a head counts cancelled records.
    uint256 private constant ONE_CANCELLED = 1 << 32;
    /// Where a record holds its first step's side, energy and limit.
    uint256 private constant SELLS = 1 << 103;

    uint256 internal immutable PRICE_CAP;
    uint256 internal immutable FEE_CAP;

    /// Period 32 | records 32 | cancelled 32 | batches 32; at most 2^24 records, so nothing overflows.
    mapping(uint256 slot => uint256) internal _heads;
    /// By slot 32 | bucket 32: hash 192 | records 32 | period 32. A word of another period counts as empty.
    mapping(uint256 slotAndBucket => uint256) internal _chains;
    /// By slot 32 | batch 32; only there so that a cancel can prove what it cancels.
    mapping(uint256 slotAndBatch => bytes32 hash) internal _batches;
    mapping(uint256 period => mapping(uint256 word => uint256 bits)) private _cancelled;
    mapping(uint256 node => mapping(uint256 period => Withdrawal)) private _withdrawals;
    /// Nodes that have ever set a least nonce: only theirs are looked up.
    mapping(uint256 bucket => uint256 bits) internal _revokers;

    constructor() {
        Limits memory l = PRICES.limits();
        (PRICE_CAP, FEE_CAP) = (l.priceCap, l.feeCap);
    }

    /// @inheritdoc IOrders
    function cancel(Cancel calldata c, bytes calldata signature, uint32 batch, bytes calldata records, uint256 offset)
        external
    {
        if (c.market != MARKET) revert WrongMarket(c.market, MARKET);
        if (block.timestamp > c.deadline) revert Expired(c.deadline, block.timestamp);
        uint256 open = _firstOpenPeriod();
        if (c.period < open) revert GateClosed(c.period, _gate(c.period));
        _checkCancelSigned(c, signature);
        _raise(c.node, c.period, c.leastNonce);

        uint256 head = _heads[c.period % RING];
        if (
            head >> 96 != c.period || batch >= uint32(head)
                || _batches[_key(c.period, batch)] != keccak256(abi.encodePacked(c.node >> 8, records))
        ) revert WrongBatch(c.period, batch);
        (uint256 firstSeq, uint256 count, uint256 lockUyuan) = _orderAt(c.node, records, offset);
        if (++_withdrawals[c.node][c.period].cancels > MOST_CANCELS) revert TooManyCancels(c.node, c.period, MOST_CANCELS);
        _mark(c.period, c.node, firstSeq, count);
        _heads[c.period % RING] = head + count * ONE_CANCELLED;
        // What was locked fits the vault's amounts.
        VAULT.leave(c.period, uint32(open), c.node, uint64(lockUyuan));
        emit Cancelled(c.period, c.node, batch, uint32(firstSeq), c.leastNonce);
    }

    /// @inheritdoc IOrders
    function revoke(uint32 node, uint32 period, uint32 leastNonce) external {
        _checkAccount(node);
        _raise(node, period, leastNonce);
        emit Revoked(node, period, leastNonce);
    }

    /// @inheritdoc IOrders
    function leastNonceOf(uint32 node, uint32 period) public view returns (uint32) {
        uint32 forAll = _withdrawals[node][0].leastNonce;
        uint32 forPeriod = _withdrawals[node][period].leastNonce;
        return forAll > forPeriod ? forAll : forPeriod;
    }

    /// @inheritdoc IOrders
    function chainOf(uint32 period, uint32 bucket) external view returns (bytes24 hash, uint32 records) {
        uint256 chain = _chains[_key(period, bucket)];
        if (uint32(chain) == period) (hash, records) = (bytes24(bytes32(chain)), uint32(chain >> 32));
    }

    /// @inheritdoc IOrders
    function ordersOf(uint32 period) public view returns (uint32 orders, uint32 cancelled) {
        uint256 head = _heads[period % RING];
        if (head >> 96 == period) (orders, cancelled) = (uint32(head >> 64), uint32(head >> 32));
    }

    /// @inheritdoc IOrders
    function cancelledOf(uint32 period) external view returns (bytes memory bitmap) {
        (uint256 records, uint256 cancelled) = ordersOf(period);
        if (cancelled == 0) return "";
        bitmap = new bytes((records + 255) / 256 * 32);
        for (uint256 word; word * 256 < records; ++word) {
            uint256 bits = _cancelled[period][word];
            assembly ("memory-safe") {
                mstore(add(bitmap, mul(0x20, add(word, 1))), bits)
            }
        }
    }

    /// @inheritdoc IOrders
    function cancelDigest(Cancel calldata c) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CANCEL_TYPEHASH, c)));
    }

    /// @dev Whether a node's account stands behind a relayed message: by an approval, its key or its code.
    function _isSigned(bytes32 digest, uint32 node, address account, uint256 begin, uint256 length, uint256 index)
        internal
        view
        returns (bool)
    {
        if (length == 0) return _approved[digest][node];
        if (Signatures.isByKey(account, digest, begin, length)) return true;
        if (account.code.length == 0) return false;
        // With less gas a good signature would be taken for a bad one.
        if (!Signatures.canAsk()) revert BatchOutOfGas(index);
        return Signatures.isByWallet(account, digest, begin, length);
    }

    /// @dev The worst case of a step: a buyer never pays more than its limit, a seller buys everything back at the cap.
    function _lockNyuan(bool sells, uint256 energyWh, uint256 limitUyuanPerKwh) internal view returns (uint256) {
        unchecked {
            return energyWh * (sells ? PRICE_CAP : limitUyuanPerKwh + FEE_CAP); // 40 bits by at most 33
        }
    }

    function _key(uint256 period, uint256 number) internal pure returns (uint256) {
        return (period % RING) << 32 | number;
    }

    function _checkCancelSigned(Cancel calldata c, bytes memory signature) private view {
        address account = REGISTRY.nodeOf(c.node).account;
        if (signature.length == 0 && account == msg.sender) return;
        uint256 begin;
        assembly ("memory-safe") {
            begin := add(signature, 0x20)
        }
        if (!_isSigned(cancelDigest(c), c.node, account, begin, signature.length, 0)) revert NotSigned(c.node, account);
    }

    /// @dev The order that begins at an offset of a batch's records: its first number, its records and its lock.
    function _orderAt(uint32 node, bytes calldata records, uint256 offset)
        private
        view
        returns (uint256 firstSeq, uint256 count, uint256 lockUyuan)
    {
        bytes1 index = bytes1(uint8(node));
        if (
            offset % Entries.RECORD != 0 || offset >= records.length || records[offset] != index
                || (offset != 0 && records[offset - Entries.RECORD] == index)
        ) revert NotFirstRecord(node, offset);
        uint256 lockNyuan;
        for (; offset < records.length && records[offset] == index; offset += Entries.RECORD) {
            uint256 record = uint128(bytes16(records[offset:offset + Entries.RECORD]));
            if (count++ == 0) firstSeq = uint24(record);
            lockNyuan += _lockNyuan(record & SELLS != 0, uint40(record >> 56), uint32(record >> 24));
        }
        lockUyuan = Amounts.up(lockNyuan);
    }

    /// @dev Marks an order's records as cancelled.
    function _mark(uint32 period, uint32 node, uint256 firstSeq, uint256 count) private {
        for (uint256 seq = firstSeq; seq < firstSeq + count; ++seq) {
            uint256 bit = 1 << (255 - (seq & 255));
            uint256 bits = _cancelled[period][seq >> 8];
            if (bits & bit != 0) revert AlreadyCancelled(node, seq);
            _cancelled[period][seq >> 8] = bits | bit;
        }
    }

    /// @dev Raises a node's least nonce for a period, 0 for all.
    function _raise(uint32 node, uint32 period, uint32 leastNonce) private {
        uint32 present = leastNonceOf(node, period);
        if (leastNonce <= present) revert NonceNotRaised(node, leastNonce, present);
        _withdrawals[node][period].leastNonce = leastNonce;
        _revokers[node >> 8] |= 1 << (node & 255);
    }
}
