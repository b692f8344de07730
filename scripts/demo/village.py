"""The scenario's village as nodes of a market on a chain: meters, places on the feeder, files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from market.grid import Grid, Line, Transformer
from market.lines import table_of
from oracle.meters.roster import COLUMNS, Meter, Role, capacity_wh_per_period
from scripts.demo.terms import PERIOD_S
from scripts.simulate.scenario import Scenario, WiresConfig
from scripts.simulate.world import World

ROLE_BITS = {Role.GENERATOR: 1, Role.CONSUMER: 2, Role.PROSUMER: 3, Role.STORAGE: 4}
"""Roles as the registry writes them."""

TRADER = "trader"
"""Meter of the member above the transformer."""

RATING_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Node:
    """An admitted meter.

    Attributes:
        id: Node id, from 1.
        meter: The meter and what stands behind it, at its bus of the grid file.
        bus: Its bus as the contracts number it: position in `Tree.buses`.
    """

    id: int
    meter: Meter
    bus: int

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


class Village:
    """Who trades in a scenario, and on which wires.

    On a chain no line may carry more than its rating, so shares above 100 percent count as 100.

    Attributes:
        world: The scenario made concrete.
        grid: Its feeder, ratings lowered as the scenario says.
        nodes: Its members by id, from 1, the trader last.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Read the scenario's grid, meters and profiles.

        Raises:
            ScenarioError: If a key does not fit the grid.
            SourceError: If a roster or profile cannot be read.
            GridError: If the grid cannot.
        """
        wires = _within_rating(scenario.wires)
        self.world = World(scenario.model_copy(update={"wires": wires}))
        self.grid = _rated(self.world.grid, wires)
        self.nodes = [
            Node(m.node, _with_capacities(m.meter, *m.capacities_wh), m.bus)
            for m in self.world.members
        ]
        trader = scenario.trader
        if trader is not None:
            self.nodes.append(
                self.at_the_feed(
                    self.world.trader,
                    TRADER,
                    "beyond the transformer",
                    trader.buys_w,
                    trader.sells_w,
                    Role.STORAGE,
                )
            )

    @property
    def table(self) -> bytes:
        """The table its market is deployed with, see `market.lines`."""
        return table_of(self.grid.tree, PERIOD_S)

    def at_the_feed(
        self,
        node: int,
        name: str,
        what: str,
        import_w: int,
        export_w: int,
        role: Role = Role.PROSUMER,
    ) -> Node:
        """Return a node above all lines."""
        return Node(node, Meter(name, what, self.grid.feed.bus, role, import_w, export_w), 0)

    def line_name(self, line: int) -> str:
        """Return the name of a line that is numbered by the bus below it."""
        return self.grid.tree.branches[line - 1].name


def write_roster(nodes: Iterable[Node], path: Path) -> None:
    """Write the roster that the oracle processes read."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for node in nodes:
            m = node.meter
            writer.writerow(
                [m.meter, m.element, m.bus, m.role, m.import_capacity_w, m.export_capacity_w]
            )


Readings = dict[tuple[str, int], tuple[int, int] | None]
"""Import and export in Wh by meter and period; None for a silent meter."""

AT_REST = (0, 0)


def write_profiles(
    nodes: Iterable[Node], readings: Readings, periods: Iterable[int], path: Path
) -> int:
    """Write the profiles that the oracle processes read as meters; row = period.

    A meter with nothing to tell in a period rests: it reads zero.

    Returns:
        The number of rows.
    """
    names, rows = [node.name for node in nodes], 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["meter", "row", "import_wh", "export_wh"])
        for period in periods:
            for name in names:
                if (read := readings.get((name, period), AT_REST)) is not None:
                    writer.writerow([name, period, *read])
                    rows += 1
    return rows


def _with_capacities(meter: Meter, import_wh: int, export_wh: int) -> Meter:
    """Return a meter whose capacity holds its battery too."""
    import_w, export_w = (-(-wh * 3600 // PERIOD_S) for wh in (import_wh, export_wh))
    return replace(meter, import_capacity_w=import_w, export_capacity_w=export_w)


def _within_rating(wires: WiresConfig) -> WiresConfig:
    return wires.model_copy(
        update={
            "transformer": min(wires.transformer, RATING_PERCENT),
            "lines": min(wires.lines, RATING_PERCENT),
            "line": {name: min(p, RATING_PERCENT) for name, p in wires.line.items()},
        }
    )


def _rated(grid: Grid, wires: WiresConfig) -> Grid:
    """Return a grid with lower ratings: the electrical model stays."""

    def line(of: Line) -> Line:
        percent = wires.line.get(of.name, wires.lines)
        lowered = {"max_i_a": of.max_i_a * percent // 100, "limit_w": of.limit_w * percent // 100}
        return of.model_copy(update={name: max(1, value) for name, value in lowered.items()})

    def trafo(of: Transformer) -> Transformer:
        share = max(1, wires.line.get(of.name, wires.transformer)) / 100
        # Impedances are relative to the rating.
        return of.model_copy(
            update={
                "limit_w": max(1, int(of.limit_w * share)),
                "sn_mva": of.sn_mva * share,
                "vk_percent": of.vk_percent * share,
                "vkr_percent": of.vkr_percent * share,
                "i0_percent": of.i0_percent / share,
            }
        )

    lines = tuple(line(each) for each in grid.lines)
    changed = grid.model_dump() | {
        "lines": [each.model_dump() for each in lines],
        "trafo": trafo(grid.trafo).model_dump(),
    }
    return Grid.model_validate_json(json.dumps(changed))
