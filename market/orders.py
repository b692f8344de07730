"""A period's orders as bytes: entries that go in, records that come out, pages for the clearing.

Big-endian (SPEC section 8):

    entry        index 1, first_period 4, last_period 4, options 1, nonce 4, deadline 5, steps 1,
                 steps x (sells 1, energy_wh 5, limit 4), signature length 2, signature
    record (16)  index 1, bus 2, flags 1 (bit 7 sells, bits 0-2 options), energy_wh 5, limit 4,
                 seq 3
    page         of every batch of a bucket, in order: records 2, the records

    chain' = first 24 bytes of keccak256(chain ++ keccak256(records of the batch))

Decoding is strict: whatever the contract could not have written raises.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from eth_utils.crypto import keccak

from market.clearing import Orders
from market.messages import Order, Step
from market.packing import PackingError, bucket_of, index_of, node_of
from market.prices import Limits
from market.types import Options

ENTRY_HEAD_BYTES = 20
STEP_BYTES = 10
RECORD_BYTES = 16
MAX_STEPS = 4
LEAST_WH = 10
"""Least energy of a step."""

EMPTY_CHAIN = bytes(24)
"""Chain of a bucket without orders."""

_ALL_OPTIONS = int(Options.RESERVE | Options.OFFER | Options.TAKE)
_SELLS = 0x80


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order with its signature, for a batch.

    Attributes:
        order: The order.
        signature: Signature of the node's account; empty if the account has approved it.
    """

    order: Order
    signature: bytes


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One accepted step of an order.

    Attributes:
        node: The order's node.
        bus: Bus the node was connected to.
        sells: Whether it is an ask.
        options: Options of the order.
        energy_wh: Energy.
        limit_uyuan_per_kwh: Limit.
        seq: Order of acceptance in the period.
    """

    node: int
    bus: int
    sells: bool
    options: Options
    energy_wh: int
    limit_uyuan_per_kwh: int
    seq: int


@dataclass(frozen=True, slots=True)
class Placed:
    """One batch of a period's book, as `OrdersPlaced` tells it.

    Attributes:
        bucket: Bucket of all its nodes.
        batch: Its number in the period.
        records: Its packed records.
    """

    bucket: int
    batch: int
    records: bytes


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A cancelled order, as `Cancelled` tells it.

    Attributes:
        node: Its node.
        batch: The batch it came in.
        first_seq: Number of its first record.
    """

    node: int
    batch: int
    first_seq: int


# -- entries


def encode_entries(entries: Sequence[SignedOrder]) -> bytes:
    """Pack orders of one bucket for `Book.placeBatch`.

    Raises:
        PackingError: If they span buckets, or one has a field that its bytes do not hold.
    """
    buckets = {bucket_of(entry.order.node) for entry in entries}
    if len(buckets) > 1:
        raise PackingError(f"orders of buckets {sorted(buckets)}; pack each bucket by itself")
    return b"".join(_encode_entry(entry.order, entry.signature) for entry in entries)


def decode_entries(data: bytes, bucket: int) -> list[SignedOrder]:
    """Unpack what goes into `Book.placeBatch`.

    Raises:
        PackingError: If the bytes end inside an entry, or a byte is none the packing writes.
    """
    entries: list[SignedOrder] = []
    offset = 0
    while offset < len(data):
        entry, offset = _decode_entry(data, offset, bucket, len(entries))
        entries.append(entry)
    return entries


def _encode_entry(order: Order, signature: bytes) -> bytes:
    try:
        return (
            index_of(order.node).to_bytes(1, "big")
            + order.first_period.to_bytes(4, "big")
            + order.last_period.to_bytes(4, "big")
            + int(order.options).to_bytes(1, "big")
            + order.nonce.to_bytes(4, "big")
            + order.deadline.to_bytes(5, "big")
            + len(order.steps).to_bytes(1, "big")
            + b"".join(
                bytes([step.sells])
                + step.energy_wh.to_bytes(5, "big")
                + step.limit_uyuan_per_kwh.to_bytes(4, "big")
                for step in order.steps
            )
            + len(signature).to_bytes(2, "big")
            + signature
        )
    except OverflowError as exc:
        raise PackingError(f"the order of node {order.node} does not fit an entry: {exc}") from exc


