"""Packed positions and readings, and the roots that commit to them (SPEC section 8).

Records are big-endian, in ascending index within a bucket of 256 consecutive node ids:

    position (38)  index 1, options 1, sold_wh 5, bought_wh 5,
                   receive_nyuan 9, pay_nyuan 9, locked_uyuan 8
    reading  (12)  index 1, quality 1, export_wh 5, import_wh 5

    root_0 = 0,  root_(b+1) = keccak256(root_b ++ keccak256(bytes of bucket b))

Decoding is strict: whatever the contracts would refuse raises here too.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from eth_utils.crypto import keccak

from market.types import MeterReading, Options, Position, Quality

POSITION_BYTES = 38
READING_BYTES = 12
TRANSFER_BYTES = 22
BUCKET_BITS = 8
BUCKET_NODES = 1 << BUCKET_BITS
EMPTY_ROOT = bytes(32)
"""Root over no bucket at all."""


class PackingError(ValueError):
    """Packed bytes, or records to be packed, break the format of SPEC section 8."""


class _Record(Protocol):
    @property
    def node(self) -> int: ...


R = TypeVar("R", bound=_Record)


def bucket_of(node: int) -> int:
    """Bucket of a node id."""
    return node >> BUCKET_BITS


def index_of(node: int) -> int:
    """Index of a node id inside its bucket, 0 to 255."""
    return node & 0xFF


def node_of(bucket: int, index: int) -> int:
    """Node id at an index of a bucket."""
    return (bucket << BUCKET_BITS) | index


def split_buckets(records: Iterable[R], bucket_count: int | None = None) -> list[list[R]]:
    """Sort records into buckets, each in ascending node id.

    Args:
        records: Positions or readings in any order, at most one per node.
        bucket_count: Buckets to return; by default up to the last used one.

    Returns:
        One list per bucket from 0 on, empty where no record falls.

    Raises:
        PackingError: If a node lies beyond `bucket_count`.
    """
    ordered = sorted(records, key=lambda record: record.node)
    needed = bucket_of(ordered[-1].node) + 1 if ordered else 0
    count = needed if bucket_count is None else bucket_count
    if count < needed:
        raise PackingError(
            f"node {ordered[-1].node} lies in bucket {needed - 1}, but only {count} buckets were "
            "asked for; count the buckets from the highest admitted node"
        )
    buckets: list[list[R]] = [[] for _ in range(count)]
    for record in ordered:
        buckets[bucket_of(record.node)].append(record)
    return buckets


def encode_positions(positions: Sequence[Position]) -> bytes:
    """Pack the positions of one bucket.

    Args:
        positions: Positions of a single bucket in strictly ascending node id.

    Returns:
        38 bytes per position.

    Raises:
        PackingError: If ids are not strictly ascending or span two buckets.
    """
    _require_one_ascending_bucket(positions)
    return b"".join(
        index_of(p.node).to_bytes(1, "big")
        + int(p.options).to_bytes(1, "big")
        + p.sold_wh.to_bytes(5, "big")
        + p.bought_wh.to_bytes(5, "big")
        + p.receive_nyuan.to_bytes(9, "big")
        + p.pay_nyuan.to_bytes(9, "big")
        + p.locked_uyuan.to_bytes(8, "big")
        for p in positions
    )


def decode_positions(data: bytes, bucket: int) -> list[Position]:
    """Unpack the positions of one bucket.

    Args:
        data: 38 bytes per position.
        bucket: The bucket the bytes belong to; it completes the node ids.

    Returns:
        Positions in ascending node id.

    Raises:
        PackingError: If the length, the order, an index or the options are not valid.
    """

    def decode(record: bytes, node: int) -> Position:
        options = record[1]
        if options > int(Options.RESERVE | Options.OFFER | Options.TAKE):
            raise PackingError(
                f"node {node}: options byte {options} has unknown bits, largest is 7"
            )
        return Position(
            node=node,
            options=Options(options),
            sold_wh=int.from_bytes(record[2:7], "big"),
            bought_wh=int.from_bytes(record[7:12], "big"),
            receive_nyuan=int.from_bytes(record[12:21], "big"),
            pay_nyuan=int.from_bytes(record[21:30], "big"),
            locked_uyuan=int.from_bytes(record[30:38], "big"),
        )

    return _decode(data, bucket, POSITION_BYTES, "position", decode)


def encode_readings(readings: Sequence[MeterReading]) -> bytes:
    """Pack the readings of one bucket.

    Args:
        readings: Readings of a single bucket in strictly ascending node id.

    Returns:
        12 bytes per reading.

    Raises:
        PackingError: If ids are not strictly ascending or span two buckets.
    """
    _require_one_ascending_bucket(readings)
    return b"".join(
        index_of(r.node).to_bytes(1, "big")
        + int(r.quality).to_bytes(1, "big")
        + r.export_wh.to_bytes(5, "big")
        + r.import_wh.to_bytes(5, "big")
        for r in readings
    )


def decode_readings(data: bytes, bucket: int) -> list[MeterReading]:
    """Unpack the readings of one bucket.

    Args:
        data: 12 bytes per reading.
        bucket: The bucket the bytes belong to; it completes the node ids.

    Returns:
        Readings in ascending node id.

    Raises:
        PackingError: If the length, the order, an index or the quality is not valid.
    """

    def decode(record: bytes, node: int) -> MeterReading:
        quality = record[1]
        if quality > Quality.SUBSTITUTED:
            raise PackingError(
                f"node {node}: quality byte {quality} is unknown, use 0 measured or 1 substituted"
            )
        return MeterReading(
            node=node,
            quality=Quality(quality),
            export_wh=int.from_bytes(record[2:7], "big"),
            import_wh=int.from_bytes(record[7:12], "big"),
        )

    return _decode(data, bucket, READING_BYTES, "reading", decode)


def pack_positions(positions: Iterable[Position], bucket_count: int | None = None) -> list[bytes]:
    """Pack the positions of a whole period, one byte string per bucket.

    Raises:
        PackingError: As `split_buckets` and `encode_positions`.
    """
    return [encode_positions(bucket) for bucket in split_buckets(positions, bucket_count)]


def pack_readings(readings: Iterable[MeterReading], bucket_count: int | None = None) -> list[bytes]:
    """Pack the readings of a whole period, one byte string per bucket.

    Raises:
        PackingError: As `split_buckets` and `encode_readings`.
    """
    return [encode_readings(bucket) for bucket in split_buckets(readings, bucket_count)]


def fold_root(root: bytes, bucket_bytes: bytes) -> bytes:
    """Extend a root by one bucket: `keccak256(root ++ keccak256(bucket_bytes))`.

    Args:
        root: 32 bytes over the buckets before, `EMPTY_ROOT` for bucket 0.
        bucket_bytes: Packed bytes of the next bucket, possibly empty.

    Raises:
        PackingError: If `root` is not 32 bytes long.
    """
    if len(root) != 32:
        raise PackingError(f"a root has 32 bytes, this one has {len(root)}")
    return keccak(root + keccak(bucket_bytes))


def split_records(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into the records they consist of."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def root_of(buckets: Iterable[bytes]) -> bytes:
    """Root over the packed bytes of buckets 0, 1, ... in order.

    An empty bucket is folded like any other, so the number of buckets is part of the root.
    """
    root = EMPTY_ROOT
    for bucket_bytes in buckets:
        root = fold_root(root, bucket_bytes)
    return root


def _require_one_ascending_bucket(records: Sequence[_Record]) -> None:
    for before, after in itertools.pairwise(records):
        if after.node <= before.node:
            raise PackingError(
                f"node {after.node} follows node {before.node}; "
                "sort by node id, one record per node"
            )
    if records and bucket_of(records[0].node) != bucket_of(records[-1].node):
        raise PackingError(
            f"nodes {records[0].node} and {records[-1].node} lie in different buckets; "
            "split with split_buckets first"
        )


def _decode(
    data: bytes, bucket: int, size: int, what: str, decode: Callable[[bytes, int], R]
) -> list[R]:
    if bucket < 0:
        raise PackingError(f"bucket {bucket} is negative; buckets count from 0")
    if len(data) % size:
        raise PackingError(
            f"bucket {bucket}: {len(data)} bytes are not a whole number of "
            f"{size}-byte {what} records"
        )
    records: list[R] = []
    last_index = -1
    for offset in range(0, len(data), size):
        index = data[offset]
        if index <= last_index:
            raise PackingError(
                f"bucket {bucket}: {what} index {index} follows {last_index}; indices must ascend"
            )
        if node_of(bucket, index) == 0:
            raise PackingError(f"node 0 is the grid company; it has no {what}")
        records.append(decode(data[offset : offset + size], node_of(bucket, index)))
        last_index = index
    return records
