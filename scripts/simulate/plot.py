"""The comparison as one picture: what each rule makes of the same days."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market.clearing import Rule
from scripts.simulate.figures import NYUAN_PER_YUAN, YUAN, Run
from scripts.simulate.world import PERIOD_S, World

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1f2933", "#6b7680", "#e4e7eb"
COLOURS = {Rule.PLANNED: "#d1495b", Rule.UNIFORM: "#2f6db5", Rule.PAIRWISE: "#edae49"}
HOURS = PERIOD_S / 3600


def plot_comparison(world: World, runs: Sequence[Run], title: str, path: Path) -> None:
    """Draw the runs.

    Args:
        world: What was played.
        runs: One a rule.
        title: Headline.
        path: PNG to write.

    Raises:
        OSError: The file cannot be written.
    """
    # Loaded here so that `--help` does not wait for the plotting library.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": GRID,
        "axes.labelcolor": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.axisbelow": True,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "legend.frameon": False,
    }
    with rc_context(style):
        figure = Figure(figsize=(12, 11.5), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
        panels = figure.subplots(4, 2)
        _steps(panels[0, 0], runs, "Traded", "kW", [_volume(run) for run in runs])
        _steps(panels[0, 1], runs, "Welfare", "yuan an hour", [_welfare(run) for run in runs])
        _prices(panels[1, 0], runs)
        _steps(
            panels[1, 1], runs, "Rent of binding lines", "yuan an hour", [_rent(r) for r in runs]
        )
        _flows(panels[2, 0], world, runs)
        _loading(panels[2, 1], world, runs)
        _costs(panels[3, 0], runs)
        _members(panels[3, 1], world, runs)
        panels[0, 0].legend(loc="upper left")
        figure.savefig(path, dpi=100)


def _edges(run: Run) -> list[float]:
    return [i * HOURS for i in range(len(run.outcomes) + 1)]


def _volume(run: Run) -> list[float]:
    return [o.totals.volume_wh / 1000 / HOURS for o in run.outcomes]


def _welfare(run: Run) -> list[float]:
    return [o.totals.welfare_nyuan / NYUAN_PER_YUAN / HOURS for o in run.outcomes]


def _rent(run: Run) -> list[float]:
    return [o.totals.rent_nyuan / NYUAN_PER_YUAN / HOURS for o in run.outcomes]


def _dress(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.grid(axis="y", color=GRID)
    axes.tick_params(length=0)


def _steps(
    axes: Axes, runs: Sequence[Run], title: str, unit: str, series: Sequence[Sequence[float]]
) -> None:
    _dress(axes, title, unit)
    for run, values in zip(runs, series, strict=True):
        axes.stairs(
            values,
            _edges(run),
            baseline=None,
            color=COLOURS[run.rule],
            linewidth=1.6,
            label=run.rule.value,
        )
    _hours(axes, runs[0])


def _hours(axes: Axes, run: Run) -> None:
    hours = len(run.outcomes) * HOURS
    axes.set_xlim(0, hours)
    ticks = np.arange(0, hours + 1, 4 if hours <= 24 else 24)
    axes.set_xticks(ticks, [f"{int(t) % 24:02d}:00" if hours <= 24 else f"{t:g} h" for t in ticks])


def _prices(axes: Axes, runs: Sequence[Run]) -> None:
    _dress(axes, "Prices: lowest and highest zone or pair", "yuan/kWh")
    band = [
        (o.prices.selling_uyuan_per_kwh / YUAN, o.prices.compensation_uyuan_per_kwh / YUAN)
        for o in runs[0].outcomes
    ]
    low, high = (list(ends) for ends in zip(*band, strict=True))
    edges = _edges(runs[0])
    axes.stairs(high, edges, baseline=low, fill=True, color=GRID, alpha=0.6, label="band")
    for run in runs:
        prices = run.prices_by_zone()
        for pick, dash in ((min, "-"), (max, (0, (3, 1.2)))):
            values = [pick(p) / YUAN if p else float("nan") for p in prices]
            axes.stairs(
                values,
                edges,
                baseline=None,
                color=COLOURS[run.rule],
                linewidth=1.3,
                linestyle=dash,
            )
    _hours(axes, runs[0])


def _flows(axes: Axes, world: World, runs: Sequence[Run]) -> None:
    counts = sum((run.binding_lines() for run in runs), start=runs[0].binding_lines())
    line = max(counts, key=lambda v: (counts[v], -v), default=1)
    name = world.grid.tree.branches[line - 1].name
    _dress(axes, f"Trades through {name}", "kW, up to the feed")
    for run in runs:
        flow = [int(o.clearing.flow_wh[line]) / 1000 / HOURS for o in run.outcomes]
        axes.stairs(flow, _edges(run), baseline=None, color=COLOURS[run.rule], linewidth=1.5)
        room = [int(o.feeder.up_wh[line]) / 1000 / HOURS for o in run.outcomes]
        axes.stairs(
            room, _edges(run), baseline=None, color=COLOURS[run.rule], linewidth=0.8, linestyle=":"
        )
    _hours(axes, runs[0])


def _loading(axes: Axes, world: World, runs: Sequence[Run]) -> None:
    _dress(axes, "Highest AC loading of a line, metered", "% of rating")
    for run in runs:
        highest = run.loading_percent.max(axis=1)
        axes.stairs(highest, _edges(run), baseline=None, color=COLOURS[run.rule], linewidth=1.5)
    axes.axhline(world.ac.max_loading_percent, color=INK, linewidth=0.8)
    _hours(axes, runs[0])


def _costs(axes: Axes, runs: Sequence[Run]) -> None:
    _dress(axes, "Cost of serving everybody (Peng Eq. 8)", "yuan")
    for k, (label, name, alpha) in enumerate(
        (
            ("as cleared", "cost_yuan", 1.0),
            ("cheapest within the lines", "best_cost_yuan", 0.6),
            ("cheapest without lines", "unwired_cost_yuan", 0.3),
        )
    ):
        for j, run in enumerate(runs):
            bars = axes.bar(j + 0.27 * (k - 1), getattr(run, name), 0.25)
            bars[0].set(color=COLOURS[run.rule], alpha=alpha)
            if j == 0:
                bars[0].set_label(label)
    axes.set_xticks(range(len(runs)), [run.rule.value for run in runs])
    axes.set_ylim(0, 1.35 * max(run.cost_yuan for run in runs))
    axes.legend(fontsize="small", loc="upper right", ncols=3)


def _members(axes: Axes, world: World, runs: Sequence[Run]) -> None:
    _dress(axes, "What the market is worth to each member, ascending by role", "yuan")
    names = {m.node: m.meter.role.value for m in world.members}
    base = runs[0].savings_yuan()
    nodes = sorted(base, key=lambda n: (names[n], base[n]))
    for run in runs:
        saved = run.savings_yuan()
        axes.plot([saved.get(n, 0.0) for n in nodes], ".", color=COLOURS[run.rule], markersize=5)
    axes.axhline(0, color=INK, linewidth=0.8)
    starts = [i for i, n in enumerate(nodes) if i == 0 or names[n] != names[nodes[i - 1]]]
    for start in starts[1:]:
        axes.axvline(start - 0.5, color=GRID)
    axes.set_xticks(starts, [names[nodes[i]] for i in starts], ha="left")