def _decode_entry(data: bytes, start: int, bucket: int, i: int) -> tuple[SignedOrder, int]:
    steps_at = start + ENTRY_HEAD_BYTES
    head = data[start:steps_at]
    count = head[19] if len(head) == ENTRY_HEAD_BYTES else 0
    length_at = steps_at + count * STEP_BYTES
    signature_at = length_at + 2
    end = signature_at + int.from_bytes(data[length_at:signature_at], "big")
    if end > len(data):
        raise PackingError(f"entry {i}: the bytes end at {len(data)}, inside it; send them whole")
    order = Order(
        node=node_of(bucket, head[0]),
        first_period=int.from_bytes(head[1:5], "big"),
        last_period=int.from_bytes(head[5:9], "big"),
        options=_options(head[9], f"entry {i}"),
        nonce=int.from_bytes(head[10:14], "big"),
        deadline=int.from_bytes(head[14:19], "big"),
        steps=tuple(
            _decode_step(data[at : at + STEP_BYTES], i)
            for at in range(steps_at, length_at, STEP_BYTES)
        ),
    )
    return SignedOrder(order, data[signature_at:end]), end


def _decode_step(data: bytes, i: int) -> Step:
    if data[0] > 1:
        raise PackingError(f"entry {i}: side byte {data[0]} is unknown, use 0 bid or 1 ask")
    return Step(bool(data[0]), int.from_bytes(data[1:6], "big"), int.from_bytes(data[6:], "big"))


def _options(byte: int, where: str) -> Options:
    if byte > _ALL_OPTIONS:
        raise PackingError(f"{where}: options {byte} have unknown bits, largest is {_ALL_OPTIONS}")
    return Options(byte)


# -- records


def encode_records(records: Iterable[OrderRecord]) -> bytes:
    """Pack accepted steps as the contract writes them, 16 bytes each."""
    return b"".join(
        index_of(r.node).to_bytes(1, "big")
        + r.bus.to_bytes(2, "big")
        + bytes([_SELLS * r.sells | int(r.options)])
        + r.energy_wh.to_bytes(5, "big")
        + r.limit_uyuan_per_kwh.to_bytes(4, "big")
        + r.seq.to_bytes(3, "big")
        for r in records
    )


def decode_records(data: bytes, bucket: int) -> list[OrderRecord]:
    """Unpack the records of a batch.

    Args:
        data: 16 bytes per record.
        bucket: The bucket of its nodes.

    Raises:
        PackingError: If the length, a number or the options are not valid.
    """
    if not data or len(data) % RECORD_BYTES:
        raise PackingError(
            f"bucket {bucket}: {len(data)} bytes are not one or more {RECORD_BYTES}-byte records"
        )
    records: list[OrderRecord] = []
    for at in range(0, len(data), RECORD_BYTES):
        record = data[at : at + RECORD_BYTES]
        node, seq = node_of(bucket, record[0]), int.from_bytes(record[13:], "big")
        if node == 0:
            raise PackingError("node 0 is the grid company; it has no orders")
        if records and seq != records[-1].seq + 1:
            raise PackingError(
                f"node {node}: record {seq} follows {records[-1].seq}; a batch has no gaps"
            )
        records.append(
            OrderRecord(
                node=node,
                bus=int.from_bytes(record[1:3], "big"),
                sells=bool(record[3] & _SELLS),
                options=_options(record[3] & ~_SELLS, f"node {node}"),
                energy_wh=int.from_bytes(record[4:9], "big"),
                limit_uyuan_per_kwh=int.from_bytes(record[9:13], "big"),
                seq=seq,
            )
        )
    return records


def extend_chain(chain: bytes, records: bytes) -> bytes:
    """Extend a bucket's chain, 24 bytes, by the packed records of a batch."""
    return keccak(chain + keccak(records))[:24]


# -- pages


def encode_page(batches: Iterable[bytes]) -> bytes:
    """Put the batches of a bucket, in the order they were placed, into one page.

    Raises:
        PackingError: If a batch is empty, cut, or too long.
    """
    page = b""
    for records in batches:
        count, rest = divmod(len(records), RECORD_BYTES)
        if rest or not 0 < count < 1 << 16:
            raise PackingError(
                f"a batch of {len(records)} bytes; a page takes 1 to 65,535 records of 16 bytes"
            )
        page += count.to_bytes(2, "big") + records
    return page


def decode_page(page: bytes) -> list[bytes]:
    """Return the packed records of every batch of a page.

    Raises:
        PackingError: If the bytes end inside a batch, or a batch is empty.
    """
    batches: list[bytes] = []
    offset = 0
    while offset < len(page):
        end = offset + 2 + int.from_bytes(page[offset : offset + 2], "big") * RECORD_BYTES
        if end > len(page) or end == offset + 2:
            raise PackingError(f"a page ends, or holds an empty batch, at byte {offset}")
        batches.append(page[offset + 2 : end])
        offset = end
    return batches


# -- the book


