"""What the contract `Pairwise` is told of a clearing: the claim, and the blocks of its feed.

`contracts/interfaces/IPairwise.sol` has the formats, docs/adr the reason why they prove a clearing.
Whoever continues another's calls computes the same claim: a clearing and its blocks follow from
the book alone. `market.clearing.pair_calls` cuts the feed into calls.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from eth_utils.crypto import keccak

from market.clearing.feeder import Contraction, Feeder, sum_by
from market.clearing.orders import Ints, Orders
from market.clearing.result import PairClearing

RECORD_BYTES: Final = 16
"""An order in the book: index 1, bus 2, flags 1, energy_wh 5, limit 4, seq 3."""
ENTRY_BYTES: Final = 15
PAIR_BYTES: Final = 23
TRADE_BYTES: Final = 14
BLOCK_ITEMS: Final = 256
"""Entries or pairs of a block; calls are cut between blocks."""
MAX_SEQ: Final = 2**24 - 1
TRADES, MERGE, PAIRS = range(3)
"""Kinds of blocks."""


class Room(NamedTuple):
    """What agreements leave of the headroom of a line that may bind, Wh."""

    line: int
    up_wh: int
    down_wh: int


@dataclass(frozen=True)
class PairClaim:
    """A pairwise clearing in the contract's words.

    Attributes:
        claim: What the period's clearing is known by.
        pages: What the claim's first hash is over, for each page; empty without orders.
        trades: Block of each page, in the order of the buckets; empty without orders.
        merge: Blocks of the merge order.
        pairs: Blocks of the pairs that cross a named line.
        open_asks: How many asks wait on the stack after each block of the merge order.
        path_lines: How many named lines the pairs of each block of pairs pass, all together.
        rooms: The lines that the claim names, ascending.
        buses: Buses of the feeder.
    """

    claim: bytes
    pages: tuple[bytes, ...]
    trades: tuple[bytes, ...]
    merge: tuple[bytes, ...]
    pairs: tuple[bytes, ...]
    open_asks: tuple[int, ...]
    path_lines: tuple[int, ...]
    rooms: tuple[Room, ...]
    buses: int


def pair_claim(
    pages: Sequence[bytes],
    orders: Orders,
    clearing: PairClearing,
    feeder: Feeder | None = None,
    block_items: int = BLOCK_ITEMS,
) -> PairClaim:
    """Put a clearing into the contract's words.

    Args:
        pages: Orders of each bucket, batch by batch: number of records 2, then the records.
        orders: The same orders in ascending seq; bus 0 where the feeder lacks the order's bus.
        clearing: What `clear` makes of them.
        feeder: The lines with what agreements leave of their headroom; None for none.
        block_items: Entries or pairs of a block.
    """
    lines = feeder or Feeder.single_bus()
    bus = orders.bus if feeder else orders.bus * 0
    zones = _zones(bus, clearing, lines)
    named = zones.head_bus[1:].tolist()
    trade_of = _trades(orders, clearing, cuts=bool(named))
    trades = tuple(b"".join(trade_of.get(seq, b"") for seq in _seqs(page)) for page in pages)
    merge = _blocks(_entries(orders, bus, clearing.merge_order), block_items)
    pairs = _blocks(_pairs(orders, clearing, zones.zone_of_bus[bus]), block_items)
    bound = page_blocks(pages, trades)
    rooms = [Room(line, int(lines.up_wh[line]), int(lines.down_wh[line])) for line in named]
    return PairClaim(
        claim=encode_claim(bound, merge, pairs, rooms),
        pages=bound,
        trades=trades,
        merge=merge,
        pairs=pairs,
        open_asks=_open_asks(orders, clearing, block_items),
        path_lines=_path_lines(pairs, zones.feeder),
        rooms=tuple(rooms),
        buses=len(lines),
    )


def encode_claim(
    pages: Sequence[bytes], merge: Sequence[bytes], pairs: Sequence[bytes], rooms: Sequence[Room]
) -> bytes:
    """Commit to pages, as `page_blocks` has them, merge order and pairs, and name lines."""
    claim = _hash(filter(None, pages)) + _hash(merge) + _hash(pairs)
    for room in rooms:
        claim += room.line.to_bytes(2, "big")
        claim += room.up_wh.to_bytes(8, "big") + room.down_wh.to_bytes(8, "big")
    return claim


def _zones(bus: Ints, clearing: PairClearing, feeder: Feeder) -> Contraction:
    """Join the buses of each line that the matching cannot bind, whatever its order."""
    pairs = clearing.pairs
    sold = feeder.flows(sum_by(bus[pairs.ask], pairs.matched_wh, len(feeder)))
    bought = feeder.flows(sum_by(bus[pairs.bid], pairs.matched_wh, len(feeder)))
    return feeder.contracted((sold <= feeder.up_wh) & (bought <= feeder.down_wh))


def _entries(orders: Orders, bus: Ints, places: Ints) -> Iterator[bytes]:
    buys, seq = orders.is_buy[places], orders.seq[places]
    columns = (
        orders.limit_uyuan_per_kwh[places],
        np.where(buys, (1 << 24) | seq, MAX_SEQ - seq),
        orders.energy_wh[places],
        bus[places],
    )
    for limit, place, energy, at in zip(*(c.tolist() for c in columns), strict=True):
        word = limit << 88 | place << 56 | energy << 16 | at
        yield word.to_bytes(ENTRY_BYTES, "big")


def _pairs(orders: Orders, clearing: PairClearing, zone: Ints) -> Iterator[bytes]:
    pairs, limit = clearing.pairs, orders.limit_uyuan_per_kwh
    columns = (
        limit[pairs.bid] - limit[pairs.ask],
        orders.seq[pairs.ask],
        orders.seq[pairs.bid],
        pairs.matched_wh,
        zone[pairs.ask],
        zone[pairs.bid],
        pairs.price_uyuan_per_kwh,
    )
    for gap, ask, bid, matched, start, end, price in zip(
        *(c.tolist() for c in columns), strict=True
    ):
        if start != end:
            word = gap << 152 | ask << 128 | bid << 104 | matched << 64 | start << 48 | end << 32
            yield (word | price).to_bytes(PAIR_BYTES, "big")


def _trades(orders: Orders, clearing: PairClearing, *, cuts: bool) -> dict[int, bytes]:
    """By the seq of each eligible order: what it matches, and with `cuts` what lines cut off."""
    places = clearing.merge_order.tolist()
    matched, cut = dict.fromkeys(places, 0), dict.fromkeys(places, 0)
    pairs = clearing.pairs
    columns = (pairs.ask, pairs.bid, pairs.matched_wh, pairs.filled_wh, pairs.price_uyuan_per_kwh)
    for ask, bid, energy, filled, price in zip(*(c.tolist() for c in columns), strict=True):
        for place in (ask, bid):
            matched[place] += energy << 72 | energy * price
            cut[place] += (energy - filled) << 72 | (energy - filled) * price
    packed = {}
    for place, seq in zip(places, orders.seq[places].tolist(), strict=True):
        packed[seq] = matched[place].to_bytes(TRADE_BYTES, "big")
        if cuts:
            packed[seq] += cut[place].to_bytes(TRADE_BYTES, "big")
    return packed


def _open_asks(orders: Orders, clearing: PairClearing, block_items: int) -> tuple[int, ...]:
    """Count the asks that wait after each block; behind the last one nothing is kept."""
    order, pairs = clearing.merge_order, clearing.pairs
    turn = np.zeros(len(orders), dtype=np.int64)
    turn[order] = np.arange(len(order))
    left = orders.energy_wh - sum_by(pairs.ask, pairs.matched_wh, len(orders))
    gone = np.zeros(len(orders), dtype=np.int64)
    np.maximum.at(gone, pairs.ask, turn[pairs.bid])
    came = np.sort(turn[order[~orders.is_buy[order]]])
    taken = order[~orders.is_buy[order] & (left[order] == 0)]
    ends = np.arange(block_items, len(order), block_items)
    waiting = np.searchsorted(came, ends) - np.searchsorted(np.sort(gone[taken]), ends)
    return (*waiting.tolist(), *([0] if len(order) else []))


def _path_lines(blocks: Iterable[bytes], feeder: Feeder) -> tuple[int, ...]:
    """Count the lines that the pairs of each block pass."""
    parent = feeder.parent.tolist()
    counts = []
    for block in blocks:
        count = 0
        for at in range(15, len(block), PAIR_BYTES):
            start, end = (int.from_bytes(block[i : i + 2], "big") for i in (at, at + 2))
            while start != end:
                count += 1
                start, end = (parent[start], end) if start > end else (start, parent[end])
        counts.append(count)
    return tuple(counts)


def _seqs(page: bytes) -> Iterator[int]:
    at = 0
    while at < len(page):
        end = at + 2 + RECORD_BYTES * int.from_bytes(page[at : at + 2], "big")
        for record in range(at + 2, end, RECORD_BYTES):
            yield int.from_bytes(page[record + 13 : record + 16], "big")
        at = end


def _blocks(items: Iterable[bytes], block_items: int) -> tuple[bytes, ...]:
    every = list(items)
    return tuple(b"".join(every[i : i + block_items]) for i in range(0, len(every), block_items))


def page_blocks(pages: Sequence[bytes], trades: Sequence[bytes]) -> tuple[bytes, ...]:
    """Bind the orders of each page to what they trade; empty for a page without orders."""
    return tuple(
        bucket.to_bytes(32, "big") + keccak(orders) + keccak(traded) if orders else b""
        for bucket, (orders, traded) in enumerate(zip(pages, trades, strict=True))
    )


def chain(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Hash blocks one after the other: `h' = keccak256(h ++ keccak256(block))` from 0, included."""
    digest = bytes(32)
    yield digest
    for block in blocks:
        digest = keccak(digest + keccak(block))
        yield digest


def _hash(blocks: Iterable[bytes]) -> bytes:
    *_, digest = chain(blocks)
    return digest


def encode_block(kind: int, data: bytes) -> bytes:
    """Put a block into the feed's words: kind 1, length 3, bytes."""
    return bytes([kind]) + len(data).to_bytes(3, "big") + data
