"""After a clearing: batteries and curtailed plants follow it, meters tell, bills come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from market.bill import Settlement
from market.clearing import Clearing, Feeder
from market.grid import IntArray
from market.settlement import settle
from market.strategies import Battery
from market.types import MeterReading, Options, Position, Quality
from oracle.meters.roster import Role
from scripts.simulate.book import NOTHING, Fill
from scripts.simulate.world import Energies, World

OPTIONS = {
    Role.GENERATOR: Options.OFFER,
    Role.STORAGE: Options.RESERVE,
    Role.CONSUMER: Options.TAKE,
    Role.PROSUMER: Options.OFFER | Options.TAKE,
}
"""What every kind of node lets the market do with its deviation."""


NEARLY_FULL_PERCENT = 90
"""From here on reactive power, which the linear flow does not see, may overload a line."""


@dataclass(frozen=True, slots=True)
class Move:
    """How a node follows its trades.

    Attributes:
        drawn_wh: What its battery draws: what it bought beyond its expected need.
        given_wh: What its battery gives: what it sold beyond its expected surplus.
        most_wh: Most that its plant feeds in, None for all there is.
    """

    drawn_wh: int = 0
    given_wh: int = 0
    most_wh: int | None = None


def moves(
    world: World,
    forecast: Energies,
    fills: Mapping[int, Fill],
    batteries: Mapping[int, Battery],
    clearing: Clearing,
    feeder: Feeder,
) -> dict[int, Move]:
    """Return how every member follows a clearing.

    A plant feeds in no more than it sold if a line between it and the feed is full of trades, or
    would be nearly full of everything that is expected.
    """
    free = {}
    for m in world.members:
        fill = fills.get(m.node, NOTHING)
        import_wh, export_wh = forecast.get(m.meter.meter, (0, 0))
        drawn_wh = given_wh = 0
        if m.node in batteries:
            drawn_wh = max(0, fill.bought_wh - max(0, import_wh - export_wh))
            given_wh = max(0, fill.sold_wh - max(0, export_wh - import_wh))
        free[m.node] = Move(drawn_wh, given_wh)
    if not world.scenario.wires.curtail:
        return free
    flow_wh = world.flow_wh(physical(world, forecast, free))
    held = clearing.flow_wh == feeder.up_wh
    held |= 100 * flow_wh > NEARLY_FULL_PERCENT * world.limits_wh
    held[0] = False
    for bus, parent in enumerate(feeder.parent.tolist()):
        held[bus] |= held[parent]
    result = {}
    for m in world.members:
        move = free[m.node]
        if m.strategy is not None and held[m.bus]:
            import_wh, _ = forecast.get(m.meter.meter, (0, 0))
            sold_wh = fills.get(m.node, NOTHING).sold_wh
            move = replace(move, most_wh=import_wh + sold_wh - move.given_wh)
        result[m.node] = move
    return result


def physical(world: World, energies: Energies, moves: Mapping[int, Move]) -> Energies:
    """Return what members draw and feed in, from what their meters would read by themselves."""
    result = {}
    for m in world.members:
        import_wh, export_wh = energies.get(m.meter.meter, (0, 0))
        move = moves[m.node]
        if move.most_wh is not None:
            export_wh = min(export_wh, move.most_wh)
        result[m.meter.meter] = (import_wh + move.drawn_wh, export_wh + move.given_wh)
    return result


def net_wh(world: World, energies: Energies, trader: Fill) -> IntArray:
    """Return what each member, and last the trader, feeds in less what it draws, Wh."""
    net = [energies[m.meter.meter][1] - energies[m.meter.meter][0] for m in world.members]
    return np.array([*net, trader.sold_wh - trader.bought_wh], dtype=np.int64)


def settled(
    world: World, row: int, metered: Energies, fills: Mapping[int, Fill]
) -> tuple[Settlement, dict[int, int]]:
    """Settle a period, and as if every node traded with the grid company only.

    Args:
        world: The world.
        row: The period's row of the profiles.
        metered: What the meters read; those that are missing are silent.
        fills: What each node traded.

    Returns:
        The settlement, and the net of each member alone, micro-yuan.
    """
    prices = world.prices(row)
    readings = [
        MeterReading(m.node, Quality.MEASURED, metered[m.meter.meter][1], metered[m.meter.meter][0])
        for m in world.members
        if m.meter.meter in metered
    ]
    if world.trader in fills:
        own = fills[world.trader]
        readings.append(MeterReading(world.trader, Quality.MEASURED, own.sold_wh, own.bought_wh))
    options = {m.node: OPTIONS[m.meter.role] for m in world.members}
    positions = [
        Position(
            node,
            options.get(node, Options.NONE),
            f.sold_wh,
            f.bought_wh,
            f.receive_nyuan,
            f.pay_nyuan,
        )
        for node, f in fills.items()
    ]
    alone = {r.node: settle([], [r], prices).bills[0].net_uyuan for r in readings}
    # The trader is no load: without a market it would trade elsewhere or not at all.
    alone.pop(world.trader, None)
    return settle(positions, readings, prices), alone
