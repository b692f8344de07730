"""What everybody orders for a period, and what a clearing makes of it by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from market.auction import trading_band
from market.clearing import Band, Clearing, Feeder, Orders, PoolClearing
from market.grid import IntArray
from market.messages import Step
from market.prices import PeriodPrices
from market.strategies import Battery, Situation
from oracle.meters.roster import Role
from scripts.simulate.world import PERIOD_S, Energies, World, within


@dataclass(slots=True)
class Fill:
    """What a node's order came to."""

    sold_wh: int = 0
    bought_wh: int = 0
    receive_nyuan: int = 0
    pay_nyuan: int = 0


NOTHING = Fill()


class Wish(NamedTuple):
    """What one node orders for a period: its id, its bus, its steps."""

    node: int
    bus: int
    steps: tuple[Step, ...]


def wishes(
    world: World, row: int, forecast: Energies, batteries: Mapping[int, Battery]
) -> list[Wish]:
    """Ask every strategy for its order and let the orders arrive by chance.

    Args:
        world: The world.
        row: The period's row of the profiles.
        forecast: What the members expect.
        batteries: Batteries as they are now, by node.

    Returns:
        Orders with at least one step, in the order of arrival.
    """
    band = trading_band(world.prices(row))
    plan = tuple(p.planned_uyuan_per_kwh for p in world.day_prices)
    entries = []
    for m in world.members:
        if m.strategy is not None:
            situation = Situation(
                *forecast.get(m.meter.meter, (0, 0)),
                band,
                within(band, m.value_percent),
                within(band, m.cost_percent),
                *m.capacities_wh,
                plan,
                batteries.get(m.node),
            )
            steps = m.strategy.steps(situation, world.rng(1, row, m.node))
            entries.append(Wish(m.node, m.bus, steps))
    entries.append(Wish(world.trader, 0, _trader_steps(world, band)))
    arrival = world.rng(2, row).permutation(len(entries)).tolist()
    return [entries[i] for i in arrival if entries[i].steps]


def book(arrived: Sequence[Wish]) -> Orders:
    """Return the book of orders that arrived one after the other."""
    rows = [
        (wish.node, wish.bus, int(not step.sells), step.energy_wh, step.limit_uyuan_per_kwh)
        for wish in arrived
        for step in wish.steps
    ]
    node, bus, buys, energy_wh, limit = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return Orders(node, bus, buys.astype(np.bool_), energy_wh, limit, np.arange(len(rows)))


def _trader_steps(world: World, band: Band) -> tuple[Step, ...]:
    trader = world.scenario.trader
    if trader is None:
        return ()
    bid = Step(False, trader.buys_w * PERIOD_S // 3600, within(band, trader.bid))
    ask = Step(True, trader.sells_w * PERIOD_S // 3600, within(band, trader.ask))
    apart = bid.limit_uyuan_per_kwh < ask.limit_uyuan_per_kwh or not bid.energy_wh
    return tuple(s for s in (bid, ask) if s.energy_wh and (apart or not s.sells))


def otherwise_uyuan_per_kwh(world: World, orders: Orders, prices: PeriodPrices) -> IntArray:
    """Return gamma of Peng Eq. 8: loads that nobody serves buy at retail, others do without."""
    loads = [m.node for m in world.members if m.meter.role is Role.CONSUMER]
    return np.where(np.isin(orders.node, loads), prices.retail_uyuan_per_kwh, 0)


def fills(clearing: Clearing, orders: Orders) -> dict[int, Fill]:
    """Sum a clearing by node, in ascending id."""
    result = {node: Fill() for node in sorted(set(orders.node.tolist()))}
    columns = (orders.node, orders.is_buy, clearing.filled_wh)
    rows = zip(*(c.tolist() for c in columns), clearing.amounts_nyuan(orders), strict=True)
    for node, buys, energy_wh, amount_nyuan in rows:
        fill = result[node]
        if buys:
            fill.bought_wh += energy_wh
            fill.pay_nyuan += amount_nyuan
        else:
            fill.sold_wh += energy_wh
            fill.receive_nyuan += amount_nyuan
    return result


def binding_lines(clearing: Clearing, feeder: Feeder) -> tuple[int, ...]:
    """Return the lines that carry all they may while energy flows, by the bus below."""
    flow = clearing.flow_wh
    full = (flow == feeder.up_wh) | (flow == -feeder.down_wh)
    return tuple(np.flatnonzero(full & (flow != 0)).tolist())


def traded_prices(clearing: Clearing) -> list[int]:
    """Return the prices (uyuan/kWh) of the zones in which something trades.

    Under `pairwise`, which knows no zones, the lowest and the highest price of a pair.
    """
    if isinstance(clearing, PoolClearing):
        return [z.price_uyuan_per_kwh for z in clearing.zones if z.bid_cut or z.ask_cut]
    pairs = clearing.pairs
    traded = pairs.price_uyuan_per_kwh[pairs.filled_wh > 0].tolist()
    return [min(traded), max(traded)] if traded else []