def lock_uyuan(steps: Iterable[Step | OrderRecord], limits: Limits) -> int:
    """What an order locks: a buyer its limits and the fee, a seller all of it at the cap."""
    cap, fee = limits.price_cap_uyuan_per_kwh, limits.fee_cap_uyuan_per_kwh
    nyuan = sum(s.energy_wh * (cap if s.sells else s.limit_uyuan_per_kwh + fee) for s in steps)
    return -(-nyuan // 1000)


@dataclass(frozen=True, slots=True)
class Book:
    """The orders of a period, from what the chain told.

    Attributes:
        batches: Its batches, in the order they were placed.
        records: All records, by `seq` from 0.
        cancelled: The numbers of the cancelled ones.
    """

    batches: tuple[Placed, ...]
    records: tuple[OrderRecord, ...]
    cancelled: frozenset[int]

    @property
    def live(self) -> list[OrderRecord]:
        """The records that take part in the clearing, by `seq`."""
        return [r for r in self.records if r.seq not in self.cancelled]

    def by_node(self) -> dict[int, list[OrderRecord]]:
        """Return the live order of every node that has one."""
        orders: defaultdict[int, list[OrderRecord]] = defaultdict(list)
        for record in self.live:
            orders[record.node].append(record)
        return dict(orders)

    def place_of(self, node: int) -> tuple[int, bytes, int]:
        """Return where a node's live order is: batch, the batch's records, offset in them.

        Raises:
            LookupError: If the node has none.
        """
        seq = next((r.seq for r in self.live if r.node == node), None)
        if seq is None:
            raise LookupError(f"node {node} has no live order; look at what it placed")
        for placed in self.batches:
            offset = seq * RECORD_BYTES
            if offset < len(placed.records):
                return placed.batch, placed.records, offset
            seq -= len(placed.records) // RECORD_BYTES
        raise AssertionError("every record lies in a batch")

    def pages(self, bucket_count: int) -> list[bytes]:
        """Return the page of every bucket, empty where nobody ordered.

        Raises:
            PackingError: If an order's bucket lies beyond `bucket_count`.
        """
        batches: list[list[bytes]] = [[] for _ in range(bucket_count)]
        for placed in self.batches:
            if placed.bucket >= bucket_count:
                raise PackingError(
                    f"orders lie in bucket {placed.bucket}, but only {bucket_count} were asked for"
                )
            batches[placed.bucket].append(placed.records)
        return [encode_page(of_bucket) for of_bucket in batches]

    def chains(self) -> dict[int, tuple[bytes, int]]:
        """Return chain and number of records of every bucket that has orders."""
        chains: dict[int, tuple[bytes, int]] = {}
        for placed in self.batches:
            chain, count = chains.get(placed.bucket, (EMPTY_CHAIN, 0))
            chains[placed.bucket] = (
                extend_chain(chain, placed.records),
                count + len(placed.records) // RECORD_BYTES,
            )
        return chains

    def orders(self) -> Orders:
        """Return the live records as the engine takes them."""
        live = self.live
        return Orders(
            node=np.array([r.node for r in live], dtype=np.int64),
            bus=np.array([r.bus for r in live], dtype=np.int64),
            is_buy=np.array([not r.sells for r in live], dtype=np.bool_),
            energy_wh=np.array([r.energy_wh for r in live], dtype=np.int64),
            limit_uyuan_per_kwh=np.array([r.limit_uyuan_per_kwh for r in live], dtype=np.int64),
            seq=np.array([r.seq for r in live], dtype=np.int64),
        )

    def locks(self, limits: Limits) -> Mapping[int, int]:
        """Return what every node's live order locks, micro-yuan."""
        return {node: lock_uyuan(steps, limits) for node, steps in self.by_node().items()}


def read_book(placed: Iterable[Placed], withdrawn: Iterable[Withdrawn]) -> Book:
    """Put a period's book together from its events.

    Args:
        placed: Its batches, in any order.
        withdrawn: Its cancelled orders.

    Raises:
        PackingError: If a batch or a record is missing, or a cancel names no order.
    """
    batches = tuple(sorted(placed, key=lambda p: p.batch))
    if [p.batch for p in batches] != list(range(len(batches))):
        raise PackingError(f"batches {[p.batch for p in batches]} are not 0, 1, ...; read them all")
    by_batch = [decode_records(p.records, p.bucket) for p in batches]
    records = tuple(record for batch in by_batch for record in batch)
    if [r.seq for r in records] != list(range(len(records))):
        raise PackingError("the records of the batches do not number 0, 1, ...; read them all")
    cancelled: set[int] = set()
    for w in withdrawn:
        of_batch = by_batch[w.batch] if w.batch < len(by_batch) else []
        order = [r.seq for r in of_batch if r.node == w.node]
        if not order or order[0] != w.first_seq or w.first_seq in cancelled:
            raise PackingError(
                f"the cancel of node {w.node} names record {w.first_seq} of batch {w.batch}, "
                "where no live order of it begins"
            )
        cancelled.update(order)
    return Book(batches, records, frozenset(cancelled))
