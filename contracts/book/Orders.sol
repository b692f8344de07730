// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IOrders} from "../interfaces/IOrders.sol";
import {
    IRegistry,
    CONSUMER,
    GENERATOR,
    STORAGE,
    BUS_AT,
    ROLE_AT,
    SUSPENDED_AT,
    IMPORT_AT,
    EXPORT_AT
} from "../interfaces/IRegistry.sol";
import {Words} from "../libraries/Words.sol";
import {IVault} from "../interfaces/IVault.sol";
import {Amounts} from "../libraries/Amounts.sol";
import {Entries, Entry} from "../libraries/Entries.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {ALL_OPTIONS} from "../types/Options.sol";
import {Cancel, Limits, Order} from "../types/Types.sol";
import {Desk} from "./Desk.sol";

/// @title What members order, until the gate closes
/// @notice Documented in `IOrders`.
abstract contract Orders is IOrders, Desk {
    /// The book of a period over all buckets.
    struct Head {
        uint256 period;
        uint256 records;
        uint256 cancelled;
        uint256 batches;
    }

    /// What a node has taken back of a period, or (0) of all.
    struct Withdrawals {
        uint32 leastNonce;
        uint32 cancels;
    }

    /// What the checks of a batch's entries have in common.
    struct Batch {
        uint256 period;
        uint256 firstNode;
        bytes32 separator;
        /// Of the bucket; read for a batch only.
        uint256 revokers;
        /// Who sends a single order; zero for a batch.
        address sender;
    }

    bytes32 private constant CANCEL_TYPEHASH =
        keccak256("Cancel(bytes32 market,uint32 node,uint32 period,uint32 leastNonce,uint40 deadline)");

    /// Periods that can be ordered at a time; the vault's window is as long.
    uint256 private constant AHEAD = 96;
    /// Periods this far apart share storage: those that can be ordered, and those between their gate and their last call.
    uint256 private constant RING = 128;
    /// A smaller step would cost the book more than it is worth.
    uint256 private constant LEAST_WH = 10;
    uint256 private constant MOST_STEPS = 4;
    /// Cancelled orders keep their place: with these bounds those of a bucket always fit a transaction of the clearing.
    uint256 private constant MOST_CANCELS = 3;
    /// Bytes of what the vault is told of an order.
    uint256 private constant LOCK = 12;
    /// A record has three bytes for its number.
    uint256 private constant MOST_RECORDS = 1 << 24;
    /// Where a record holds its first step's side, energy and limit.
    uint256 private constant SELLS = 1 << 103;

    uint256 private immutable PRICE_CAP;
    uint256 private immutable FEE_CAP;

    /// Period 32 | records 32 | cancelled 32 | batches 32.
    mapping(uint256 slot => uint256) private _heads;
    /// By slot 32 | bucket 32: hash 192 | records 32 | period 32. A word of another period counts as empty.
    mapping(uint256 slotAndBucket => uint256) private _chains;
    /// By slot 32 | batch 32; only there so that a cancel can prove what it cancels.
    mapping(uint256 slotAndBatch => bytes32 hash) private _batches;
    mapping(uint256 period => mapping(uint256 word => uint256 bits)) private _cancelled;
    mapping(uint256 node => mapping(uint256 period => Withdrawals)) private _withdrawals;
    /// Nodes that have ever set a least nonce: only theirs are looked up.
    mapping(uint256 bucket => uint256 bits) private _revokers;

    constructor() {
        Limits memory l = PRICES.limits();
        (PRICE_CAP, FEE_CAP) = (l.priceCap, l.feeCap);
    }

    /// @inheritdoc IOrders
    function place(uint32 period, Order calldata order, bytes calldata signature) external {
        if (order.market != MARKET) revert WrongMarket(order.market, MARKET);
        _place(period, order.node >> 8, Entries.pack(order, signature), msg.sender);
    }

    /// @inheritdoc IOrders
    function placeBatch(uint32 period, uint32 bucket, bytes calldata entries) external {
        _place(period, bucket, entries, address(0));
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

        Head memory head = _load(c.period);
        if (
            head.period != c.period || batch >= head.batches
                || _batches[_key(c.period, batch)] != keccak256(abi.encodePacked(c.node >> 8, records))
        ) revert WrongBatch(c.period, batch);
        (uint256 firstSeq, uint256 count, uint256 lockUyuan) = _orderAt(c.node, records, offset);
        if (++_withdrawals[c.node][c.period].cancels > MOST_CANCELS) revert TooManyCancels(c.node, c.period, MOST_CANCELS);
        _mark(c.period, c.node, firstSeq, count);
        head.cancelled += count;
        _save(head);
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
        Head memory head = _load(period);
        // Both are stored with 32 bits.
        if (head.period == period) (orders, cancelled) = (uint32(head.records), uint32(head.cancelled));
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
    function orderDigest(Order calldata order) external view returns (bytes32) {
        Entry entry = Entries.split(Entries.pack(order, msg.data[:0]))[0];
        return entry.digest(_domainSeparatorV4(), order.market, order.node);
    }

    /// @inheritdoc IOrders
    function cancelDigest(Cancel calldata c) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CANCEL_TYPEHASH, c)));
    }

    /// @dev Checks packed orders of one bucket, has the vault lock for them, and adds those that passed to the book.
    function _place(uint32 period, uint32 bucket, bytes memory packed, address sender) private {
        if (REGISTRY.paused()) revert OrdersPaused();
        uint256 open = _firstOpenPeriod();
        if (period < open) revert GateClosed(period, _gate(period));
        if (period >= open + AHEAD) revert TooFarAhead(period, uint32(open + AHEAD - 1)); // periods fit 32 bits
        Head memory head = _headOf(period);
        Batch memory b = Batch(period, uint256(bucket) << 8, _domainSeparatorV4(), 0, sender);
        if (sender == address(0)) b.revokers = _revokers[bucket];
        Entry[] memory entries = Entries.split(packed);
        uint256[] memory infos = _infosOf(b, entries);

        bytes memory outcomes = VAULT.enter(period, uint32(open), _check(b, entries, infos));
        bytes memory records = _records(b, entries, infos, outcomes, head.records);
        if (records.length != 0) _commit(head, bucket, records);
    }

    /// @dev The period's head, a fresh one if the period is the first to use it since another one did.
    function _headOf(uint32 period) private view returns (Head memory head) {
        head = _load(period);
        // An unused head reads as that of period 0, which belongs to no market.
        if (head.period == period && period != 0) return head;
        if (period < MASTER.firstPeriod()) revert BeforeMarket(period, MASTER.firstPeriod());
        uint32 tenant = uint32(head.period); // stored with 32 bits
        if (tenant != 0 && !MASTER.isCleared(tenant)) revert PeriodUncleared(tenant);
        return Head(period, 0, 0, 0);
    }

    /// @dev The registry's words of the entries' nodes.
    function _infosOf(Batch memory b, Entry[] memory entries) private view returns (uint256[] memory infos) {
        uint256 firstNode = b.firstNode;
        address registry = address(REGISTRY);
        bytes4 selector = IRegistry.infoOf.selector;
        // The answer is written over the question, and used where it lies.
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := shl(5, mload(entries))
            mstore(free, selector)
            mstore(add(free, 0x04), 0x20)
            mstore(add(free, 0x24), mload(entries))
            let to := add(free, 0x44)
            let from := add(entries, 0x20)
            for { let end := add(from, size) } lt(from, end) { from := add(from, 0x20) } {
                mstore(to, or(firstNode, byte(0, mload(mload(from)))))
                to := add(to, 0x20)
            }
            if iszero(staticcall(gas(), registry, free, add(0x44, size), free, add(0x40, size))) { revert(0, 0) }
            infos := add(free, 0x20)
            mstore(0x40, add(free, add(0x60, size)))
        }
    }

    /// @dev Refuses bad entries and strikes them out of `entries`. Returns what the vault is to lock for the others.
    function _check(Batch memory b, Entry[] memory entries, uint256[] memory infos)
        private
        returns (bytes memory locks)
    {
        unchecked {
            uint256 count = entries.length;
            locks = new bytes(count * LOCK + 20); // each write spills 20 bytes
            uint256 end;
            assembly ("memory-safe") {
                end := add(locks, 0x20)
            }
            for (uint256 i; i < count; ++i) {
                Entry e = Words.entry(entries, i);
                (bytes memory reason, uint256 lockUyuan) = _checkOrder(b, i, e, Words.get(infos, i));
                if (reason.length != 0) {
                    _refuse(b, i, reason);
                    entries[i] = Entries.NONE;
                    continue;
                }
                uint256 node = b.firstNode | e.index();
                assembly ("memory-safe") {
                    mstore(end, or(shl(224, node), shl(160, lockUyuan)))
                    end := add(end, LOCK)
                }
            }
            assembly ("memory-safe") {
                mstore(locks, sub(end, add(locks, 0x20))) // only ever shortens it
            }
        }
    }

    /// @dev Writes the records of the orders that the vault let in and refuses the others.
    function _records(
        Batch memory b,
        Entry[] memory entries,
        uint256[] memory infos,
        bytes memory outcomes,
        uint256 seq
    ) private returns (bytes memory records) {
        unchecked {
            uint256 count = entries.length;
            records = new bytes((count * MOST_STEPS + 1) * Entries.RECORD); // the last one spills
            uint256 end;
            assembly ("memory-safe") {
                end := add(records, 0x20)
            }
            uint256 first = end;
            uint256 checked;
            for (uint256 i; i < count; ++i) {
                Entry e = Words.entry(entries, i);
                if (Entry.unwrap(e) == 0) continue;
                uint256 outcome = Words.octet(outcomes, checked++);
                if (outcome == uint256(IVault.Outcome.Entered)) {
                    uint256 bus = uint16(Words.get(infos, i) >> BUS_AT);
                    end = e.write(end, bus, seq + (end - first) / Entries.RECORD);
                } else {
                    _refuse(b, i, _reasonOf(b, e, IVault.Outcome(outcome)));
                }
            }
            assembly ("memory-safe") {
                mstore(records, sub(end, first)) // only ever shortens it
            }
        }
    }

    /// @dev Adds a batch's records to the book.
    function _commit(Head memory head, uint32 bucket, bytes memory records) private {
        unchecked {
            uint256 count = records.length / Entries.RECORD;
            if (head.records + count > MOST_RECORDS) revert BookFull(uint32(head.period), count); // stored with 32 bits
            bytes32 batchHash;
            bytes32 recordsHash;
            assembly ("memory-safe") {
                let length := mload(records)
                mstore(records, bucket)
                batchHash := keccak256(add(records, 0x1c), add(length, 4))
                mstore(records, length)
                recordsHash := keccak256(add(records, 0x20), length)
            }
            _batches[_key(head.period, head.batches)] = batchHash;
            uint256 key = _key(head.period, bucket);
            uint256 chain = _chains[key];
            if (uint32(chain) != head.period) chain = head.period;
            assembly ("memory-safe") {
                mstore(0, chain)
                mstore(0x18, recordsHash)
                let counts := and(chain, 0xffffffffffffffff)
                chain := or(and(keccak256(0, 0x38), not(0xffffffffffffffff)), add(counts, shl(32, count)))
            }
            _chains[key] = chain;
            emit OrdersPlaced(uint32(head.period), bucket, uint32(head.batches), records); // stored with 32 bits
            head.records += count;
            ++head.batches; // no more than records
            _save(head);
        }
    }

    function _load(uint256 period) private view returns (Head memory) {
        uint256 word = _heads[period % RING];
        return Head(uint32(word >> 96), uint32(word >> 64), uint32(word >> 32), uint32(word));
    }

    /// @dev Nothing in a head exceeds 32 bits: there are at most 2^24 records.
    function _save(Head memory head) private {
        _heads[head.period % RING] = (head.period << 96) | (head.records << 64) | (head.cancelled << 32) | head.batches;
    }

    function _key(uint256 period, uint256 number) private pure returns (uint256) {
        return (period % RING) << 32 | number;
    }

    /// @dev The encoded error of what is wrong with an order before its money is looked at, empty if nothing; and its lock.
    function _checkOrder(Batch memory b, uint256 i, Entry e, uint256 info)
        private
        view
        returns (bytes memory reason, uint256 lockUyuan)
    {
        uint32 node = uint32(b.firstNode | e.index()); // ids fit 32 bits
        if (b.period < e.firstPeriod() || b.period > e.lastPeriod()) {
            return (_error(NotForPeriod.selector, b.period, e.firstPeriod(), e.lastPeriod()), 0);
        }
        if (block.timestamp > e.deadline()) return (_error(Expired.selector, e.deadline(), block.timestamp), 0);
        if (info == 0) return (_error(UnknownNode.selector, node), 0);
        if (uint8(info >> SUSPENDED_AT) != 0) return (_error(NodeSuspended.selector, node), 0);
        if (e.options() & ~uint256(ALL_OPTIONS) != 0) return (_error(UnknownOptions.selector, e.options()), 0);
        (reason, lockUyuan) = _checkSteps(e, node, info);
        if (reason.length == 0) reason = _checkWord(b, i, e, node, address(uint160(info)));
    }

    /// @dev What is wrong with an order's steps, and what they lock.
    function _checkSteps(Entry e, uint32 node, uint256 info)
        private
        view
        returns (bytes memory reason, uint256 lockUyuan)
    {
        unchecked {
            uint256 count = e.steps();
            if (count == 0 || count > MOST_STEPS) return (_error(WrongStepCount.selector, node, count), 0);
            (uint256 soldWh, uint256 boughtWh, uint256 lockNyuan) = (0, 0, 0);
            (uint256 lowestAsk, uint256 bidEnd) = (type(uint256).max, 0);
            for (uint256 k; k < count; ++k) {
                (bool sells, uint256 energyWh, uint256 limit) = e.step(k);
                if (energyWh < LEAST_WH) return (_error(StepTooSmall.selector, node, energyWh, LEAST_WH), 0);
                if (limit > PRICE_CAP) return (_error(LimitAboveCap.selector, node, limit, PRICE_CAP), 0);
                lockNyuan += _lockNyuan(sells, energyWh, limit);
                if (sells) {
                    soldWh += energyWh;
                    if (limit < lowestAsk) lowestAsk = limit;
                } else {
                    boughtWh += energyWh;
                    if (limit >= bidEnd) bidEnd = limit + 1;
                }
            }
            if (bidEnd > lowestAsk) return (_error(CrossesItself.selector, node, bidEnd - 1, lowestAsk), 0);
            uint256 role = uint8(info >> ROLE_AT);
            bool barred = (soldWh != 0 && role & (GENERATOR | STORAGE) == 0)
                || (boughtWh != 0 && role & (CONSUMER | STORAGE) == 0);
            if (barred) return (_error(RoleForbids.selector, node, role), 0);
            (uint256 most, uint256 mostBought) = (uint32(info >> EXPORT_AT), uint32(info >> IMPORT_AT));
            if (soldWh > most) return (_error(OverCapacity.selector, node, soldWh, most), 0);
            if (boughtWh > mostBought) return (_error(OverCapacity.selector, node, boughtWh, mostBought), 0);
            lockUyuan = Amounts.up(lockNyuan);
        }
    }

    /// @dev What is wrong with an order's signature or nonce.
    function _checkWord(Batch memory b, uint256 i, Entry e, uint32 node, address account)
        private
        view
        returns (bytes memory reason)
    {
        (uint256 begin, uint256 length) = e.signature();
        // What the account sends itself is meant now, so it needs neither signature nor nonce.
        if (length == 0 && account == b.sender) return "";
        if (!_isSigned(e.digest(b.separator, MARKET, node), node, account, begin, length, i)) {
            return _error(NotSigned.selector, node, uint160(account));
        }
        uint256 revokers = b.sender == address(0) ? b.revokers : _revokers[node >> 8];
        if (revokers & (1 << e.index()) == 0) return "";
        uint256 least = leastNonceOf(node, uint32(b.period));
        if (e.nonce() < least) return _error(NonceTooLow.selector, node, e.nonce(), least);
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

    /// @dev Whether a node's account stands behind a relayed message: by an approval, its key or its code.
    function _isSigned(bytes32 digest, uint32 node, address account, uint256 begin, uint256 length, uint256 index)
        private
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

    /// @dev Reverts an order placed by itself, leaves one out of a batch.
    function _refuse(Batch memory b, uint256 i, bytes memory reason) private {
        if (b.sender == address(0)) return _skip(i, reason);
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }

    function _reasonOf(Batch memory b, Entry e, IVault.Outcome outcome) private view returns (bytes memory) {
        uint32 node = uint32(b.firstNode | e.index()); // ids fit 32 bits
        if (outcome == IVault.Outcome.AlreadyLive) return _error(AlreadyPlaced.selector, node, b.period);
        if (outcome == IVault.Outcome.InDebt) return _error(NodeInDebt.selector, node);
        uint256 lockNyuan;
        for (uint256 k; k < e.steps(); ++k) {
            (bool sells, uint256 energyWh, uint256 limit) = e.step(k);
            lockNyuan += _lockNyuan(sells, energyWh, limit);
        }
        return _error(NotCovered.selector, node, Amounts.up(lockNyuan));
    }

    /// @dev The worst case of a step: a buyer never pays more than its limit, a seller buys everything back at the cap.
    function _lockNyuan(bool sells, uint256 energyWh, uint256 limitUyuanPerKwh) private view returns (uint256) {
        unchecked {
            return energyWh * (sells ? PRICE_CAP : limitUyuanPerKwh + FEE_CAP); // 40 bits by at most 33
        }
    }

    function _error(bytes4 selector, uint256 a) private pure returns (bytes memory) {
        return _error(selector, 1, a, 0, 0);
    }

    function _error(bytes4 selector, uint256 a, uint256 b) private pure returns (bytes memory) {
        return _error(selector, 2, a, b, 0);
    }

    function _error(bytes4 selector, uint256 a, uint256 b, uint256 c) private pure returns (bytes memory) {
        return _error(selector, 3, a, b, c);
    }

    /// @dev The encoded error of up to three values. One function, because every copy of the encoder is code.
    function _error(bytes4 selector, uint256 values, uint256 a, uint256 b, uint256 c)
        private
        pure
        returns (bytes memory reason)
    {
        assembly ("memory-safe") {
            reason := mload(0x40)
            mstore(0x40, add(reason, 0xa0))
            mstore(reason, add(4, shl(5, values)))
            mstore(add(reason, 0x20), selector)
            mstore(add(reason, 0x24), a)
            mstore(add(reason, 0x44), b)
            mstore(add(reason, 0x64), c)
        }
    }
}
