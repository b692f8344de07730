"""Trades within a feeder's headroom, and the price of every zone (docs/clearing.md, section 4)."""

from typing import NamedTuple

import numpy as np

from market.clearing.feeder import Contraction, Feeder, connect, sum_by
from market.clearing.orders import Band, Flags, Ints, Orders, Rule, merit_keys, numbered
from market.clearing.result import Cut, PoolClearing, Zone


class Ranked(NamedTuple):
    """Eligible orders by ascending key; all columns ``[m]``."""

    at: Ints
    """Places in the book."""
    is_buy: Flags
    energy_wh: Ints
    bus: Ints


class _Curve(NamedTuple):
    """Net supply of a subtree over the rising marginal key.

    It starts at ``base_wh`` and rises at each event by ``jump_wh``, to ``after_wh``.
    """

    rank: Ints
    """Event by event, ascending: the order whose key is passed."""
    jump_wh: Ints
    after_wh: Ints
    child: Ints
    """Child whose curve the event comes from, -1 for an order of this bus."""
    base_wh: int


def clear_pool(
    rule: Rule,
    orders: Orders,
    at: Ints,
    band: Band,
    feeder: Feeder | None,
    planned_uyuan_per_kwh: int | None = None,
) -> PoolClearing:
    """Clear eligible orders at one price per zone.

    Args:
        rule: `planned` or `uniform`.
        orders: The book.
        at: Places of the eligible orders.
        band: Where a zone's price lies if its orders do not bound it.
        feeder: The lines; None for none.
        planned_uyuan_per_kwh: The price, under `planned`.

    Raises:
        FeederError: An order's bus is not on the feeder.
    """
    feeder, bus = connect(orders, feeder)
    at = at[np.argsort(merit_keys(orders)[at])]
    ranked = Ranked(at, orders.is_buy[at], orders.energy_wh[at], bus[at])
    filled, flow = _fill(ranked, feeder)
    zones = feeder.contracted((flow > -feeder.down_wh) & (flow < feeder.up_wh))
    filled_wh = np.zeros(len(orders), dtype=np.int64)
    filled_wh[at] = filled
    return PoolClearing(
        rule=rule,
        planned_uyuan_per_kwh=planned_uyuan_per_kwh,
        filled_wh=filled_wh,
        flow_wh=flow,
        zone_of_bus=zones.zone_of_bus,
        zones=_price(orders, ranked, filled, zones, flow, band, planned_uyuan_per_kwh),
    )


def _fill(ranked: Ranked, feeder: Feeder) -> tuple[Ints, Ints]:
    """Find what each order trades, the one maximum of section 4, and the flow of each line.

    Lines count from the moment a solution without them overloads them: one that overloads none is
    the maximum with all of them, and few lines of a feeder ever bind.
    """
    ignored = np.ones(len(feeder), dtype=np.bool_)
    while True:
        lines = feeder.contracted(ignored)
        passed = _pass_keys(ranked, lines.feeder, lines.zone_of_bus[ranked.bus])
        filled = np.where(ranked.is_buy, ranked.energy_wh - passed, passed)
        net = sum_by(ranked.bus, np.where(ranked.is_buy, -filled, filled), len(feeder))
        flow = feeder.flows(net)
        overloaded = (flow < -feeder.down_wh) | (flow > feeder.up_wh)
        overloaded[0] = False
        if not overloaded.any():
            return filled, flow
        ignored &= ~overloaded


def _pass_keys(ranked: Ranked, feeder: Feeder, bus: Ints) -> Ints:
    """Find how much of each order lies below the marginal key of its bus, Wh, ``int64[m]``.

    Curves are merged from the leaves to the root and cut at every line; net supply is 0 at the
    root, and each subtree's flow follows from its parent's.
    """
    by_bus = np.argsort(numbered(bus)) if len(feeder) > 1 else np.arange(len(bus))
    ends = np.searchsorted(bus[by_bus], np.arange(len(feeder) + 1)).tolist()
    parent, up, down = feeder.parent.tolist(), feeder.up_wh.tolist(), feeder.down_wh.tolist()
    inbox: list[list[tuple[int, int, Ints, Ints]]] = [[] for _ in range(len(feeder))]
    curves: list[_Curve] = []
    for v in range(len(feeder) - 1, -1, -1):
        curve = _merge(ranked, by_bus[ends[v] : ends[v + 1]], inbox[v])
        inbox[v].clear()
        curves.append(curve)
        if v:
            before = np.clip(curve.after_wh - curve.jump_wh, -down[v], up[v])
            kept = np.clip(curve.after_wh, -down[v], up[v]) - before
            some = kept > 0
            base = max(curve.base_wh, -down[v])
            inbox[parent[v]].append((v, base, curve.rank[some], kept[some]))
    curves.reverse()
    passed = np.zeros(len(bus), dtype=np.int64)
    supply = np.zeros(len(feeder), dtype=np.int64)
    for v, curve in enumerate(curves):
        # `supply` holds what the parent passed of v's curve; its base was cut at the line.
        if v:
            supply[v] += max(curve.base_wh, -down[v])
        part = np.clip(supply[v] - (curve.after_wh - curve.jump_wh), 0, curve.jump_wh)
        own = curve.child < 0
        passed[curve.rank[own]] = part[own]
        np.add.at(supply, curve.child[~own], part[~own])
    return passed


