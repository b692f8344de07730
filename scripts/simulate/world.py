"""A scenario made concrete: who trades, what meters read, what lines carry, what prices stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from market.clearing import Band, Feeder
from market.grid import Grid, IntArray
from market.powerflow import AcCheck, Injections
from market.prices import PeriodPrices
from market.strategies import Arbitrage, Battery, Strategy, Truthful, ZeroIntelligence
from market.tariff import calibrate, day_ahead
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Meter, Role, Roster, capacity_wh_per_period, load_roster
from oracle.meters.simulator import Fault, Scale, Scatter, Scope, Silent, Simulator
from oracle.meters.source import MeterSource, Reading
from scripts.simulate.scenario import (
    PERIODS_PER_DAY,
    DeviationConfig,
    GridName,
    Scenario,
    ScenarioError,
)

DATA = Path(__file__).resolve().parents[2] / "data"
PERIOD_S = 900
PERIODS_PER_HOUR = PERIODS_PER_DAY // 24

GRIDS = {GridName.RURAL1: "simbench-rural1", GridName.RURAL3: "simbench-rural3"}

Energies = dict[str, tuple[int, int]]
"""Import and export of a period by meter, Wh."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the market.

    Attributes:
        node: Its id, from 1.
        meter: Its meter.
        bus: Place of its bus in the feeder's tree.
        strategy: How it orders; None if it stays outside.
        value_percent: What a kWh drawn is worth to it, in percent of the way through the band.
        cost_percent: What a kWh fed in costs it, likewise.
        battery: Its battery at the beginning, if it has one.
    """

    node: int
    meter: Meter
    bus: int
    strategy: Strategy | None
    value_percent: int
    cost_percent: int
    battery: Battery | None = None

    @property
    def capacities_wh(self) -> tuple[int, int]:
        """Most it may draw and feed in in a period, battery included."""
        extra_wh = self.battery.power_wh if self.battery else 0
        return (
            capacity_wh_per_period(self.meter.import_capacity_w, PERIOD_S) + extra_wh,
            capacity_wh_per_period(self.meter.export_capacity_w, PERIOD_S) + extra_wh,
        )


class World:
    """What a scenario says, with every chance decided.

    Attributes:
        scenario: The scenario.
        grid: Its feeder.
        members: Its nodes but the trader, by id.
        limits_wh: What each line may carry in either direction, Wh of a period; 0 for the root.
        ac: The AC model of the feeder.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Read grid and profiles.

        Raises:
            ScenarioError: If a key does not fit the grid; names it.
            SourceError: If a roster or profile cannot be read.
            GridError: If the grid cannot.
        """
        self.scenario = scenario
        folder = DATA / GRIDS[scenario.grid]
        (path,) = folder.glob("grid.json*")
        self.grid = Grid.load(path)
        self.ac = AcCheck(self.grid, PERIOD_S)
        self.limits_wh = self._limits()
        meters = load_roster(folder / "meters.csv", PERIOD_S)
        roster = Roster([_scaled(m, scenario) for m in meters.values()], PERIOD_S)
        profiles = ProfileSource(folder / "profiles.csv.gz", roster)
        self._expected = Simulator(profiles, roster, _scaling(roster, scenario))
        self._actual = Simulator(self._expected, roster, self._faults(roster))
        self.members = self._people(roster)
        last = scenario.rows[-1]
        if not self.expected(last):
            raise ScenarioError(
                f"first_day = {scenario.first_day}, days = {scenario.days}: {scenario.grid} has no "
                f"day {last // PERIODS_PER_DAY}; choose fewer or earlier days"
            )

    @property
    def trader(self) -> int:
        """Node id of the trader above the transformer."""
        return len(self.members) + 1

    def expected(self, row: int) -> Energies:
        """Return what the meters should read by their profiles."""
        return _energies(self._expected, row)

    def actual(self, row: int) -> Energies:
        """Return what the meters read before anybody trades; silent ones are missing."""
        return _energies(self._actual, row)

    def forecast(self, row: int) -> Energies:
        """Return what the members expect."""
        yesterday = self.scenario.forecast == "yesterday"
        return self.expected(row - PERIODS_PER_DAY if yesterday else row)

    @cached_property
    def day_prices(self) -> list[PeriodPrices]:
        """Prices of each period of a day."""
        prices = self.scenario.prices
        benchmark = prices.benchmark.prices()
        if prices.source == "benchmark":
            return [PeriodPrices.from_benchmark(benchmark)] * PERIODS_PER_DAY
        return day_ahead(calibrate().tariff, prices.weather, benchmark)

    def prices(self, row: int) -> PeriodPrices:
        """Return the prices of a period."""
        return self.day_prices[row % PERIODS_PER_DAY]

    def headroom(self, forecast: Energies) -> Feeder:
        """Return what the lines may carry of trades.

        Limit less the forecast flow of those who stay outside, never more than the limit.
        """
        outside = {m.meter.meter for m in self.members if m.strategy is None}
        base = self.flow_wh({meter: e for meter, e in forecast.items() if meter in outside})
        limit, parent = self.limits_wh, np.array(self.grid.tree.parents)
        return Feeder(parent, np.clip(limit - base, 0, limit), np.clip(limit + base, 0, limit))

    def flow_wh(self, energies: Energies) -> IntArray:
        """Return what each line carries upwards of given energies, Wh; 0 for the root."""
        net = np.zeros((1, len(self.grid.tree.buses)), dtype=np.int64)
        for member in self.members:
            import_wh, export_wh = energies.get(member.meter.meter, (0, 0))
            net[0, member.bus] += export_wh - import_wh
        return np.concatenate([[0], self.grid.tree.flows_wh(net)[0]])

    def injections(self, net_wh: IntArray) -> Injections:
        """Return what enters the grid.

        Args:
            net_wh: What each member, and last the trader, feeds in less what it draws, Wh, shape
                (cases, members + 1).
        """
        meters = [m.meter for m in self.members]
        buses = [*(m.bus for m in meters), self.grid.feed.bus]
        var_per_w = [*(self.grid.var_per_w.get(m.meter, 0.0) for m in meters), 0.0]
        return Injections(net_wh, buses, var_per_w)

    def rng(self, *key: int) -> np.random.Generator:
        """Return the generator of one decision: the same however many were made before."""
        return np.random.default_rng([self.scenario.seed, *key])

    def _limits(self) -> IntArray:
        wires, tree = self.scenario.wires, self.grid.tree
        names = {branch.name for branch in tree.branches}
        if unknown := sorted(wires.line.keys() - names):
            raise ScenarioError(
                f"wires.line.{unknown[0]!r}: {self.scenario.grid} has no such line; its lines are "
                + ", ".join(sorted(names))
            )
        first = tree.branches[0].name
        percent = [
            wires.line.get(b.name, wires.transformer if b.name == first else wires.lines)
            for b in tree.branches
        ]
        limits = [w * p // 100 for w, p in zip(tree.limits_wh(PERIOD_S), percent, strict=True)]
        return np.array([0, *limits], dtype=np.int64)

    def _people(self, roster: Roster) -> list[Member]:
        s = self.scenario
        meters, rng = list(roster.values()), self.rng(0)
        count = len(meters)
        outside = count * s.strategies.outside // 100
        random = count * s.strategies.zero_intelligence // 100
        ways: list[Strategy | None] = [None] * outside + [ZeroIntelligence()] * random
        ways += [Truthful()] * (count - len(ways))
        ways = [ways[i] for i in rng.permutation(count)]
        storages = [i for i, m in enumerate(meters) if m.role is Role.STORAGE]
        batteries = s.batteries
        with_battery: set[int] = set()
        if batteries:
            chosen = len(storages) * batteries.storages // 100
            with_battery = set(rng.permutation(storages)[:chosen].tolist())
        value = rng.integers(*s.values.load, size=count, endpoint=True).tolist()
        cost = rng.integers(*s.values.generation, size=count, endpoint=True).tolist()
        buses = self.grid.tree.columns([m.bus for m in meters]).tolist()
        members = []
        for i, meter in enumerate(meters):
            way, battery = ways[i], None
            if batteries and i in with_battery:
                way = Arbitrage(batteries.margin)
                battery = Battery(
                    batteries.capacity_wh,
                    batteries.power_w * PERIOD_S // 3600,
                    batteries.efficiency,
                    batteries.capacity_wh * batteries.stored // 100,
                )
            members.append(Member(i + 1, meter, buses[i], way, value[i], cost[i], battery))
        return members

    def _faults(self, roster: Roster) -> list[Fault]:
        faults: list[Fault] = []
        for number, config in enumerate(self.scenario.deviations):
            if config.meter is not None and config.meter not in roster:
                raise ScenarioError(
                    f"deviations.{number}.meter = {config.meter!r}: {self.scenario.grid} has no "
                    f"such meter; its meters are {', '.join(roster)}"
                )
            for day in range(self.scenario.days):
                faults.append(self._fault(config, number, self.scenario.first_day + day))
        return faults

    def _fault(self, config: DeviationConfig, number: int, day: int) -> Fault:
        midnight = day * PERIODS_PER_DAY
        scope = Scope(
            config.meter,
            midnight + config.first_hour * PERIODS_PER_HOUR,
            midnight + (config.last_hour + 1) * PERIODS_PER_HOUR - 1,
        )
        if config.kind == "scale":
            return Scale(scope, config.percent or 0)
        if config.kind == "scatter":
            return Scatter(scope, self.scenario.seed + number, config.spread or 0)
        return Silent(scope)


def within(band: Band, percent: int) -> int:
    """Return the price so many percent of the way through a band, uyuan/kWh."""
    width = band.high_uyuan_per_kwh - band.low_uyuan_per_kwh
    return band.low_uyuan_per_kwh + width * percent // 100


def _scaled(meter: Meter, scenario: Scenario) -> Meter:
    """Return a meter whose capacity holds what its scaled profile reads."""
    pv, load = max(100, scenario.meters.pv), max(100, scenario.meters.load)
    return replace(
        meter,
        import_capacity_w=-(-meter.import_capacity_w * load // 100),
        export_capacity_w=-(-meter.export_capacity_w * pv // 100),
    )


def _scaling(roster: Roster, scenario: Scenario) -> Sequence[Fault]:
    percent = {
        Role.CONSUMER: scenario.meters.load,
        Role.GENERATOR: scenario.meters.pv,
        Role.STORAGE: scenario.meters.pv,
    }
    wanted = [(m.meter, percent.get(m.role, 100)) for m in roster.values()]
    return [Scale(Scope(meter), p) for meter, p in wanted if p != 100]


def _energies(source: MeterSource, row: int) -> Energies:
    answers = source.read(row)
    return {a.meter: (a.import_wh, a.export_wh) for a in answers if isinstance(a, Reading)}
