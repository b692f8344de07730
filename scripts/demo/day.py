"""A real day of the village: who agrees on what, and how the time passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from market.messages import Agreement, Declaration
from market.prices import PeriodPrices
from market.types import Options
from oracle.meters.roster import Role
from scripts.demo.ledger import Ledger
from scripts.demo.orders import OrderDesk
from scripts.demo.pairing import pair
from scripts.demo.stage import Stage
from scripts.demo.terms import PERIODS_PER_DAY
from scripts.demo.village import Readings, Village

OPTIONS = {
    Role.GENERATOR: Options.OFFER,
    Role.STORAGE: Options.RESERVE,
    Role.CONSUMER: Options.TAKE,
    Role.PROSUMER: Options.OFFER | Options.TAKE,
}
"""What every kind of node lets the market do with its deviation."""


@dataclass(frozen=True)
class Day:
    """A day of the village's profiles laid over the market's periods.

    Attributes:
        village: The village.
        number: Day of the profiles, from 1.
        periods: The market's periods it plays.
    """

    village: Village
    number: int
    periods: range

    def row(self, period: int) -> int:
        """Return the row of the profiles that a period plays."""
        return self.number * PERIODS_PER_DAY + period - self.periods.start

    def readings(self) -> Readings:
        """Return what every meter of the village will measure."""
        return {
            (node.name, period): self.village.actual_wh(node, self.row(period))
            for period in self.periods
            for node in self.village.nodes
        }

    def forecast_wh(self, period: int) -> tuple[int, int]:
        """Return what the village expects to draw and to feed in."""
        expected = [self.village.forecast_wh(n, self.row(period)) for n in self.village.nodes]
        return sum(e[0] for e in expected), sum(e[1] for e in expected)

    def agreements(self, desk: OrderDesk, prices: Mapping[int, PeriodPrices]) -> list[Agreement]:
        """Pair the forecasts of every period, at its planned price."""
        option = {node.id: OPTIONS[node.meter.role] for node in self.village.nodes}
        return [
            desk.agreement(
                period, p, prices[period].planned_uyuan_per_kwh, option[p.seller], option[p.buyer]
            )
            for period in self.periods
            for p in pair(*self._expected(period))
        ]

    def declarations(self) -> list[Declaration]:
        """Have every storage declare itself a reserve in every period."""
        storages = [n.id for n in self.village.nodes if n.meter.role is Role.STORAGE]
        return [Declaration(p, s, Options.RESERVE) for p in self.periods for s in storages]

    def _expected(self, period: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        exports: list[tuple[int, int]] = []
        imports: list[tuple[int, int]] = []
        for node in self.village.nodes:
            import_wh, export_wh = self.village.forecast_wh(node, self.row(period))
            exports.append((node.id, export_wh))
            imports.append((node.id, import_wh))
        return exports, imports


class Clockwork:
    """Lets the time of the market pass, quarter hour by quarter hour."""

    def __init__(
        self, stage: Stage, ledger: Ledger, last_period: int, alive: Callable[[], None]
    ) -> None:
        """Wind up the clock.

        Args:
            stage: The market and its chain.
            ledger: What has become of the periods.
            last_period: Last period with a book.
            alive: Raises if the committee is gone.
        """
        self._stage = stage
        self._ledger = ledger
        self._last = last_period
        self._alive = alive
        self._now = -1

    def play(self, periods: Sequence[int], on_settled: Callable[[int], None]) -> None:
        """Let the time pass until some consecutive periods are settled.

        Every step begins a period. The committee then clears the next one, whose gate has closed,
        and reports and settles the one that has ended.

        Args:
            periods: The periods, the next after those played before.
            on_settled: Told of every period once it is settled, in order.
        """
        told = periods[0]
        while told <= periods[-1]:
            if self._now > periods[-1]:
                on_settled(told)
                told += 1
                continue
            self._begin(self._now + 1)
            if told < self._now - 1:
                # Read while the committee is busy with the next one.
                on_settled(told)
                told += 1
            self._await()

    def _begin(self, period: int) -> None:
        self._now = period
        self._stage.warp(self._stage.market.schedule.start(period))

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
