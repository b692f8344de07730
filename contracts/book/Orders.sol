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
import {IVault} from "../interfaces/IVault.sol";
import {Amounts} from "../libraries/Amounts.sol";
import {Entries, Entry} from "../libraries/Entries.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {ALL_OPTIONS} from "../types/Options.sol";
import {Order} from "../types/Types.sol";
import {Withdrawals} from "./Withdrawals.sol";

/// @title What members order, until the gate closes
/// @notice Documented in `IOrders`.
abstract contract Orders is Withdrawals {
    /// What the checks of a batch's entries have in common.
    struct Batch {
        uint256 period;
        uint256 firstNode;
        /// Of the bucket; read for a batch only.
        uint256 revokers;
        /// Who sends a single order; zero for a batch.
        address sender;
        /// See `Entries.form`; zero until a digest is needed, which for a batch is at once.
        uint256 form;
    }

    /// Periods that can be ordered at a time; the vault's window is as long.
    uint256 private constant AHEAD = 96;
    /// A smaller step would cost the book more than it is worth.
    uint256 private constant LEAST_WH = 10;
    uint256 private constant MOST_STEPS = 4;
    /// Marks the address of an entry whose record stands in place of its node's word.
    uint256 private constant PLAIN = 1 << 255;
    /// Bytes of what the vault is told of an order.
    uint256 private constant LOCK = 12;
    /// A record has three bytes for its number.
    uint256 private constant MOST_RECORDS = 1 << 24;
    /// Where a head counts records and batches.
    uint256 private constant ONE_RECORD = 1 << 64;
    uint256 private constant ONE_BATCH = 1;

    /// @inheritdoc IOrders
    function place(uint32 period, Order calldata order, bytes calldata signature) external {
        if (order.market != MARKET) revert WrongMarket(order.market, MARKET);
        _place(period, order.node >> 8, Entries.pack(order, signature), msg.sender);
    }

    /// @inheritdoc IOrders
    function placeOwn(uint32 period, uint32 bucket, bytes calldata entries) external {
        _place(period, bucket, entries, msg.sender);
    }

    /// @inheritdoc IOrders
    function placeBatch(uint32 period, uint32 bucket, bytes calldata entries) external {
        _place(period, bucket, entries, address(0));
    }

    /// @inheritdoc IOrders
    function orderDigest(Order calldata order) external view returns (bytes32) {
        Entry entry = Entries.split(Entries.pack(order, msg.data[:0]))[0];
        return entry.digest(Entries.form(_domainSeparatorV4(), order.market), order.node);
    }

    /// @dev Checks packed orders of one bucket, has the vault lock for them, and adds those that passed to the book.
    function _place(uint32 period, uint32 bucket, bytes memory packed, address sender) private {
        uint256 open = _firstOpenPeriod();
        if (period < open) revert GateClosed(period, _gate(period));
        if (period >= open + AHEAD) revert TooFarAhead(period, uint32(open + AHEAD - 1)); // periods fit 32 bits
        uint256 head = _headOf(period);
        Entry[] memory entries = Entries.split(packed);
        Batch memory b = Batch(period, uint256(bucket) << 8, 0, sender, 0);
        if (sender == address(0)) {
            b.revokers = _revokers[bucket];
            b.form = Entries.form(_domainSeparatorV4(), MARKET);
        }
        uint256[] memory infos = _infosOf(b.firstNode, entries);
        uint256 outcomes = _enter(b, open, entries, infos);
        _record(b, head, entries, infos, outcomes);
    }

    /// @dev The period's head, a fresh one if the period is the first to use it since another one did.
    function _headOf(uint32 period) private view returns (uint256 head) {
        head = _heads[period % RING];
        uint32 tenant = uint32(head >> 96);
        // An unused head reads as that of period 0, which belongs to no market.
        if (tenant == period && period != 0) return head;
        if (period < MASTER.firstPeriod()) revert BeforeMarket(period, MASTER.firstPeriod());
        if (tenant != 0 && !MASTER.isCleared(tenant)) revert PeriodUncleared(tenant);
        return uint256(period) << 96;
    }

    /// @dev The registry's words of the entries' nodes.
    function _infosOf(uint256 firstNode, Entry[] memory entries) private view returns (uint256[] memory infos) {
        address registry = address(REGISTRY);
        bytes4 selector = IRegistry.infoOf.selector;
        uint256 paused;
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
            if iszero(staticcall(gas(), registry, free, add(0x44, size), free, add(0x60, size))) { revert(0, 0) }
            paused := mload(add(free, 0x20))
            infos := add(free, 0x40)
            mstore(0x40, add(free, add(0x60, size)))
        }
        if (paused != 0) revert OrdersPaused();
    }

    /// @dev Refuses bad entries, strikes them out of `entries`, and has the vault lock for the others.
    /// @return outcomes Where in memory the vault's outcomes of the others lie, one byte each.
    function _enter(Batch memory b, uint256 open, Entry[] memory entries, uint256[] memory infos)
        private
        returns (uint256 outcomes)
    {
        unchecked {
            uint256 cursor;
            uint256 end;
            uint256 to;
            // The call is put together where it is made; each write of a lock spills 20 bytes.
            assembly ("memory-safe") {
                let count := mload(entries)
                cursor := add(entries, 0x20)
                end := add(cursor, shl(5, count))
                outcomes := mload(0x40)
                to := add(outcomes, 0x84)
                mstore(0x40, and(add(add(to, mul(count, LOCK)), 0x3f), not(0x1f)))
            }
            for (; cursor < end; cursor += 0x20) {
                Entry e;
                uint256 info;
                assembly ("memory-safe") {
                    e := mload(cursor)
                    info := mload(add(infos, sub(cursor, entries)))
                }
                (uint256 lockNyuan, uint256 record) = _recordIfPlain(b, e, info);
                if (lockNyuan != 0) {
                    // Its record is all that is still needed of it, and its place in case the vault refuses.
                    assembly ("memory-safe") {
                        mstore(cursor, or(e, PLAIN))
                        mstore(add(infos, sub(cursor, entries)), record)
                    }
                } else {
                    uint256 i = entries.length - ((end - cursor) >> 5);
                    bytes memory reason;
                    (reason, lockNyuan) = _checkOrder(b, i, e, info);
                    if (reason.length != 0) {
                        _refuse(b, i, reason);
                        assembly ("memory-safe") {
                            mstore(cursor, 0)
                        }
                        continue;
                    }
                }
                assembly ("memory-safe") {
                    let node := or(mload(add(b, 0x20)), byte(0, mload(e)))
                    // Rounded up; NYUAN_PER_UYUAN is the divisor.
                    mstore(to, or(shl(224, node), shl(160, div(add(lockNyuan, 999), 1000))))
                    to := add(to, LOCK)
                }
            }
            uint256 period = b.period;
            address vault = address(VAULT);
            bytes4 selector = IVault.enter.selector;
            // The answer, never longer, is written over the question, and used where it lies.
            assembly ("memory-safe") {
                let question := outcomes
                mstore(question, selector)
                mstore(add(question, 0x04), period)
                mstore(add(question, 0x24), open)
                mstore(add(question, 0x44), 0x60)
                mstore(add(question, 0x64), sub(to, add(question, 0x84)))
                if iszero(call(gas(), vault, 0, question, sub(to, question), question, sub(to, question))) {
                    returndatacopy(question, 0, returndatasize())
                    revert(question, returndatasize())
                }
                outcomes := add(question, 0x40)
            }
        }
    }

    /// @dev Writes the records of the orders that the vault let in, refuses the others, and adds the records to the book.
    function _record(Batch memory b, uint256 head, Entry[] memory entries, uint256[] memory infos, uint256 outcomes)
        private
    {
        unchecked {
            uint256 cursor;
            uint256 last;
            uint256 first;
            // The event is put together where it is told: batch, offset, length, records; the last record spills.
            assembly ("memory-safe") {
                let count := mload(entries)
                cursor := add(entries, 0x20)
                last := add(cursor, shl(5, count))
                first := add(mload(0x40), 0x60)
                mstore(0x40, add(first, mul(add(mul(count, MOST_STEPS), 2), 16)))
            }
            uint256 end = first;
            uint256 seq = uint32(head >> 64);
            for (; cursor < last; cursor += 0x20) {
                Entry e;
                uint256 info;
                assembly ("memory-safe") {
                    e := mload(cursor)
                    info := mload(add(infos, sub(cursor, entries)))
                }
                if (Entry.unwrap(e) == 0) continue;
                uint256 outcome;
                assembly ("memory-safe") {
                    outcome := byte(0, mload(outcomes))
                    outcomes := add(outcomes, 1)
                }
                bool plain = Entry.unwrap(e) >= PLAIN;
                if (plain) e = Entry.wrap(Entry.unwrap(e) ^ PLAIN);
                if (outcome == uint256(IVault.Outcome.Entered)) {
                    if (plain) {
                        assembly ("memory-safe") {
                            mstore(end, or(info, shl(128, add(seq, shr(4, sub(end, first))))))
                            end := add(end, 16)
                        }
                        continue;
                    }
                    end = e.write(end, uint16(info >> BUS_AT), seq + (end - first) / Entries.RECORD);
                } else {
                    _refuse(b, entries.length - ((last - cursor) >> 5), _reasonOf(b, e, IVault.Outcome(outcome)));
                }
            }
            if (end != first) _commit(head, b.firstNode >> 8, first, end - first);
        }
    }

    /// @dev Adds a batch's records to the book, given by their place and length in memory, with three words before them.
    function _commit(uint256 head, uint256 bucket, uint256 records, uint256 length) private {
        unchecked {
            uint256 period = head >> 96;
            uint256 count = length / Entries.RECORD;
            // Periods are stored with 32 bits.
            if (uint32(head >> 64) + count > MOST_RECORDS) revert BookFull(uint32(period), count);
            bytes32 batchHash;
            bytes32 recordsHash;
            assembly ("memory-safe") {
                mstore(sub(records, 0x20), bucket)
                batchHash := keccak256(sub(records, 4), add(length, 4))
                recordsHash := keccak256(records, length)
            }
            _batches[_key(period, uint32(head))] = batchHash;
            uint256 key = _key(period, bucket);
            uint256 chain = _chains[key];
            if (uint32(chain) != period) chain = period;
            bytes32 told = OrdersPlaced.selector;
            assembly ("memory-safe") {
                mstore(0, chain)
                mstore(0x18, recordsHash)
                let counts := and(chain, 0xffffffffffffffff)
                chain := or(and(keccak256(0, 0x38), not(0xffffffffffffffff)), add(counts, shl(32, count)))
                mstore(sub(records, 0x60), and(head, 0xffffffff))
                mstore(sub(records, 0x40), 0x40)
                mstore(sub(records, 0x20), length)
                log3(sub(records, 0x60), add(0x60, and(add(length, 0x1f), not(0x1f))), told, period, bucket)
            }
            _chains[key] = chain;
            _heads[period % RING] = head + count * ONE_RECORD + ONE_BATCH;
        }
    }

    /// @dev The lock, in nano-yuan, and the record, but for its number, of an order of one step that `_checkOrder` would let
    /// pass, and whose account sends it or has signed it with a key in 64 bytes. The lock is zero for any other order, good or
    /// bad. Nearly all orders are such, so all rules are checked at once here.
    function _recordIfPlain(Batch memory b, Entry e, uint256 info)
        private
        view
        returns (uint256 lockNyuan, uint256 record)
    {
        uint256 priceCap = PRICE_CAP;
        uint256 feeCap = FEE_CAP;
        bool right;
        uint256 length;
        assembly ("memory-safe") {
            let head := mload(e)
            let step := mload(add(e, 20))
            let period := mload(b)
            let limit := and(shr(176, step), 0xffffffff)
            let energyWh := and(shr(208, step), 0xffffffffff)
            let sells := iszero(iszero(byte(0, step)))
            length := shr(240, shl(80, step))
            right := iszero(
                or(
                    or(
                        or(lt(period, and(shr(216, head), 0xffffffff)), gt(period, and(shr(184, head), 0xffffffff))),
                        or(gt(timestamp(), and(shr(104, head), 0xffffffffff)), shr(3, byte(9, head)))
                    ),
                    or(
                        or(xor(byte(19, head), 1), and(shr(SUSPENDED_AT, info), 0xff)),
                        or(
                            or(lt(energyWh, LEAST_WH), gt(limit, priceCap)),
                            // The field of exports follows that of imports. Asks need 1 or 4 of the role, bids 2 or 4.
                            or(
                                gt(energyWh, and(shr(add(IMPORT_AT, shl(5, sells)), info), 0xffffffff)),
                                iszero(and(shr(ROLE_AT, info), sub(6, sells)))
                            )
                        )
                    )
                )
            )
            record := shl(152, shr(184, shl(8, step))) // energy and limit
            record := or(record, or(shl(231, sells), shl(224, byte(9, head))))
            record := or(record, or(shl(248, byte(0, head)), shl(232, and(shr(BUS_AT, info), 0xffff))))
            lockNyuan := mul(energyWh, add(mul(sells, sub(priceCap, add(limit, feeCap))), add(limit, feeCap)))
            switch length
            case 0 { right := and(right, eq(shr(96, shl(96, info)), mload(add(b, 0x60)))) }
            case 64 {
                // Without a form this is no batch; a revoker's nonce has to be looked up.
                let revoker := and(1, shr(byte(0, head), mload(add(b, 0x40))))
                right := and(right, gt(iszero(iszero(mload(add(b, 0x80)))), revoker))
            }
            default { right := 0 }
        }
        if (!right) return (0, 0);
        if (length != 0) {
            uint256 begin;
            assembly ("memory-safe") {
                begin := add(e, 32)
            }
            bytes32 digest = e.digestOfOne(b.form, b.firstNode);
            if (!Signatures.isByShortKey(address(uint160(info)), digest, begin)) return (0, 0);
        }
    }

    /// @dev The encoded error of what is wrong with an order before its money is looked at, empty if nothing; and its lock in
    /// nano-yuan.
    function _checkOrder(Batch memory b, uint256 i, Entry e, uint256 info)
        private
        view
        returns (bytes memory reason, uint256 lockNyuan)
    {
        uint256 node = b.firstNode | e.index();
        if (b.period < e.firstPeriod() || b.period > e.lastPeriod()) {
            return (_error(NotForPeriod.selector, b.period, e.firstPeriod(), e.lastPeriod()), 0);
        }
        if (block.timestamp > e.deadline()) return (_error(Expired.selector, e.deadline(), block.timestamp), 0);
        if (info == 0) return (_error(UnknownNode.selector, uint32(node)), 0); // there is no bucket so high
        if (uint8(info >> SUSPENDED_AT) != 0) return (_error(NodeSuspended.selector, node), 0);
        if (e.options() & ~uint256(ALL_OPTIONS) != 0) return (_error(UnknownOptions.selector, e.options()), 0);
        uint256 count = e.steps();
        if (count == 0 || count > MOST_STEPS) return (_error(WrongStepCount.selector, node, count), 0);
        uint256 soldWh;
        uint256 boughtWh;
        bool sound;
        (soldWh, boughtWh, lockNyuan, sound) = e.sums(LEAST_WH, PRICE_CAP, FEE_CAP);
        if (!sound) return (_errorOfSteps(e, node), 0);
        uint256 role = uint8(info >> ROLE_AT);
        bool barred = (soldWh != 0 && role & (GENERATOR | STORAGE) == 0)
            || (boughtWh != 0 && role & (CONSUMER | STORAGE) == 0);
        if (barred) return (_error(RoleForbids.selector, node, role), 0);
        uint256 most = info >> EXPORT_AT;
        if (soldWh > most) return (_error(OverCapacity.selector, node, soldWh, most), 0);
        most = uint32(info >> IMPORT_AT);
        if (boughtWh > most) return (_error(OverCapacity.selector, node, boughtWh, most), 0);
        reason = _checkWord(b, i, e, node, address(uint160(info)));
    }

    /// @dev Which rule the steps break of an order whose `sums` are not sound: if each is within its bounds, they cross.
    function _errorOfSteps(Entry e, uint256 node) private view returns (bytes memory) {
        unchecked {
            uint256 lowestAsk = type(uint256).max;
            uint256 highestBid;
            for (uint256 k; k < e.steps(); ++k) {
                (bool sells, uint256 energyWh, uint256 limit) = e.step(k);
                if (energyWh < LEAST_WH) return _error(StepTooSmall.selector, node, energyWh, LEAST_WH);
                if (limit > PRICE_CAP) return _error(LimitAboveCap.selector, node, limit, PRICE_CAP);
                if (!sells && limit > highestBid) highestBid = limit;
                if (sells && limit < lowestAsk) lowestAsk = limit;
            }
            return _error(CrossesItself.selector, node, highestBid, lowestAsk);
        }
    }

    /// @dev What is wrong with an order's signature or nonce.
    function _checkWord(Batch memory b, uint256 i, Entry e, uint256 node, address account)
        private
        view
        returns (bytes memory reason)
    {
        (uint256 begin, uint256 length) = e.signature();
        // What the account sends itself is meant now, so it needs neither signature nor nonce.
        if (length == 0 && account == b.sender) return "";
        if (b.form == 0) b.form = Entries.form(_domainSeparatorV4(), MARKET);
        if (!_isSigned(e.digest(b.form, node), uint32(node), account, begin, length, i)) { // ids fit 32 bits
            return _error(NotSigned.selector, node, uint160(account));
        }
        uint256 revokers = b.sender == address(0) ? b.revokers : _revokers[node >> 8];
        if (revokers & (1 << e.index()) == 0) return "";
        uint256 least = leastNonceOf(uint32(node), uint32(b.period));
        if (e.nonce() < least) return _error(NonceTooLow.selector, node, e.nonce(), least);
    }

    /// @dev Reverts an order placed by itself, leaves one out of a batch.
    function _refuse(Batch memory b, uint256 i, bytes memory reason) private {
        if (b.sender == address(0)) return _skip(i, reason);
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }

    function _reasonOf(Batch memory b, Entry e, IVault.Outcome outcome) private view returns (bytes memory) {
        uint256 node = b.firstNode | e.index();
        if (outcome == IVault.Outcome.AlreadyLive) return _error(AlreadyPlaced.selector, node, b.period);
        if (outcome == IVault.Outcome.InDebt) return _error(NodeInDebt.selector, node);
        (,, uint256 lockNyuan,) = e.sums(LEAST_WH, PRICE_CAP, FEE_CAP);
        return _error(NotCovered.selector, node, Amounts.up(lockNyuan));
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
