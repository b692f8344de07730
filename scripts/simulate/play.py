"""Plays a world under one rule: order, clear, check, deliver, settle, period by period."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from market.auction import Auction, trading_band
from market.bill import Settlement
from market.clearing import (
    MAX_HEADROOM_WH,
    Clearing,
    Feeder,
    Orders,
    Rule,
    Totals,
    totals,
)
from market.clearing.orders import eligible
from market.dispatch import Dispatch, cost_of, dispatch
from market.grid import IntArray
from market.powerflow import Direction, Violation
from market.prices import PeriodPrices
from market.strategies import Battery
from scripts.simulate.book import (
    NOTHING,
    Fill,
    binding_lines,
    book,
    fills,
    otherwise_uyuan_per_kwh,
    wishes,
)
from scripts.simulate.delivery import Move, moves, net_wh, physical, settled
from scripts.simulate.world import Energies, World


@dataclass(frozen=True, slots=True)
class Derate:
    """A line that the AC check tightened for a period.

    Attributes:
        line: The line, named by the bus below it.
        direction: Which way.
        limit_wh: Its headroom from then on.
        because: What was beyond its limit.
    """

    line: int
    direction: Direction
    limit_wh: int
    because: Violation


@dataclass(frozen=True)
class Outcome:
    """A period.

    Attributes:
        row: Its row of the profiles.
        prices: Its prices.
        orders: Its book.
        feeder: Lines and the headroom that held in the end.
        clearing: Its clearing.
        totals: The clearing in five numbers.
        cost_nyuan: What the clearing costs by Peng Eq. 8.
        best: The cheapest dispatch within the lines.
        unwired: The cheapest dispatch without lines.
        derates: What the AC check tightened on the way, in order.
        unmended: What is still beyond its limit.
        readings: Import and export that the members' meters told, Wh; silent ones are missing.
        metered_net_wh: What each member, and last the trader, fed in less what it drew, Wh.
        settlement: Its bills.
        alone_uyuan: Net of each member that is read, as if it traded with the grid company only.
    """

    row: int
    prices: PeriodPrices
    orders: Orders
    feeder: Feeder
    clearing: Clearing
    totals: Totals
    cost_nyuan: int
    best: Dispatch
    unwired: Dispatch
    derates: tuple[Derate, ...]
    unmended: tuple[Violation, ...]
    readings: Energies
    metered_net_wh: IntArray
    settlement: Settlement
    alone_uyuan: Mapping[int, int]

    @property
    def binding(self) -> tuple[int, ...]:
        """Lines that carry all they may while energy flows, by the bus below."""
        return binding_lines(self.clearing, self.feeder)


@dataclass(frozen=True)
class _Attempt:
    """A clearing with what follows from it."""

    clearing: Clearing
    feeder: Feeder
    fills: dict[int, Fill]
    moves: dict[int, Move]
    found: tuple[Violation, ...]


class Play:
    """One rule's run of a world; batteries carry over from period to period."""

    def __init__(self, world: World, rule: Rule) -> None:
        """Begin with the batteries as the scenario has them."""
        self._world = world
        self._rule = rule
        self._batteries: dict[int, Battery] = {
            m.node: m.battery for m in world.members if m.battery is not None
        }

    def run(self, progress: Callable[[int], None] = lambda _: None) -> list[Outcome]:
        """Play all periods.

        Args:
            progress: Told how many more are done.

        Raises:
            GridError: If the power flow of a clearing has no solution.
        """
        outcomes = []
        for row in self._world.scenario.rows:
            outcomes.append(self.period(row))
            progress(1)
        return outcomes

    def period(self, row: int) -> Outcome:
        """Play the next period.

        Raises:
            GridError: If the power flow of its clearing has no solution.
        """
        world = self._world
        prices, forecast = world.prices(row), world.forecast(row)
        orders = book(wishes(world, row, forecast, self._batteries))

        def attempt(feeder: Feeder) -> _Attempt:
            auction = Auction.of(self._rule, orders, prices, feeder)
            clearing = auction.clear()
            auction.check(clearing)
            filled = fills(clearing, orders)
            how = moves(world, forecast, filled, self._batteries, clearing, feeder)
            expected = physical(world, forecast, how)
            net = net_wh(world, expected, filled.get(world.trader, NOTHING))
            found = world.ac.run(world.injections(net[None, :])).violations(0)
            return _Attempt(clearing, feeder, filled, how, found)

        last, derates = self._regame(attempt, world.headroom(forecast))
        at = eligible(orders, trading_band(prices))
        gamma = otherwise_uyuan_per_kwh(world, orders, prices)
        beta = world.scenario.wires.line_uyuan_per_kwh
        read = world.actual(row)
        metered = physical(world, read, last.moves)
        readings = {meter: metered[meter] for meter in read}
        settlement, alone = settled(world, row, readings, last.fills)
        for node, battery in self._batteries.items():
            move = last.moves[node]
            self._batteries[node] = battery.after(move.drawn_wh, move.given_wh)
        return Outcome(
            row=row,
            prices=prices,
            orders=orders,
            feeder=last.feeder,
            clearing=last.clearing,
            totals=totals(last.clearing, orders),
            cost_nyuan=cost_of(last.clearing, orders, at, gamma, beta),
            best=dispatch(orders, at, gamma, last.feeder, beta),
            unwired=dispatch(orders, at, gamma, _boundless(last.feeder), beta),
            derates=derates,
            unmended=last.found,
            readings=readings,
            metered_net_wh=net_wh(world, metered, last.fills.get(world.trader, NOTHING)),
            settlement=settlement,
            alone_uyuan=alone,
        )

    def _regame(
        self, attempt: Callable[[Feeder], _Attempt], feeder: Feeder
    ) -> tuple[_Attempt, tuple[Derate, ...]]:
        """Clear until the AC check is content, tightening a line each time (Sun III-A)."""
        derates: list[Derate] = []
        last = attempt(feeder)
        while len(derates) < self._world.scenario.wires.derates:
            derate = _derate(last.found, last.clearing)
            if derate is None:
                break
            derates.append(derate)
            last = attempt(_derated(last.feeder, derate))
        return last, tuple(derates)


def _derate(found: Iterable[Violation], clearing: Clearing) -> Derate | None:
    """Choose the first violation that less trade can mend, and how much less."""
    for violation in found:
        sign = 1 if violation.direction is Direction.UP else -1
        traded_wh = sign * int(clearing.flow_wh[violation.line])
        # What the line carries besides the clearing stays, whatever is cut.
        limit_wh = max(0, violation.limit_wh - (violation.flow_wh - traded_wh))
        if limit_wh < traded_wh:
            return Derate(violation.line, violation.direction, limit_wh, violation)
    return None


def _derated(feeder: Feeder, derate: Derate) -> Feeder:
    up_wh, down_wh = feeder.up_wh.copy(), feeder.down_wh.copy()
    (up_wh if derate.direction is Direction.UP else down_wh)[derate.line] = derate.limit_wh
    return replace(feeder, up_wh=up_wh, down_wh=down_wh)


def _boundless(feeder: Feeder) -> Feeder:
    """Return the same lines as wide as can be, so that their cost still counts."""
    room = np.full(len(feeder), MAX_HEADROOM_WH)
    return replace(feeder, up_wh=room, down_wh=room)
