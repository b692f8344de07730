"""Plays the demo from an empty chain to the summary."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType

from market.chain import Reverted
from market.devnet import Anvil
from market.history import History
from market.prices import ORDERED_FIELDS, PeriodPrices
from market.tariff import calibrate, day_ahead
from oracle.meters.roster import meter_key
from scripts.demo import story, summary, tables
from scripts.demo.committee import Committee
from scripts.demo.day import Clockwork, Day
from scripts.demo.errors import DemoError
from scripts.demo.figures import Figures, figures
from scripts.demo.gas import costs
from scripts.demo.ledger import Ledger
from scripts.demo.orders import OrderDesk
from scripts.demo.people import FUNDED, People
from scripts.demo.plot import plot_day
from scripts.demo.show import Advance, Show
from scripts.demo.stage import Stage
from scripts.demo.terms import (
    DAY_AFTER_STORY,
    DAY_ALONE,
    DAY_BENCHMARK,
    FIRST_MIDNIGHT,
    GRID_DEPOSIT_UYUAN,
    LIMITS,
    MEMBER_DEPOSIT_UYUAN,
    OPENING_LEAD_S,
    ORDERS_LEAD_S,
    STORY_PERIODS,
    clock_text,
    midnight_s,
    schedule_of,
)
from scripts.demo.village import Node, Village, write_profiles, write_roster

_PRICE_FIELDS = ORDERED_FIELDS[1:4]


@dataclass(frozen=True)
class Plan:
    """What to play.

    Attributes:
        day: Day of the profiles, from 1.
        periods: How many of its 96 periods.
        story: Whether to tell the paper's story first.
        out: Folder for everything that is written.
    """

    day: int
    periods: int
    story: bool
    out: Path


class Demo:
    """One run of the demo."""

    def __init__(self, plan: Plan, console: Console) -> None:
        """Read the village and lay the day over the market's periods.

        Raises:
            DemoError: If there is no such day.
        """
        self._plan = plan
        self._show = Show(console)
        village = Village(first_node=len(story.NODES) + 1 if plan.story else 1)
        if not 1 <= plan.day < village.days:
            raise DemoError(
                f"there is no day {plan.day}: give --day 1 to {village.days - 1}; day 0 has no "
                "yesterday to forecast from"
            )
        first = DAY_AFTER_STORY if plan.story else DAY_ALONE
        self._day = Day(village, plan.day, range(first, first + plan.periods))
        self._nodes: list[Node] = [*(story.NODES if plan.story else []), *village.nodes]
        self._weather = village.weather(plan.day)
        self._schedule = schedule_of(plan.day, first)
        self._committee_folder = plan.out / "committee"
        self._deployment = plan.out / "deployment.json"

    def run(self) -> bool:
        """Play everything and print the summary.

        Returns:
            Whether every amount was as expected.
        """
        self._clear_out()
        show, schedule = self._show, self._schedule
        genesis_s = schedule.price_opens(0) - OPENING_LEAD_S
        with ExitStack() as stack:
            with show.phase("Private chain and contracts"):
                people = People.of(len(self._nodes))
                anvil = stack.enter_context(Anvil(accounts=FUNDED, genesis_timestamp=genesis_s))
                stage = Stage.build(anvil.url, people, schedule, self._deployment)
            self._write_inputs()
            seats = (self._committee_folder, anvil.url, self._deployment, people.seats)
            committee = stack.enter_context(Committee(*seats))
            with show.phase("Members admitted, money deposited") as advance:
                stage.admit(self._nodes, meter_key)
                stage.publish_benchmark(self._day.periods.start)
                stage.fund(self._nodes)
                advance(0, f"{len(self._nodes)} members")
            return self._play(stage, committee)

    def _play(self, stage: Stage, committee: Committee) -> bool:
        show, periods = self._show, self._day.periods
        ledger, desk = Ledger(stage.market), OrderDesk(stage.market, stage.people)
        with show.phase("Oracle processes vote the day's prices") as advance:
            stage.warp(self._schedule.start(periods.start) - ORDERS_LEAD_S)
            advance(0, f"{self._weather} day expected")
            prices = self._await_prices(stage, committee)
        trades = self._place_orders(desk, prices)
        clockwork = Clockwork(stage, ledger, periods[-1], committee.check)
        outcomes: list[story.Outcome] = []
        if self._plan.story:
            outcomes = self._tell_story(clockwork, ledger)
            show.console.print()
            show.console.print(summary.story_table(outcomes))
        with show.phase(f"{self._date()}, quarter hour by quarter hour", len(periods)) as advance:
            clockwork.play(periods, self._told(ledger, advance))
            advance(0, f"{len(periods)} periods settled")
        return self._sum_up(stage, ledger, trades, outcomes)

    def _await_prices(self, stage: Stage, committee: Committee) -> dict[int, PeriodPrices]:
        """Wait until the committee has fixed all prices of the day, and read them."""
        history = History(stage.market)
        fixed: dict[int, PeriodPrices] = {}

        def all_fixed() -> bool:
            try:
                for period in self._day.periods:
                    if period not in fixed:
                        fixed[period] = history.prices(period)
            except Reverted as exc:
                if exc.error != "PricesNotFixed":
                    raise
                return False
            return True

        stage.until("the vote on the day's prices", all_fixed, committee.check)
        if wrong := [p for p, asked in self._tariff().items() if fixed[p] != asked]:
            raise DemoError(
                f"the committee fixed other prices than the tariff's for period {wrong[0]}: "
                f"{fixed[wrong[0]]}; the logs in {self._committee_folder} say why"
            )
        return fixed

    def _tell_story(self, clockwork: Clockwork, ledger: Ledger) -> list[story.Outcome]:
        with self._show.phase("The paper's story", len(STORY_PERIODS)) as advance:
            clockwork.play(STORY_PERIODS, self._told(ledger, advance))
            advance(0, f"{len(STORY_PERIODS)} periods settled")
        return [
            story.outcome(case, ledger.read(period))
            for period, case in zip(STORY_PERIODS, story.CASES, strict=True)
        ]

    def _place_orders(self, desk: OrderDesk, prices: Mapping[int, PeriodPrices]) -> Counter[int]:
        agreements = self._day.agreements(desk, prices)
        declarations = self._day.declarations()
        total = len(agreements) + len(declarations)
        with self._show.phase("Agreements signed and placed", total) as advance:
            if self._plan.story:
                story.place(desk)
            desk.place(agreements, lambda count: advance(count, ""))
            desk.declare(declarations, lambda count: advance(count, ""))
            advance(0, f"{len(agreements):,} agreements")
        return Counter(agreement.period for agreement in agreements)

    def _told(self, ledger: Ledger, advance: Advance) -> Callable[[int], None]:
        """Return what reads a settled period and shows it beside the bar."""

        def settled(period: int) -> None:
            page = ledger.read(period)
            grid = page.settlement.grid_company
            begins = clock_text(self._schedule.start(period))
            agreed_kwh, grid_kwh = page.agreed_wh / 1000, (grid.sold_wh - grid.bought_wh) / 1000
            advance(1, f"{begins}  agreed {agreed_kwh:.1f} kWh  grid {grid_kwh:+.1f} kWh")

        return settled

    def _sum_up(
        self, stage: Stage, ledger: Ledger, trades: Counter[int], outcomes: list[story.Outcome]
    ) -> bool:
        village = self._day.village
        with self._show.phase("Recomputed, added up and drawn"):
            deposits = {node.id: MEMBER_DEPOSIT_UYUAN for node in self._nodes}
            for period in range(1, self._day.periods.stop):
                ledger.read(period)
            accounts = ledger.check_balances({0: GRID_DEPOSIT_UYUAN, **deposits}, stage.worth)
            forecasts = {
                (node.id, period): village.forecast_wh(node, self._day.row(period))
                for node in village.nodes
                for period in self._day.periods
            }
            pages = [ledger.pages[period] for period in self._day.periods]
            day = figures(village.nodes, pages, trades, forecasts)
            gas = costs(stage.market, stage.url, stage.market.deployment.deployment_block)
            files = self._write_outputs(day)
        differences = [(page.period, d) for page in pages for d in page.differences]
        recomputed = len(pages) - len({period for period, _ in differences})
        parts: list[RenderableType] = [
            *([summary.story_table(outcomes)] if outcomes else []),
            summary.node_table(day),
            summary.side_by_side(
                summary.energy_table(day),
                summary.gas_table(gas, trades.total() + len(outcomes)),
            ),
            summary.closing(
                recomputed, len(pages), accounts, self._show.times, self._show.elapsed_s
            ),
        ]
        summary.save_svg(parts, files["summary"])
        for part in parts[1:] if outcomes else parts:
            self._show.console.print(part)
        self._show.console.print(summary.paths(files))
        for period, difference in differences:
            self._show.console.print(f"[red]period {period}: {difference}")
        return not differences and all(outcome.as_expected for outcome in outcomes)

    # -- files

    def _clear_out(self) -> None:
        """Remove what an earlier run left: its chain is gone, so its files would only mislead."""
        shutil.rmtree(self._committee_folder, ignore_errors=True)
        try:
            self._deployment.unlink(missing_ok=True)
            self._committee_folder.mkdir(parents=True)
        except OSError as exc:
            raise DemoError(
                f"cannot write to {self._plan.out} ({exc.strerror}); give another folder with --out"
            ) from exc

    def _write_inputs(self) -> None:
        """Write what the oracle processes read: roster, meter profiles and the tariff's prices."""
        folder, periods = self._committee_folder, self._day.periods
        readings = {**(story.readings() if self._plan.story else {}), **self._day.readings()}
        write_roster(self._nodes, folder / "meters.csv")
        write_profiles(self._nodes, readings, range(periods.stop + 1), folder / "profiles.csv")
        with (folder / "prices.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["period", *_PRICE_FIELDS])
            for period, prices in self._tariff().items():
                writer.writerow([period, *(getattr(prices, name) for name in _PRICE_FIELDS)])

    def _write_outputs(self, day: Figures) -> dict[str, Path]:
        out = self._plan.out
        files = {
            "by period": out / "periods.csv",
            "by node": out / "nodes.csv",
            "picture": out / "day.png",
            "summary": out / "summary.svg",
            "deployment": self._deployment,
            "oracle logs": self._committee_folder,
        }
        tables.write_periods(
            day, lambda period: clock_text(self._schedule.start(period)), files["by period"]
        )
        tables.write_nodes(day, files["by node"])
        t = day.total
        plot_day(
            day,
            f"A village trades for a day: {self._date()}",
            f"{len(day.nodes)} meters of SimBench rural1, {day.trades:,} agreements on yesterday's "
            "readings, "
            f"{t.agreed_sold_wh / 1000:,.0f} kWh agreed, "
            f"{t.grid_bought_wh / 1000:,.0f} kWh bought from the grid",
            files["picture"],
        )
        return files

    def _tariff(self) -> dict[int, PeriodPrices]:
        """Return the tariff's prices of the day, as the committee will find them."""
        day = day_ahead(calibrate().tariff, self._weather, DAY_BENCHMARK, limits=LIMITS)
        return dict(zip(self._day.periods, day, strict=False))

    def _date(self) -> str:
        return clock_text(midnight_s(self._plan.day)).rpartition(" ")[0] + f" {FIRST_MIDNIGHT.year}"
