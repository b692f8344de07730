"""Books as the chain keeps them, and their pairwise positions by other means than the engine's."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from market.clearing import Band, Feeder, Orders, PairClearing, Rule, clear
from market.packing import bucket_of, encode_positions, index_of
from market.types import Options, Position

FEE_CAP = 50_000
PRICE_CAP = 2_000_000


class Step(NamedTuple):
    """One record of the book; several of a node are its bid and ask curve."""

    node: int
    bus: int
    sells: bool
    options: int
    energy_wh: int
    limit: int
    seq: int
    cancelled: bool = False

    @property
    def record(self) -> bytes:
        """16 bytes, as the book keeps them."""
        return (
            index_of(self.node).to_bytes(1, "big")
            + self.bus.to_bytes(2, "big")
            + (self.sells << 7 | self.options).to_bytes(1, "big")
            + self.energy_wh.to_bytes(5, "big")
            + self.limit.to_bytes(4, "big")
            + self.seq.to_bytes(3, "big")
        )


class Wire(NamedTuple):
    """Line of a bus: the bus above, and headroom in Wh."""

    parent: int
    up_wh: int
    down_wh: int


class Agreed(NamedTuple):
    """A position of agreements, and its node's bus."""

    position: Position
    bus: int


@dataclass(frozen=True)
class ChainBook:
    """What `Pairwise` is asked about.

    Attributes:
        steps: Records in the order of acceptance.
        agreed: Positions of agreements, ascending.
        wires: One per bus from 0 on; one bus has no line.
        low: Low end of the band.
        high: High end.
        batch: Records of a batch.
    """

    steps: tuple[Step, ...]
    agreed: tuple[Agreed, ...] = ()
    wires: tuple[Wire, ...] = (Wire(0, 0, 0),)
    low: int = 0
    high: int = 2**32 - 1
    batch: int = 3
    buckets: int = 3

    @property
    def terms(self) -> tuple[int, ...]:
        """As in the contract, for a period that clears."""
        return (0, self.low, self.high, 0, PRICE_CAP, FEE_CAP)

    @property
    def lines(self) -> bytes:
        """The feeder as the contract has it."""
        return b"".join(
            w.parent.to_bytes(2, "big") + w.up_wh.to_bytes(4, "big") + w.down_wh.to_bytes(4, "big")
            for w in self.wires
        )

    @property
    def cancelled(self) -> bytes:
        """Bitmap of cancelled seqs."""
        bits = bytearray(32 * ((len(self.steps) >> 8) + 1))
        for step in self.steps:
            if step.cancelled:
                bits[step.seq >> 3] |= 128 >> (step.seq & 7)
        return bytes(bits) if any(bits) else b""

    def orders_of(self, bucket: int) -> bytes:
        """A page's orders: batches of records."""
        mine = [step.record for step in self.steps if bucket_of(step.node) == bucket]
        batches = [mine[i : i + self.batch] for i in range(0, len(mine), self.batch)]
        return b"".join(len(b).to_bytes(2, "big") + b"".join(b) for b in batches)

    def eligible_seqs(self, bucket: int) -> list[int]:
        """Orders of a bucket that take part, as the page has them."""
        return [
            s.seq
            for s in self.steps
            if bucket_of(s.node) == bucket
            and s.energy_wh
            and not s.cancelled
            and self.low <= s.limit <= self.high
        ]

    @property
    def pages(self) -> list[tuple[int, bytes, bytes, bytes]]:
        """All pages: bucket, orders, agreed, buses."""
        pages = []
        for bucket in range(self.buckets):
            mine = [a for a in self.agreed if bucket_of(a.position.node) == bucket]
            agreed = encode_positions([a.position for a in mine])
            buses = b"".join(a.bus.to_bytes(2, "big") for a in mine)
            pages.append((bucket, self.orders_of(bucket), agreed, buses))
        return pages

    def bus_of(self, bus: int) -> int:
        """A bus that the feeder lacks counts as the root."""
        return bus if bus < len(self.wires) else 0

    @property
    def orders(self) -> Orders:
        """The book for the engine."""
        return Orders(
            node=np.array([s.node for s in self.steps], dtype=np.int64),
            bus=np.array([self.bus_of(s.bus) for s in self.steps], dtype=np.int64),
            is_buy=np.array([not s.sells for s in self.steps], dtype=np.bool_),
            energy_wh=np.array([0 if s.cancelled else s.energy_wh for s in self.steps], np.int64),
            limit_uyuan_per_kwh=np.array([s.limit for s in self.steps], dtype=np.int64),
            seq=np.array([s.seq for s in self.steps], dtype=np.int64),
        )

    def below(self, line: int) -> set[int]:
        """Buses below a line."""
        found = {line}
        for bus in range(line + 1, len(self.wires)):
            if self.wires[bus].parent in found:
                found.add(bus)
        return found

    def rooms(self) -> dict[int, tuple[int, int]]:
        """What agreements leave of each line's headroom, Wh up and down."""
        rooms = {}
        for line in range(1, len(self.wires)):
            under = self.below(line)
            agreed = sum(
                a.position.sold_wh - a.position.bought_wh
                for a in self.agreed
                if self.bus_of(a.bus) in under
            )
            wire = self.wires[line]
            rooms[line] = max(0, wire.up_wh - agreed), max(0, wire.down_wh + agreed)
        return rooms

    @property
    def feeder(self) -> Feeder:
        """The lines for the engine, agreements flowing first."""
        rooms = {0: (0, 0), **self.rooms()}
        return Feeder(
            np.array([w.parent for w in self.wires]),
            np.array([rooms[bus][0] for bus in range(len(self.wires))]),
            np.array([rooms[bus][1] for bus in range(len(self.wires))]),
        )

    def clear(self) -> PairClearing:
        """Run the engine."""
        clearing = clear(
            Rule.PAIRWISE, self.orders, band=Band(self.low, self.high), feeder=self.feeder
        )
        assert isinstance(clearing, PairClearing)
        return clearing


