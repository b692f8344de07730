"""Random books and feeders, and what a clearing of them is by other means than the engine's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from scipy.optimize import linprog

from market.clearing import Band, Clearing, Cut, Feeder, Orders, PoolClearing, Rule, Zone, clear
from market.clearing import check as check_clearing


class Row(NamedTuple):
    """One order without its seq."""

    node: int
    buys: bool
    energy_wh: int
    limit: int
    bus: int = 0


@dataclass(frozen=True)
class Case:
    """What is cleared, and how."""

    rule: Rule
    orders: Orders
    band: Band
    feeder: Feeder | None
    planned: int | None = None

    def clear(self) -> Clearing:
        """Run the engine."""
        return clear(
            self.rule,
            self.orders,
            band=self.band,
            feeder=self.feeder,
            planned_uyuan_per_kwh=self.planned,
        )

    def check(self, clearing: Clearing) -> None:
        """Run the verifier."""
        check_clearing(
            self.rule,
            self.orders,
            clearing,
            band=self.band,
            feeder=self.feeder,
            planned_uyuan_per_kwh=self.planned,
        )

    @property
    def lines(self) -> Feeder:
        """The feeder, one bus where there is none."""
        return self.feeder or Feeder.single_bus()

    def bus(self) -> list[int]:
        """The bus of each order on `lines`."""
        return [0] * len(self.orders) if self.feeder is None else self.orders.bus.tolist()

    def eligible(self) -> list[int]:
        """Orders that take part, by looking at every pair."""
        o, places = self.orders, []
        for i in range(len(o)):
            limit = int(o.limit_uyuan_per_kwh[i])
            willing = self.planned is None or (
                limit >= self.planned if o.is_buy[i] else limit <= self.planned
            )
            in_band = self.band.low_uyuan_per_kwh <= limit <= self.band.high_uyuan_per_kwh
            if o.energy_wh[i] > 0 and in_band and willing:
                places.append(i)
        return [i for i in places if not any(_crosses(o, j, i) for j in places if j < i)]


def _crosses(o: Orders, j: int, i: int) -> bool:
    if o.node[i] != o.node[j] or o.is_buy[i] == o.is_buy[j]:
        return False
    bid, ask = (i, j) if o.is_buy[i] else (j, i)
    return bool(o.limit_uyuan_per_kwh[bid] >= o.limit_uyuan_per_kwh[ask])


def book(rows: Iterable[Row], first_seq: int = 0, step: int = 1) -> Orders:
    """Build a book from rows in the order of acceptance."""
    columns = [np.array(c) for c in zip(*rows, strict=True)] or [np.zeros(0, dtype=np.int64)] * 5
    node, buys, energy, limit, bus = columns
    seq = first_seq + step * np.arange(len(node))
    return Orders(node, bus, buys.astype(np.bool_), energy, limit, seq)


def feeders(most_buses: int = 6, most_wh: int = 12) -> st.SearchStrategy[Feeder]:
    """Any small tree with headroom that often binds, sometimes none at all."""

    @st.composite
    def build(draw: st.DrawFn) -> Feeder:
        buses = draw(st.integers(1, most_buses))
        parent = [0] + [draw(st.integers(0, bus - 1)) for bus in range(1, buses)]
        room = st.lists(st.integers(0, most_wh), min_size=buses, max_size=buses)
        return Feeder(np.array(parent), np.array(draw(room)), np.array(draw(room)))

    return build()


@st.composite
def cases(
    draw: st.DrawFn,
    rules: Sequence[Rule] = tuple(Rule),
    most_orders: int = 14,
    most_wh: int = 9,
    most_limit: int = 6,
    wires: bool | None = None,
) -> Case:
    """Books full of ties, cancelled orders, nodes on both sides and limits outside the band."""
    rule = draw(st.sampled_from(rules))
    feeder = draw(feeders()) if wires or (wires is None and draw(st.booleans())) else None
    row = st.builds(
        Row,
        node=st.integers(1, draw(st.sampled_from((3, 40)))),
        buys=st.booleans(),
        energy_wh=st.integers(0, most_wh),
        limit=st.integers(0, most_limit),
        bus=st.integers(0, len(feeder) - 1 if feeder else 3),
    )
    rows = draw(st.lists(row, max_size=most_orders))
    low = draw(st.sampled_from((0, 0, 1)))
    band = Band(low, draw(st.sampled_from((most_limit, most_limit, most_limit - 1))))
    planned = draw(st.integers(0, most_limit)) if rule is Rule.PLANNED else None
    orders = book(rows, draw(st.integers(0, 5)), draw(st.integers(1, 3)))
    return Case(rule, orders, band, feeder, planned)


def random_case(rule: Rule, seed: int, orders: int, buses: int, prices: int) -> Case:
    """A larger case than Hypothesis draws, congested if it has lines."""
    rng = np.random.default_rng(seed)
    parent = [0] + [int(rng.integers(max(0, bus - 4), bus)) for bus in range(1, buses)]
    room = orders * 200 // max(1, buses)
    feeder = Feeder(
        np.array(parent), rng.integers(0, room + 1, buses), rng.integers(0, room + 1, buses)
    )
    rows = Orders(
        rng.integers(1, 2 * orders, orders),
        rng.integers(0, buses, orders),
        rng.random(orders) < 0.5,
        rng.integers(1, 1000, orders),
        rng.integers(0, prices, orders),
        np.arange(orders),
    )
    planned = prices // 2 if rule is Rule.PLANNED else None
    return Case(rule, rows, Band(0, prices), feeder if buses > 1 else None, planned)


def below(case: Case) -> npt.NDArray[np.bool_]:
    """Which buses lie below which line, ``bool[buses, buses]``."""
    parent = case.lines.parent.tolist()
    under = np.eye(len(parent), dtype=bool)
    for bus in range(len(parent) - 1, 0, -1):
        under[parent[bus]] |= under[bus]
    return under


def lp(case: Case) -> tuple[int, int]:
    """Greatest welfare and, among its solutions, volume; nano-yuan and Wh, by HiGHS.

    Doubled limits and one more for bids put volume behind welfare: no exchange of two orders
    changes welfare by less than 1, and a pair without a gap still gains 1/2.
    """
    o, at = case.orders, case.eligible()
    if not at:
        return 0, 0
    buys, limit = o.is_buy[at], o.limit_uyuan_per_kwh[at]
    sold = np.where(buys, -1, 1)
    under = below(case)[1:, np.array(case.bus())[at]] * sold
    solution = linprog(
        np.where(buys, -(2 * limit + 1), 2 * limit),
        A_ub=np.vstack([under, -under]),
        b_ub=np.concatenate([case.lines.up_wh[1:], case.lines.down_wh[1:]]),
        A_eq=sold[None, :],
        b_eq=[0],
        bounds=[(0, int(energy)) for energy in o.energy_wh[at]],
        method="highs",
    )
    energy = [round(x) for x in solution.x]
    welfare = sum(-s * e * int(p) for s, e, p in zip(sold.tolist(), energy, limit, strict=True))
    return welfare, sum(e for e, b in zip(energy, buys, strict=True) if b)


def net_flows(case: Case, filled_wh: Sequence[int]) -> list[int]:
    """Flow of each line, by summing the buses below it."""
    net = np.zeros(len(case.lines), dtype=np.int64)
    for bus, energy, buys in zip(case.bus(), filled_wh, case.orders.is_buy, strict=True):
        net[bus] += -energy if buys else energy
    return [int(net[under].sum()) for under in below(case)]


def claim(case: Case, filled_wh: Sequence[int], prices: Sequence[int]) -> PoolClearing:
    """Dress energies up as a clearing with consistent flows, zones and cuts.

    Zones beyond the given prices take the last price.
    """
    flow, lines, o = net_flows(case, filled_wh), case.lines, case.orders
    zone_of_bus: list[int] = []
    heads: list[int] = []
    for bus, parent in enumerate(lines.parent.tolist()):
        if bus and -lines.down_wh[bus] < flow[bus] < lines.up_wh[bus]:
            zone_of_bus.append(zone_of_bus[parent])
        else:
            zone_of_bus.append(len(heads))
            heads.append(bus)
    cuts: list[list[Cut | None]] = [[None, None] for _ in heads]
    for i, bus in enumerate(case.bus()):
        if filled_wh[i]:
            cut = Cut(int(o.limit_uyuan_per_kwh[i]), int(o.seq[i]), filled_wh[i])
            pair, side = cuts[zone_of_bus[bus]], int(not o.is_buy[i])
            now, sign = pair[side], 1 if o.is_buy[i] else -1
            if now is None or (sign * cut[0], -cut[1]) < (sign * now[0], -now[1]):
                pair[side] = cut
    zones = [
        Zone(head, prices[min(number, len(prices) - 1)], *cuts[number])
        for number, head in enumerate(heads)
    ]
    return PoolClearing(
        rule=case.rule,
        planned_uyuan_per_kwh=case.planned,
        filled_wh=np.array(filled_wh, dtype=np.int64),
        flow_wh=np.array(flow, dtype=np.int64),
        zone_of_bus=np.array(zone_of_bus, dtype=np.int64),
        zones=tuple(zones),
    )