def _merge(ranked: Ranked, own: Ints, children: list[tuple[int, int, Ints, Ints]]) -> _Curve:
    jump = ranked.energy_wh[own]
    base = -int(jump[ranked.is_buy[own]].sum())
    child = np.full(len(own), -1, dtype=np.int64)
    rank = own
    if children:
        base += sum(child_base for _, child_base, _, _ in children)
        rank = np.concatenate([own, *(ranks for _, _, ranks, _ in children)])
        jump = np.concatenate([jump, *(jumps for _, _, _, jumps in children)])
        sources = [np.full(len(ranks), v, dtype=np.int64) for v, _, ranks, _ in children]
        child = np.concatenate([child, *sources])
        order = np.argsort(rank)
        rank, jump, child = rank[order], jump[order], child[order]
    return _Curve(rank, jump, base + np.cumsum(jump), child, base)


def _price(
    orders: Orders,
    ranked: Ranked,
    filled: Ints,
    zones: Contraction,
    flow_wh: Ints,
    band: Band,
    planned_uyuan_per_kwh: int | None,
) -> tuple[Zone, ...]:
    """Find each zone's price and cuts."""
    zone = zones.zone_of_bus[ranked.bus]
    trades, wants = filled > 0, filled < ranked.energy_wh
    bid, ask, count = ranked.is_buy, ~ranked.is_buy, len(zones.feeder)
    low = _last(np.where(bid, wants, trades), zone, count)
    high = _first(np.where(bid, trades, wants), zone, count)
    _spread(low, high, zones.feeder, flow_wh[zones.head_bus].tolist())
    limit = orders.limit_uyuan_per_kwh[ranked.at]

    def cut(rank: int) -> Cut | None:
        if not 0 <= rank < len(limit):
            return None
        return Cut(int(limit[rank]), int(orders.seq[ranked.at[rank]]), int(filled[rank]))

    def price(low_rank: int, high_rank: int) -> int:
        if planned_uyuan_per_kwh is not None:
            return planned_uyuan_per_kwh
        least = band.low_uyuan_per_kwh if low_rank < 0 else int(limit[low_rank])
        most = band.high_uyuan_per_kwh if high_rank == len(limit) else int(limit[high_rank])
        return (least + most) // 2

    bid_cuts = _first(trades & bid, zone, count)
    ask_cuts = _last(trades & ask, zone, count)
    heads = zones.head_bus.tolist()
    columns = zip(heads, low, high, bid_cuts, ask_cuts, strict=True)
    return tuple(Zone(head, price(lo, hi), cut(b), cut(a)) for head, lo, hi, b, a in columns)


def _last(among: Flags, zone: Ints, zones: int) -> list[int]:
    """Highest rank among the marked orders of each zone, -1 without any."""
    ranks = np.flatnonzero(among)
    highest = np.full(zones, -1, dtype=np.int64)
    np.maximum.at(highest, zone[ranks], ranks)
    return [int(rank) for rank in highest]


def _first(among: Flags, zone: Ints, zones: int) -> list[int]:
    """Lowest rank among the marked orders of each zone, the number of orders without any."""
    ranks = np.flatnonzero(among)
    lowest = np.full(zones, len(among), dtype=np.int64)
    np.minimum.at(lowest, zone[ranks], ranks)
    return [int(rank) for rank in lowest]


def _spread(low: list[int], high: list[int], tree: Feeder, flow_wh: list[int]) -> None:
    """Carry low ranks downstream and high ranks upstream, through any number of zones.

    A path in a tree climbs first and then descends: one pass from the leaves, one from the root.
    """
    parent, up, down = tree.parent.tolist(), tree.up_wh.tolist(), tree.down_wh.tolist()
    edges = []
    for z in range(1, len(tree)):
        binds_up, binds_down = flow_wh[z] == up[z], flow_wh[z] == -down[z]
        if binds_up != binds_down:
            edges.append((z, parent[z]) if binds_up else (parent[z], z))
    for passes in (reversed(edges), iter(edges)):
        for upstream, downstream in passes:
            low[downstream] = max(low[downstream], low[upstream])
            high[upstream] = min(high[upstream], high[downstream])
