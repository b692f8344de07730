"""Plays the demo from an empty chain to the summary."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType

from market.chain import Reverted
from market.clearing import Rule
from market.devnet import Anvil
from market.history import History
from market.prices import ORDERED_FIELDS, PeriodPrices
from oracle.meters.roster import meter_key
from scripts.demo import story, summary, tables
from scripts.demo.committee import Committee
from scripts.demo.day import AHEAD, Clockwork, Day, Desk
from scripts.demo.errors import DemoError
from scripts.demo.figures import Figures, figures
from scripts.demo.gas import costs
from scripts.demo.ledger import Ledger
from scripts.demo.meters import FileMeters, Meters, MqttMeters, Way, need
from scripts.demo.orders import AgreementDesk
from scripts.demo.people import FUNDED, SEATS, People
from scripts.demo.plot import plot_day
from scripts.demo.show import Advance, Show
from scripts.demo.stage import Stage
from scripts.demo.terms import (
    FIRST,
    FIRST_MIDNIGHT,
    GRID_DEPOSIT_UYUAN,
    OPENING_LEAD_S,
    PERIOD_S,
    PRICES_BEFORE,
    STORY_PERIODS,
    clock_text,
    deposit_uyuan,
    midnight_s,
    schedule_of,
)
from scripts.demo.village import Village, write_roster
from scripts.simulate.scenario import Scenario

_PRICE_FIELDS = ORDERED_FIELDS[1:4]


@dataclass(frozen=True)
class Plan:
    """What to play.

    Attributes:
        scenario: Who trades, and what happens.
        name: What it is called.
        periods: How many of its periods; None for all.
        story: Whether to tell the paper's story first.
        meters: How the oracle processes read the meters.
        out: Folder for everything that is written.
    """

    scenario: Scenario
    name: str
    periods: int | None
    story: bool
    meters: Way
    out: Path


class Demo:
    """One run of the demo."""

    def __init__(self, plan: Plan, console: Console) -> None:
        """Read the village and lay the day over the market's periods.

        Raises:
            DemoError: If packages are missing.
        """
        need(plan.meters)
        self._plan = plan
        self._show = Show(console)
        village = Village(plan.scenario)
        rows = plan.scenario.rows
        self._day = Day(village, FIRST, min(plan.periods or len(rows), len(rows)))
        self._cast = story.cast(village, len(village.nodes) + 1)
        self._nodes = [*village.nodes, *self._cast]
        self._schedule = schedule_of(plan.scenario.first_day, FIRST)
        self._committee_folder = plan.out / "committee"
        self._deployment = plan.out / "deployment.json"

    @property
    def _rule(self) -> Rule:
        return self._plan.scenario.rule

    def run(self) -> bool:
        """Play everything and print the summary.

        Returns:
            Whether every amount was as expected.
        """
        self._clear_out()
        show, schedule, village = self._show, self._schedule, self._day.village
        genesis_s = schedule.price_opens(0) - OPENING_LEAD_S
        with show.phase("Members decide what to order", len(self._day.periods)) as advance:
            self._day.rehearse(self._rule, lambda count: advance(count, ""))
            advance(0, f"{self._plan.name}, {self._rule.value}")
        with ExitStack() as stack:
            with show.phase("Private chain and contracts"):
                people = People.of(len(self._nodes))
                anvil = stack.enter_context(Anvil(accounts=FUNDED, genesis_timestamp=genesis_s))
                stage = Stage.build(
                    anvil.url, people, schedule, self._rule, village.table, self._deployment
                )
            self._write_inputs()
            meters = stack.enter_context(self._meters())
            seats = (self._committee_folder, anvil.url, self._deployment, people.seats)
            committee = stack.enter_context(Committee(*seats, meters.config))
            with show.phase("Members admitted, money deposited") as advance:
                stage.admit(self._nodes, meter_key)
                benchmark = self._plan.scenario.prices.benchmark.prices()
                stage.publish_benchmark(self._day.periods.start, benchmark)
                stage.fund(self._nodes)
                advance(0, f"{len(self._nodes)} members, {len(village.grid.lines)} lines")
            return self._play(stage, committee, meters)

    def _play(self, stage: Stage, committee: Committee, meters: Meters) -> bool:
        show, periods = self._show, self._day.periods
        stage.warp(self._schedule.start(periods.start) - PRICES_BEFORE * PERIOD_S)
        if self._asked_prices():
            with show.phase("Oracle processes vote the day's prices") as advance:
                self._await_prices(stage, committee)
                advance(0, f"{self._plan.scenario.prices.weather} day expected")
        ledger = Ledger(stage.market)
        clockwork = Clockwork(stage, ledger, meters, periods[-1], committee.check)
        outcomes: list[story.Outcome] = []
        if self._plan.story:
            story.place(AgreementDesk(stage.market, stage.people), self._cast)
            outcomes = self._tell_story(clockwork, ledger)
            show.console.print()
            show.console.print(summary.story_table(outcomes))
        before = periods.start - 2
        clockwork.reach(before)
        desk = Desk(stage.market, stage.people, self._day)
        ahead = min(AHEAD, len(periods))
        with show.phase("Orders signed, relayed in batches", ahead) as advance:
            desk.place(before, lambda count: advance(count, ""))
            advance(0, f"{desk.placed:,} orders")
        with show.phase(f"{self._date()}, quarter hour by quarter hour", len(periods)) as advance:
            clockwork.play(periods, self._told(ledger, advance), desk.place)
            advance(0, f"{len(periods)} periods settled")
        return self._sum_up(stage, ledger, meters, outcomes)

    def _await_prices(self, stage: Stage, committee: Committee) -> None:
        """Wait until the committee has fixed the prices of all periods that can be ordered."""
        history = History(stage.market)
        asked = dict([*self._asked_prices().items()][:AHEAD])
        fixed: dict[int, PeriodPrices] = {}

        def all_fixed() -> bool:
            try:
                for period in asked:
                    if period not in fixed:
                        fixed[period] = history.prices(period)
            except Reverted as exc:
                if exc.error != "PricesNotFixed":
                    raise
                return False
            return True

        stage.until("the vote on the day's prices", all_fixed, committee.check)
        if wrong := [period for period in asked if fixed[period] != asked[period]]:
            raise DemoError(
                f"the committee fixed other prices than the tariff's for period {wrong[0]}: "
                f"{fixed[wrong[0]]}; the logs in {self._committee_folder} say why"
            )

    def _tell_story(self, clockwork: Clockwork, ledger: Ledger) -> list[story.Outcome]:
        with self._show.phase("The paper's story", len(STORY_PERIODS)) as advance:
            clockwork.play(STORY_PERIODS, self._told(ledger, advance))
            advance(0, f"{len(STORY_PERIODS)} periods settled")
        return [
            story.outcome(case, ledger.read(period), self._cast)
            for period, case in zip(STORY_PERIODS, story.CASES, strict=True)
        ]

    def _told(self, ledger: Ledger, advance: Advance) -> Callable[[int], None]:
        """Return what reads a settled period and shows it beside the bar."""

        def settled(period: int) -> None:
            page = ledger.read(period)
            grid = page.settlement.grid_company
            begins = clock_text(self._schedule.start(period))
            traded_kwh, grid_kwh = page.planned_wh / 1000, (grid.sold_wh - grid.bought_wh) / 1000
            full = "  a line is full" if page.trading and page.trading.binding else ""
            advance(1, f"{begins}  traded {traded_kwh:.1f} kWh  grid {grid_kwh:+.1f} kWh{full}")

        return settled

    def _sum_up(
        self, stage: Stage, ledger: Ledger, meters: Meters, outcomes: list[story.Outcome]
    ) -> bool:
        day = self._day
        with self._show.phase("Recomputed, added up and drawn"):
            deposits = {node.id: deposit_uyuan(node.capacities_wh) for node in self._nodes}
            for period in range(1, day.periods.stop):
                ledger.read(period)
            accounts = ledger.check_balances({0: GRID_DEPOSIT_UYUAN, **deposits}, stage.worth)
            pages = [ledger.pages[period] for period in day.periods]
            sums = figures(day.village.nodes, pages, day.forecasts_wh())
            gas = costs(stage.market, stage.url, stage.market.deployment.deployment_block)
            files = self._write_outputs(sums)
        differences = [(page.period, d) for page in pages for d in page.differences]
        recomputed = len(pages) - len({period for period, _ in differences})
        parts: list[RenderableType] = [
            *([summary.story_table(outcomes)] if outcomes else []),
            summary.node_table(sums),
            summary.side_by_side(
                summary.energy_table(sums), summary.gas_table(gas, sums.orders // 2)
            ),
            summary.in_words(sums, day.outcomes, day.village.line_name),
            summary.closing(
                *(recomputed, len(pages), accounts, meters.in_words()),
                *(self._show.times, self._show.elapsed_s),
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
        """Write what the oracle processes read: feeder, roster and the tariff."""
        folder, day = self._committee_folder, self._day
        grid = day.village.grid.model_dump_json()
        (folder / "grid.json").write_text(grid, encoding="utf-8")
        write_roster(self._nodes, folder / "meters.csv")
        with (folder / "prices.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["period", *_PRICE_FIELDS])
            for period, prices in self._asked_prices().items():
                writer.writerow([period, *(getattr(prices, name) for name in _PRICE_FIELDS)])

    def _meters(self) -> Meters:
        """Return the meters with all that they will measure."""
        folder, day = self._committee_folder, self._day
        readings = {**(story.readings() if self._plan.story else {}), **day.readings()}
        if self._plan.meters == "file":
            return FileMeters(self._nodes, readings, range(day.periods.stop + 1), folder)
        return MqttMeters(self._nodes, readings, self._schedule, folder, SEATS)

    def _write_outputs(self, day: Figures) -> dict[str, Path]:
        out, village = self._plan.out, self._day.village
        files = {
            "by period": out / "periods.csv",
            "by node": out / "nodes.csv",
            "picture": out / "day.png",
            "summary": out / "summary.svg",
            "deployment": self._deployment,
            "oracle logs": self._committee_folder,
        }
        tables.write_periods(
            day,
            lambda period: clock_text(self._schedule.start(period)),
            village.line_name,
            files["by period"],
        )
        tables.write_nodes(day, files["by node"])
        plot_day(
            day,
            f"A village trades for a day: {self._date()}",
            f"{self._plan.name} under the rule {self._rule.value}: {len(day.nodes)} members, "
            f"{day.orders:,} orders, {day.volume_wh / 1000:,.0f} kWh traded, "
            f"{day.total.grid_bought_wh / 1000:,.0f} kWh bought from the grid",
            village.line_name,
            files["picture"],
        )
        return files

    def _asked_prices(self) -> dict[int, PeriodPrices]:
        """Return the tariff's prices by period; none if the benchmark stands."""
        world = self._day.village.world
        if world.scenario.prices.source == "benchmark":
            return {}
        return {p: world.prices(row) for p, row in zip(self._day.periods, self._rows, strict=True)}

    @property
    def _rows(self) -> range:
        return self._plan.scenario.rows[: len(self._day.periods)]

    def _date(self) -> str:
        day_s = midnight_s(self._plan.scenario.first_day)
        return clock_text(day_s).rpartition(" ")[0] + f" {FIRST_MIDNIGHT.year}"
