"""The day of a scenario on the market: who orders what, what meters will read, how time passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from market.clearing import Rule
from market.deployment import Market
from market.messages import Order, Step, compact
from market.operator import Operator
from market.orders import SignedOrder
from market.types import Options
from scripts.demo.errors import DemoError
from scripts.demo.ledger import Ledger
from scripts.demo.meters import Meters
from scripts.demo.people import People
from scripts.demo.stage import Stage
from scripts.demo.village import TRADER, Readings, Village
from scripts.simulate.book import NOTHING, fills
from scripts.simulate.delivery import OPTIONS
from scripts.simulate.play import Outcome, Play

AHEAD = 96
"""Periods that can be ordered ahead, from the first whose gate is open."""


class Day:
    """A scenario laid over the market's periods.

    Everybody plans the day before it begins: batteries and plants follow the clearings of a
    rehearsal without a chain. What the chain makes of the same orders is its own affair.

    Attributes:
        village: Who trades.
        periods: The market's periods.
        outcomes: The rehearsal, one entry a period.
    """

    def __init__(self, village: Village, first_period: int, count: int) -> None:
        """Plan nothing yet.

        Args:
            village: Who trades.
            first_period: The market's period of the scenario's first row.
            count: How many of the scenario's periods to play.
        """
        self.village = village
        self.periods = range(first_period, first_period + count)
        self.outcomes: list[Outcome] = []

    def rehearse(self, rule: Rule, progress: Callable[[int], None]) -> None:
        """Have everybody decide on orders, period by period.

        Args:
            rule: The market's rule.
            progress: Told how many more periods are planned.

        Raises:
            GridError: If the power flow of a clearing has no solution.
            DispatchError: If the cheapest dispatch cannot be found.
        """
        play = Play(self.village.world, rule)
        for row in self.village.world.scenario.rows[: len(self.periods)]:
            self.outcomes.append(play.period(row))
            progress(1)

    def outcome(self, period: int) -> Outcome:
        """Return what the rehearsal made of a period."""
        return self.outcomes[period - self.periods.start]

    def orders(self, period: int) -> list[Order]:
        """Return the orders of a period as they arrive, one a node."""
        book, steps = self.outcome(period).orders, dict[int, list[Step]]()
        columns = (book.node, book.is_buy, book.energy_wh, book.limit_uyuan_per_kwh)
        for node, buys, energy_wh, limit in zip(*(c.tolist() for c in columns), strict=True):
            steps.setdefault(node, []).append(Step(not buys, energy_wh, limit))
        option = {m.node: OPTIONS[m.meter.role] for m in self.village.world.members}
        return [
            Order(node, period, period, tuple(given), options=option.get(node, Options.NONE))
            for node, given in steps.items()
        ]

    def readings(self) -> Readings:
        """Return what every meter of the village will read."""
        world, read = self.village.world, Readings()
        for period in self.periods:
            outcome = self.outcome(period)
            for member in world.members:
                name = member.meter.meter
                read[name, period] = outcome.readings.get(name)
            traded = fills(outcome.clearing, outcome.orders).get(world.trader, NOTHING)
            read[TRADER, period] = (traded.bought_wh, traded.sold_wh)
        return read

    def forecasts_wh(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return the import and export that members expect, by node and period."""
        world = self.village.world
        return {
            (member.node, period): expected.get(member.meter.meter, (0, 0))
            for period in self.periods
            for expected in [world.forecast(self.outcome(period).row)]
            for member in world.members
        }


class Desk:
    """Signs the day's orders for their members and has the operator relay them."""

    def __init__(self, market: Market, people: People, day: Day) -> None:
        """Open a desk."""
        self._people = people
        self._domain = market.domain
        self._operator = Operator(market, people.relayer)
        self._day = day
        self._next = day.periods.start
        self.placed = 0

    def place(self, running: int, progress: Callable[[int], None] = lambda _: None) -> None:
        """Place the orders of all periods that can be ordered and are not yet, a batch a period.

        Args:
            running: The running period; the gate of the next one has closed.
            progress: Told when one more period is ordered.

        Raises:
            DemoError: If the book skips an order.
        """
        last = min(self._day.periods.stop, running + 2 + AHEAD)
        for period in range(self._next, last):
            signed = [*self._signed(period)]
            if refused := self._operator.relay(period, signed):
                raise DemoError(
                    f"{refused[0]}, in period {period}; this is a bug of the demo, please report it"
                )
            self.placed += len(signed)
            self._next = period + 1
            progress(1)

    def _signed(self, period: int) -> Iterator[SignedOrder]:
        for order in self._day.orders(period):
            owner = self._people.owner(order.node)
            yield SignedOrder(order, compact(order.sign(owner, self._domain)))


class Clockwork:
    """Lets the time of the market pass, quarter hour by quarter hour."""

    def __init__(
        self,
        stage: Stage,
        ledger: Ledger,
        meters: Meters,
        last_period: int,
        alive: Callable[[], None],
    ) -> None:
        """Wind up the clock.

        Args:
            stage: The market and its chain.
            ledger: What has become of the periods.
            meters: Tell what was measured until a period begins.
            last_period: Last period that trades.
            alive: Raises if the committee is gone.
        """
        self._stage = stage
        self._ledger = ledger
        self._meters = meters
        self._last = last_period
        self._alive = alive
        self._now = -1

    def reach(self, period: int) -> None:
        """Let the time pass until a period has begun."""
        while self._now < period:
            self._begin(self._now + 1)
            self._await()

    def play(
        self,
        periods: Sequence[int],
        on_settled: Callable[[int], None],
        on_begun: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Let the time pass until some consecutive periods are settled.

        Every step begins a period. The committee then clears the next one, whose gate has closed,
        and reports and settles the one that has ended.

        Args:
            periods: The periods, later than those played before.
            on_settled: Told of every period once it is settled, in order.
            on_begun: Told of every period that has begun.
        """
        told = periods[0]
        while told <= periods[-1]:
            if self._now > periods[-1]:
                on_settled(told)
                told += 1
                continue
            self._begin(self._now + 1)
            on_begun(self._now)
            if told < self._now - 1:
                # Read while the committee is busy with the next one.
                on_settled(told)
                told += 1
            self._await()

    def _begin(self, period: int) -> None:
        self._now = period
        self._meters.tell(period)
        self._stage.until("telling what the meters read", self._meters.heard, self._alive)
        self._stage.warp(self._stage.market.schedule.start(period))
        if period <= self._last:
            # On its way while the committee is busy: the close comes as soon as it is done.
            self._meters.tell(period + 1)

    def _await(self) -> None:
        now, ledger = self._now, self._ledger
        if now < self._last:
            self._stage.until(
                f"clearing period {now + 1}", lambda: ledger.cleared(now + 1), self._alive
            )
        if now > 1:
            self._stage.until(
                f"settling period {now - 1}", lambda: ledger.settled(now - 1), self._alive
            )
