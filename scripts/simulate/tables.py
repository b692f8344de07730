"""The comparison as tables: on the console, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from scripts.simulate.figures import Run
from scripts.simulate.world import World

_ROWS = (
    ("traded", "kWh", "volume_kwh", "{:,.1f}"),
    ("welfare", "yuan", "welfare_yuan", "{:,.2f}"),
    ("mean price paid", "yuan/kWh", "mean_price_yuan_per_kwh", "{:.4f}"),
    ("rent of the lines", "yuan", "rent_yuan", "{:,.2f}"),
    ("cost of supply (Peng Eq. 8)", "yuan", "cost_yuan", "{:,.2f}"),
    ("  cheapest within the lines", "yuan", "best_cost_yuan", "{:,.2f}"),
    ("  cheapest without lines", "yuan", "unwired_cost_yuan", "{:,.2f}"),
    ("  what the wires cost", "yuan", "wires_yuan", "{:,.2f}"),
    ("a line binds", "periods", "binding_periods", "{}"),
    ("prices differ", "periods", "split_periods", "{}"),
    ("AC check tightens a line", "times", "derates", "{}"),
    ("AC check still objects", "periods", "unmended_periods", "{}"),
    ("metered above a rating", "periods", "overloaded_periods", "{}"),
    ("grid company, net", "yuan", "grid_net_yuan", "{:+,.2f}"),
)

_PERIOD_COLUMNS = (
    "rule",
    "row",
    "volume_wh",
    "welfare_nyuan",
    "rent_nyuan",
    "lowest_price_uyuan_per_kwh",
    "highest_price_uyuan_per_kwh",
    "cost_nyuan",
    "best_cost_nyuan",
    "unwired_cost_nyuan",
    "binding_lines",
    "derates",
)


def comparison(runs: Sequence[Run], title: str) -> Table:
    """Return one row a figure, one column a rule."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for run in runs:
        table.add_column(run.rule.value, justify="right")
    table.add_column("", style="dim")
    for label, unit, name, form in _ROWS:
        table.add_row(label, *(form.format(getattr(run, name)) for run in runs), unit)
    gains = [list(run.savings_yuan().values()) for run in runs]
    table.add_row(
        "members gain by the market", *(f"{sum(values):+,.2f}" for values in gains), "yuan"
    )
    table.add_row(
        "members who lose", *(str(sum(v < 0 for v in values)) for values in gains), "nodes"
    )
    return table


def lines_table(world: World, runs: Sequence[Run]) -> Table:
    """Return the lines that bind under any rule, with how long and how loaded they were."""
    table = Table(
        title="Periods in which a line binds, and its highest metered AC loading",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("line", no_wrap=True)
    for run in runs:
        table.add_column(run.rule.value, justify="right")
    counts = [run.binding_lines() for run in runs]
    for line in sorted(set().union(*counts)):
        cells = [
            f"{count[line]}, {run.loading_percent[:, line - 1].max():.0f} %"
            for run, count in zip(runs, counts, strict=True)
        ]
        table.add_row(world.grid.tree.branches[line - 1].name, *cells)
    return table


def write_periods(runs: Sequence[Run], path: Path) -> None:
    """Write one row per rule and period.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_PERIOD_COLUMNS)
        for run in runs:
            for o, prices in zip(run.outcomes, run.prices_by_zone(), strict=True):
                writer.writerow(
                    [
                        run.rule.value,
                        o.row,
                        *o.totals[:2],
                        o.totals.rent_nyuan,
                        min(prices, default=""),
                        max(prices, default=""),
                        o.cost_nyuan,
                        o.best.cost_nyuan,
                        o.unwired.cost_nyuan,
                        " ".join(map(str, o.binding)),
                        len(o.derates),
                    ]
                )


def write_members(world: World, runs: Sequence[Run], path: Path) -> None:
    """Write one row per member: who it is, and what the market was worth to it under each rule.

    Raises:
        OSError: The file cannot be written.
    """
    savings = [run.savings_yuan() for run in runs]
    names = {m.node: (m.meter.meter, m.meter.role.value, _way(m.strategy)) for m in world.members}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["node", "meter", "role", "strategy", *(f"{r.rule.value}_gain_yuan" for r in runs)]
        )
        for node in sorted(set().union(*savings)):
            gains = [f"{saved.get(node, 0.0):.6f}" for saved in savings]
            writer.writerow([node, *names[node], *gains])


def _way(strategy: object) -> str:
    return "outside" if strategy is None else type(strategy).__name__
