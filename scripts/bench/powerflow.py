"""Measures the AC check: time a case, distance from pandapower, distance of the linear flow.

    python -m scripts.bench.powerflow

The cases are the quarter hours of a shipped day as base load, each with a random clearing on top
in which every meter trades up to a share of its capacity. Written is a table in Markdown.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from market.grid import Grid, IntArray
from market.powerflow import AcCheck, AcResult, Injections, Quantity
from market.powerflow.result import FloatArray
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Roster, load_roster
from oracle.meters.source import Reading
from scripts.bench.pandapower_grid import PandapowerGrid

DATA = Path(__file__).parents[2] / "data"
HOURS = 0.25
TRADED_SHARE = 0.25
MOST_SCALING = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Feeder:
    """A shipped grid, its meters, and the first period of the day to look at."""

    grid: Grid
    roster: Roster
    profiles: Path
    first_period: int

    def base(self, periods: range) -> Injections:
        """Return what the meters read, a case for each period counted from the first.

        Args:
            periods: Which ones, from 0.
        """
        source = ProfileSource(self.profiles, self.roster)
        energy_wh = [
            [
                answer.export_wh - answer.import_wh
                for answer in source.read(self.first_period + period)
                if isinstance(answer, Reading)
            ]
            for period in periods
        ]
        return self._by_meter(np.array(energy_wh, dtype=np.int64))

    def clearing(self, cases: int, seed: int) -> Injections:
        """Return random clearings: each meter buys or sells up to a share of its capacity.

        Args:
            cases: How many.
            seed: Of the random numbers.
        """
        share = HOURS * TRADED_SHARE
        most_wh = [int(meter.export_capacity_w * share) for meter in self.roster.values()]
        least_wh = [-int(meter.import_capacity_w * share) for meter in self.roster.values()]
        shape = (cases, len(self.roster))
        random = np.random.default_rng(seed)
        return self._by_meter(random.integers(least_wh, most_wh, shape, np.int64, endpoint=True))

    def _by_meter(self, net_export_wh: IntArray) -> Injections:
        buses = [meter.bus for meter in self.roster.values()]
        var_per_w = [self.grid.var_per_w[meter] for meter in self.roster]
        return Injections(net_export_wh, buses, var_per_w)


def load_feeder(name: str) -> Feeder:
    """Return a shipped feeder.

    Args:
        name: `rural1`, from its congested day on, or `rural3`.
    """
    folder = DATA / f"simbench-{name}"
    file, first = {"rural1": ("grid.json", 7 * 96), "rural3": ("grid.json.gz", 0)}[name]
    roster = load_roster(folder / "meters.csv")
    return Feeder(Grid.load(folder / file), roster, folder / "profiles.csv.gz", first)


def bus_loads(grid: Grid, *injections: Injections) -> tuple[FloatArray, FloatArray]:
    """Return W and var drawn at each bus of the tree, by the definition and nothing faster.

    Args:
        grid: The feeder.
        injections: Of the same number of cases.

    Returns:
        Two arrays of shape (cases, buses).
    """
    shape = (len(injections[0].net_export_wh), len(grid.tree.buses))
    load_w, load_var = np.zeros(shape), np.zeros(shape)
    for given in injections:
        for column, bus in enumerate(given.buses):
            at = grid.tree.buses.index(int(bus))
            drawn_w = -given.net_export_wh[:, column] / HOURS
            load_w[:, at] += drawn_w
            if given.var_per_w is not None:
                load_var[:, at] += given.var_per_w[column] * drawn_w.clip(min=0)
    return load_w, load_var


@dataclass(frozen=True)
class Figures:
    """What was measured on one grid.

    Attributes:
        name: Name of the grid.
        cases: Cases in the batch.
        batch_s: Best time of the batch, s.
        linear_s: Best time of the linear flow of the batch, s.
        pandapower_ms: Time of a case in pandapower, ms.
        voltage_error_pu: Largest distance from pandapower.
        loading_error: Likewise, percentage points.
        linear_error_percent: Largest distance of linear and AC active power, % of the rating.
        full_loading: Loadings of the fullest line or transformer in cases scaled until the
            linear flow fills it: median and highest, %.
        full_off_band: Share of these cases in which a voltage leaves its band.
    """

    name: str
    cases: int
    batch_s: float
    linear_s: float
    pandapower_ms: float
    voltage_error_pu: float
    loading_error: float
    linear_error_percent: float
    full_loading: tuple[float, float]
    full_off_band: float


def measure(name: str, cases: int = 1000, compared: int = 20) -> Figures:
    """Measure one grid.

    Args:
        name: `rural1` or `rural3`.
        cases: Cases in the batch.
        compared: How many of them pandapower solves too.
    """
    feeder = load_feeder(name)
    grid = feeder.grid
    day = feeder.base(range(96))
    rows = np.arange(cases) % 96
    base = Injections(day.net_export_wh[rows], day.buses, day.var_per_w)
    clearing = feeder.clearing(cases, seed=1)
    check = AcCheck(grid)
    batch_s, result = _best(lambda: check.run(base, clearing))
    load_w, load_var = bus_loads(grid, base, clearing)
    bus_wh = np.round(-load_w * HOURS).astype(np.int64)
    linear_s, _ = _best(lambda: grid.tree.flows_wh(bus_wh))

    reference = PandapowerGrid(grid)
    voltage_error, loading_error, spent_s = 0.0, 0.0, 0.0
    for case in np.linspace(0, cases - 1, compared).astype(int):
        start = time.perf_counter()
        solved = reference.solve(load_w[case], load_var[case])
        spent_s += time.perf_counter() - start
        distance = np.abs(solved.voltage_pu - result.voltage_pu[case])
        voltage_error = max(voltage_error, float(distance.max()))
        distance = np.abs(solved.loading_percent - result.loading_percent[case])
        loading_error = max(loading_error, float(distance.max()))
    full, off_band = fill(check, base, clearing)
    return Figures(
        name=name,
        cases=cases,
        batch_s=batch_s,
        linear_s=linear_s,
        pandapower_ms=1000 * spent_s / compared,
        voltage_error_pu=voltage_error,
        loading_error=loading_error,
        linear_error_percent=linear_error_percent(result),
        full_loading=full,
        full_off_band=off_band,
    )


def linear_error_percent(result: AcResult) -> float:
    """Return the largest distance of linear and AC active power, % of the branch's limit.

    Args:
        result: The power flow of a batch.
    """
    distance_w = np.abs(result.linear_flow_wh / HOURS - result.flow_w)
    return float((100 * distance_w / _limits_w(result.grid)).max())


def fill(check: AcCheck, *injections: Injections) -> tuple[tuple[float, float], float]:
    """Scale cases until the linear flow fills a line or the transformer; what does AC say?

    Args:
        check: The AC model.
        injections: Of the same number of cases.

    Returns:
        Median and highest AC loading of what is full, %; share of cases with a voltage off band.
    """
    grid = check.grid
    linear_w = np.abs(check.run(*injections).linear_flow_wh / HOURS)
    share = linear_w / _limits_w(grid)
    # Cases near balance would have to be blown up beyond what the meters could ever do.
    near = share.max(axis=1) >= 1 / MOST_SCALING
    share = share[near]
    factor = 1 / share.max(axis=1, keepdims=True)
    scaled = [
        Injections((i.net_export_wh[near] * factor).astype(np.int64), i.buses, i.var_per_w)
        for i in injections
    ]
    result = check.run(*scaled)
    cases = range(len(factor))
    loading = result.loading_percent[cases, share.argmax(axis=1)]
    off_band = [
        any(v.quantity is Quantity.VOLTAGE_PU for v in result.violations(case)) for case in cases
    ]
    return (float(np.median(loading)), float(loading.max())), float(np.mean(off_band))


def _limits_w(grid: Grid) -> FloatArray:
    return np.array([branch.limit_w for branch in grid.tree.branches], dtype=np.float64)


def _best(run: Callable[[], T], times: int = 3) -> tuple[float, T]:
    best_s = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        value = run()
        best_s = min(best_s, time.perf_counter() - start)
    return best_s, value


def main() -> None:
    """Print the figures of both grids."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000, help="cases in a batch (1000)")
    parser.add_argument("--compared", type=int, default=20, help="solved by pandapower too (20)")
    given = parser.parse_args()
    measured = [measure(name, given.cases, given.compared) for name in ("rural1", "rural3")]
    print("| | " + " | ".join(f.name for f in measured) + " |")
    print("|---" * (len(measured) + 1) + "|")
    for label, cells in (
        (f"AC check, {given.cases} cases", [f"{f.batch_s:.3f} s" for f in measured]),
        ("pandapower, 1 case", [f"{f.pandapower_ms:.1f} ms" for f in measured]),
        ("linear flow, the same cases", [f"{1000 * f.linear_s:.2f} ms" for f in measured]),
        ("voltage, from pandapower", [f"{f.voltage_error_pu:.1e} pu" for f in measured]),
        ("loading, from pandapower", [f"{f.loading_error:.1e} points" for f in measured]),
        ("linear from AC active power", [f"{f.linear_error_percent:.2f} %" for f in measured]),
        (
            "AC loading of what linear fills, median",
            [f"{f.full_loading[0]:.1f} %" for f in measured],
        ),
        ("the same, highest", [f"{f.full_loading[1]:.1f} %" for f in measured]),
        ("a voltage off its band there", [f"{100 * f.full_off_band:.0f} %" for f in measured]),
    ):
        print(f"| {label} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
