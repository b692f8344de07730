"""The village: SimBench's meters as nodes, what they expect and what they will measure."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, field
from pathlib import Path

from market.forecast import persistence_wh
from market.tariff import Weather, paper
from oracle.meters.roster import COLUMNS, Meter, Role, capacity_wh_per_period, load_roster
from scripts.demo.errors import DemoError
from scripts.demo.terms import PERIOD_S, PERIODS_PER_DAY

DATA = Path(__file__).resolve().parents[2] / "data" / "simbench-rural1"

ROLE_BITS = {Role.GENERATOR: 1, Role.CONSUMER: 2, Role.PROSUMER: 3, Role.STORAGE: 4}
"""Roles as the registry writes them."""


@dataclass(frozen=True, slots=True)
class Node:
    """An admitted meter.

    Attributes:
        id: Node id, from 1.
        meter: The meter and what stands behind it.
    """

    id: int
    meter: Meter

    @property
    def name(self) -> str:
        """The meter's id."""
        return self.meter.meter

    @property
    def capacities_wh(self) -> tuple[int, int]:
        """Most it can draw and feed in in a period."""
        return (
            capacity_wh_per_period(self.meter.import_capacity_w, PERIOD_S),
            capacity_wh_per_period(self.meter.export_capacity_w, PERIOD_S),
        )


@dataclass(slots=True)
class Profile:
    """Energy of one meter by row, in Wh."""

    import_wh: dict[int, int] = field(default_factory=dict)
    export_wh: dict[int, int] = field(default_factory=dict)


class Village:
    """Two weeks of a village's meters.

    Attributes:
        nodes: Its nodes, in the order of the roster.
        days: Number of days in the profiles.
    """

    def __init__(self, first_node: int, folder: Path = DATA) -> None:
        """Read the extract.

        Args:
            first_node: Id of the first node.
            folder: Where the extract lies.

        Raises:
            SourceError: If the roster cannot be used.
            DemoError: If the profiles cannot be read.
        """
        roster = load_roster(folder / "meters.csv", PERIOD_S)
        self.nodes = [Node(first_node + i, meter) for i, meter in enumerate(roster.values())]
        self._profiles = {name: Profile() for name in roster}
        path = folder / "profiles.csv.gz"
        try:
            with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
                for line in csv.DictReader(file):
                    profile, row = self._profiles[line["meter"]], int(line["row"])
                    profile.import_wh[row] = int(line["import_wh"])
                    profile.export_wh[row] = int(line["export_wh"])
        except (OSError, EOFError, KeyError, ValueError) as exc:
            raise DemoError(
                f"{path} cannot be used ({exc!r}); restore it with `git checkout -- {path}`"
            ) from exc
        self.days = min(len(p.import_wh) for p in self._profiles.values()) // PERIODS_PER_DAY

    def actual_wh(self, node: Node, row: int) -> tuple[int, int]:
        """Return what a node draws and feeds in, Wh."""
        profile = self._profiles[node.name]
        return profile.import_wh[row], profile.export_wh[row]

    def forecast_wh(self, node: Node, row: int) -> tuple[int, int]:
        """Return what a node expects to draw and to feed in: yesterday's same quarter hour.

        Raises:
            MissingHistoryError: On the first day.
        """
        profile = self._profiles[node.name]
        return (
            persistence_wh(profile.import_wh, row, PERIOD_S),
            persistence_wh(profile.export_wh, row, PERIOD_S),
        )

    def weather(self, day: int) -> Weather:
        """Return the weather expected for a day: that of the day before, judged by its PV.

        The sunniest day of the profiles stands for the paper's sunny clearness; the nearest of the
        three clearness indices names the day.
        """
        clearness = {kind: profile.clearness_fraction for kind, profile in paper().weather.items()}
        pv_wh = [self._pv_wh(d) for d in range(self.days)]
        expected = clearness[Weather.SUNNY] * pv_wh[day - 1] / max(pv_wh)
        return min(Weather, key=lambda kind: abs(clearness[kind] - expected))

    def _pv_wh(self, day: int) -> int:
        rows = range(day * PERIODS_PER_DAY, (day + 1) * PERIODS_PER_DAY)
        plants = [n.name for n in self.nodes if n.meter.role is Role.GENERATOR]
        return sum(self._profiles[name].export_wh[row] for name in plants for row in rows)


def write_roster(nodes: list[Node], path: Path) -> None:
    """Write the roster that the oracle processes read."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for node in nodes:
            m = node.meter
            writer.writerow(
                [m.meter, m.element, m.bus, m.role, m.import_capacity_w, m.export_capacity_w]
            )


Readings = dict[tuple[str, int], tuple[int, int]]
"""Import and export in Wh by meter and period."""


def write_profiles(nodes: list[Node], readings: Readings, periods: range, path: Path) -> None:
    """Write the profiles that the oracle processes read as meters; row = period.

    A meter with nothing to tell in a period rests: it reads zero.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["meter", "row", "import_wh", "export_wh"])
        for period in periods:
            for node in nodes:
                writer.writerow([node.name, period, *readings.get((node.name, period), (0, 0))])