def expected(book: ChainBook) -> list[bytes]:
    """Positions of every bucket, by following docs/clearing.md section 6 step by step."""
    live = [s for s in book.steps if not s.cancelled]
    takes_part = [s for s in live if s.energy_wh and book.low <= s.limit <= book.high]
    asks_first = sorted(
        takes_part, key=lambda s: (s.limit, not s.sells, -s.seq if s.sells else s.seq)
    )
    left = {s: s.energy_wh for s in takes_part}
    waiting: list[Step] = []
    pairs: list[tuple[Step, Step, int]] = []
    for step in asks_first:
        if step.sells:
            waiting.append(step)
        while not step.sells and waiting and left[step]:
            energy = min(left[step], left[waiting[-1]])
            pairs.append((waiting[-1], step, energy))
            left[step] -= energy
            left[waiting[-1]] -= energy
            if not left[waiting[-1]]:
                waiting.pop()
    rooms = book.rooms()
    under = {line: book.below(line) for line in rooms}
    flow = dict.fromkeys(rooms, 0)
    trades: list[tuple[Step, int, int]] = []
    for ask, bid, energy in sorted(
        pairs, key=lambda p: (p[1].limit - p[0].limit, p[0].seq, p[1].seq)
    ):
        for line, (up_wh, down_wh) in rooms.items():
            sells, buys = (book.bus_of(s.bus) in under[line] for s in (ask, bid))
            if sells and not buys:
                energy = min(energy, up_wh - flow[line])
            if buys and not sells:
                energy = min(energy, down_wh + flow[line])
        for line in rooms:
            sells, buys = (book.bus_of(s.bus) in under[line] for s in (ask, bid))
            flow[line] += energy * (sells - buys)
        price = (ask.limit + bid.limit) // 2
        trades += [(ask, energy, price), (bid, energy, price)]
    return positions_of(book, trades)


