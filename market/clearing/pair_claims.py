"""What the contract `Pairwise` is told of a clearing: the claim, and the feed cut into calls.

`contracts/interfaces/IPairwise.sol` has the formats, docs/adr the reason why they prove a clearing.
Whoever continues another's calls computes the same claim: a clearing and its blocks follow from
the book alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from eth_utils.crypto import keccak

from market.clearing.errors import OrdersError
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

RUN_BYTES: Final = 352
"""State that every call hands on; a word per bus, per named line and per open ask follow."""

# Measured, calldata included, and rounded up.
_CALL_GAS: Final = 80_000
_BUS_GAS: Final = 600
_ROOM_GAS: Final = 600
_ASK_GAS: Final = 600
_ENTRY_GAS: Final = 1_100
_CROSSING_GAS: Final = 700
_PAIR_GAS: Final = 1_200
_LINE_GAS: Final = 330
_PAGE_GAS: Final = 40_000
_ORDER_GAS: Final = 2_500


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
        trades: Block of each page, in the order of the buckets.
        merge: Blocks of the merge order.
        pairs: Blocks of the pairs that cross a named line.
        open_asks: How many asks wait on the stack after each block of the merge order.
        path_lines: How many named lines the pairs of each block of pairs pass, all together.
        rooms: The lines that the claim names, ascending.
        buses: Buses of the feeder.
    """

    claim: bytes
    trades: tuple[bytes, ...]
    merge: tuple[bytes, ...]
    pairs: tuple[bytes, ...]
    open_asks: tuple[int, ...]
    path_lines: tuple[int, ...]
    rooms: tuple[Room, ...]
    buses: int


class PairCall(NamedTuple):
    """One call of the contract.

    Attributes:
        first_page: First page it brings.
        pages: How many pages it brings.
        feed: The blocks.
        last: Whether it is the last call.
    """

    first_page: int
    pages: int
    feed: bytes
    last: bool


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
    rooms = [Room(line, int(lines.up_wh[line]), int(lines.down_wh[line])) for line in named]
    claim = encode_claim(pages, trades, merge, pairs, rooms)
    open_asks = _open_asks(orders, clearing, block_items)
    path_lines = _path_lines(pairs, zones.feeder)
    return PairClaim(claim, trades, merge, pairs, open_asks, path_lines, tuple(rooms), len(lines))


def encode_claim(
    pages: Sequence[bytes],
    trades: Sequence[bytes],
    merge: Sequence[bytes],
    pairs: Sequence[bytes],
    rooms: Sequence[Room],
) -> bytes:
    """Commit to the pages and to all blocks, and name lines."""
    claim = _chain(map(_page_block, range(len(pages)), pages, trades))
    claim += _chain(merge) + _chain(pairs)
    for room in rooms:
        claim += room.line.to_bytes(2, "big")
        claim += room.up_wh.to_bytes(8, "big") + room.down_wh.to_bytes(8, "big")
    return claim


def pair_calls(
    claim: PairClaim, pages: Sequence[bytes], most_bytes: int, most_gas: int
) -> list[PairCall]:
    """Cut a claim into calls that each fit a transaction: merge order, pairs, then pages.

    Args:
        claim: The claim.
        pages: What the calls carry of each page besides its block of trades, for its length.
        most_bytes: Calldata that claim, state, feed and pages of a call may take.
        most_gas: What a call may use.

    Raises:
        OrdersError: A single block does not fit; the market is too large for these limits.
    """
    steps = list(_steps(claim, pages))
    calls: list[PairCall] = []
    waiting, done = 0, 0
    while done < len(steps) or not calls:
        left_bytes = (
            most_bytes - len(claim.claim) - RUN_BYTES - 32 * (claim.buses + len(claim.rooms))
        )
        left_bytes -= 32 * waiting
        left_gas = most_gas - _CALL_GAS - _BUS_GAS * claim.buses - _ROOM_GAS * len(claim.rooms)
        left_gas -= _ASK_GAS * waiting
        first = done
        while done < len(steps):
            left_bytes -= len(steps[done].block) + steps[done].page_bytes
            left_gas -= steps[done].gas
            if min(left_bytes, left_gas) < 0:
                break
            done += 1
        if done == first < len(steps):
            raise OrdersError(
                f"a block needs more than {most_bytes} bytes or {most_gas} gas in a call; "
                "make blocks smaller or split the market"
            )
        part = steps[first:done]
        waiting = part[-1].waiting if part else 0
        brought = sum(call.pages for call in calls)
        feed = b"".join(step.block for step in sorted(part, key=lambda step: not step.is_page))
        page_count = sum(step.is_page for step in part)
        calls.append(PairCall(brought, page_count, feed, done == len(steps)))
    return calls


class _Step(NamedTuple):
    block: bytes
    gas: int
    waiting: int = 0
    is_page: bool = False
    page_bytes: int = 0


def _steps(claim: PairClaim, pages: Sequence[bytes]) -> Iterator[_Step]:
    entry_gas = _ENTRY_GAS + (_CROSSING_GAS if claim.rooms else 0)
    for merge, waiting in zip(claim.merge, claim.open_asks, strict=True):
        gas = len(merge) // ENTRY_BYTES * entry_gas
        yield _Step(encode_block(MERGE, merge), gas, waiting)
    for pairs, passed in zip(claim.pairs, claim.path_lines, strict=True):
        gas = len(pairs) // PAIR_BYTES * _PAIR_GAS + passed * _LINE_GAS
        yield _Step(encode_block(PAIRS, pairs), gas)
    for page, trades in zip(pages, claim.trades, strict=True):
        gas = _PAGE_GAS + len(page) // RECORD_BYTES * _ORDER_GAS
        yield _Step(encode_block(TRADES, trades), gas, is_page=True, page_bytes=len(page))


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


def _page_block(bucket: int, orders: bytes, trades: bytes) -> bytes:
    return bucket.to_bytes(32, "big") + keccak(orders) + keccak(trades)


def _chain(blocks: Iterable[bytes]) -> bytes:
    """Hash blocks one after the other: `h' = keccak256(h ++ keccak256(block))` from 0."""
    digest = bytes(32)
    for block in blocks:
        digest = keccak(digest + keccak(block))
    return digest


def encode_block(kind: int, data: bytes) -> bytes:
    """Put a block into the feed's words: kind 1, length 3, bytes."""
    return bytes([kind]) + len(data).to_bytes(3, "big") + data