def positions_of(book: ChainBook, trades: list[tuple[Step, int, int]]) -> list[bytes]:
    """Positions of every bucket, from what steps trade, Wh, at which price."""
    live = [s for s in book.steps if not s.cancelled]
    agreed = {a.position.node: a.position for a in book.agreed}
    packed = []
    for bucket in range(book.buckets):
        nodes = sorted({n for n in (*agreed, *(s.node for s in live)) if bucket_of(n) == bucket})
        positions = []
        for node in nodes:
            was = agreed.get(node, Position(node))
            mine = [t for t in trades if t[0].node == node]
            steps = [s for s in live if s.node == node]
            options = int(was.options)
            for s in steps:
                options |= s.options
            lock = sum(s.energy_wh * (PRICE_CAP if s.sells else s.limit + FEE_CAP) for s in steps)
            positions.append(
                Position(
                    node=node,
                    options=Options(options),
                    sold_wh=was.sold_wh + sum(e for s, e, _ in mine if s.sells),
                    bought_wh=was.bought_wh + sum(e for s, e, _ in mine if not s.sells),
                    receive_nyuan=was.receive_nyuan + sum(e * p for s, e, p in mine if s.sells),
                    pay_nyuan=was.pay_nyuan + sum(e * p for s, e, p in mine if not s.sells),
                    locked_uyuan=was.locked_uyuan - (-lock // 1000),
                )
            )
        packed.append(encode_positions(positions))
    return packed


NODES = (1, 2, 3, 4, 5, 127, 254, 255, 256, 257, 511, 512, 513, 767)


@st.composite
def chain_books(
    draw: st.DrawFn,
    most_nodes: int = 10,
    most_wh: int = 9,
    most_limit: int = 6,
    *,
    wires: bool = True,
) -> ChainBook:
    """Books full of ties, with curves, cancelled orders, agreements and lines that often bind."""
    buses = draw(st.integers(1, 6)) if wires else 1
    room = st.integers(0, draw(st.sampled_from((3, 12, 100))))
    lines = [Wire(0, 0, 0)] + [
        Wire(draw(st.integers(0, bus - 1)), draw(room), draw(room)) for bus in range(1, buses)
    ]
    nodes = draw(st.permutations(NODES))[: draw(st.integers(0, most_nodes))]
    # One in seven buses is not on the feeder.
    bus_of = {node: draw(st.integers(0, buses + buses // 7)) for node in NODES}
    steps: list[Step] = []
    for node in nodes:
        split = draw(st.integers(0, most_limit))
        count = draw(st.integers(1, 4))
        options, cancelled = draw(st.integers(0, 7)), draw(st.integers(0, 6)) == 0
        for _ in range(count):
            limit, energy = draw(st.integers(0, most_limit)), draw(st.integers(1, most_wh))
            steps.append(
                Step(
                    node, bus_of[node], limit > split, options, energy, limit, len(steps), cancelled
                )
            )
    agreed = []
    for node in sorted(draw(st.sets(st.sampled_from(NODES), max_size=4))):
        wh = st.integers(0, most_wh)
        position = Position(
            node,
            Options(draw(st.integers(0, 7))),
            draw(wh),
            draw(wh),
            draw(st.integers(0, 99)),
            draw(st.integers(0, 99)),
            draw(st.integers(0, 99)),
        )
        agreed.append(Agreed(position, bus_of[node]))
    low = draw(st.sampled_from((0, 0, 1)))
    high = most_limit - draw(st.sampled_from((0, 0, 1)))
    batch = draw(st.integers(1, 5))
    return ChainBook(tuple(steps), tuple(agreed), tuple(lines), low, high, batch)


def random_book(orders: int, buses: int = 1, room_wh: int = 10**9, seed: int = 1) -> ChainBook:
    """A larger book, one order a node, on a feeder that branches near its end."""
    rng = random.Random(seed)
    parents = [rng.randrange(max(0, bus - 4), bus) for bus in range(1, buses)]
    wires = [Wire(0, 0, 0), *(Wire(parent, room_wh, room_wh) for parent in parents)]
    steps = tuple(
        Step(
            node=seq + 1,
            bus=rng.randrange(buses),
            sells=rng.random() < 0.5,
            options=rng.randrange(8),
            energy_wh=rng.randrange(10, 20_000),
            limit=rng.randrange(400_000, 450_000, 100),
            seq=seq,
        )
        for seq in range(orders)
    )
    return ChainBook(steps, wires=tuple(wires), batch=50, buckets=(orders >> 8) + 1)
