"""The picture of the day: prices, energy, the line that binds, and the settlement by leg."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.demo.figures import Energy, Figures
from scripts.demo.terms import PERIOD_S, YUAN
from scripts.demo.trading import Trading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, RULE = "#1f2933", "#6b7680", "#e4e7eb"
GREEN, BLUE, RED = "#2f9e63", "#2f6db5", "#d1495b"
AMBER, TEAL, SLATE = "#edae49", "#30a0a0", "#9aa5b1"

_HOURS_PER_PERIOD = PERIOD_S / 3600
_KW_PER_WH = 1 / 1000 / _HOURS_PER_PERIOD


def plot_day(
    day: Figures, title: str, subtitle: str, line_name: Callable[[int], str], path: Path
) -> None:
    """Draw the day.

    Args:
        day: The day.
        title: Headline.
        subtitle: What stands below it.
        line_name: Names a line by the bus below it.
        path: PNG to write.
    """
    # Loaded here so that `--help` does not wait for the plotting library.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": RULE,
        "axes.labelcolor": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.axisbelow": True,
    }
    with rc_context(style):
        figure = Figure(figsize=(10.5, 11.6))
        FigureCanvasAgg(figure)
        prices, energy, line, legs = figure.subplots(
            4, 1, sharex=True, gridspec_kw={"height_ratios": [1.15, 1.0, 0.85, 1.2]}
        )
        figure.subplots_adjust(left=0.075, right=0.8, top=0.9, bottom=0.04, hspace=0.27)
        figure.text(0.075, 0.967, title, fontsize=15, fontweight="bold")
        figure.text(0.075, 0.944, subtitle, fontsize=9.5, color=MUTED)
        _prices(prices, day)
        _energy(energy, day)
        _line(line, day, line_name)
        _legs(legs, day)
        hours = len(day.periods) * _HOURS_PER_PERIOD
        step = 3 if hours > 8 else 1
        ticks = range(0, int(hours) + 1, step)
        legs.set_xlim(0, hours)
        legs.set_xticks([*ticks], [f"{hour % 24:02d}:00" for hour in ticks])
        figure.savefig(path, dpi=110)


def _edges(day: Figures) -> list[float]:
    return [i * _HOURS_PER_PERIOD for i in range(len(day.periods) + 1)]


def _series(day: Figures, value: Callable[[Energy], int]) -> list[float]:
    """Return an energy of every period as mean power in kW."""
    return [value(p.energy) * _KW_PER_WH for p in day.periods]


def _prices(axes: Axes, day: Figures) -> None:
    _dress(axes, "Prices", "yuan/kWh")
    all_prices, edges = [p.page.prices for p in day.periods], _edges(day)
    ends: list[tuple[float, str, str]] = []
    for name, label, colour, width in (
        ("retail_uyuan_per_kwh", "retail", SLATE, 1.2),
        ("compensation_uyuan_per_kwh", "compensation $P_c$", BLUE, 1.2),
        ("planned_uyuan_per_kwh", "planned $P_p$", MUTED, 1.0),
        ("selling_uyuan_per_kwh", "selling $P_s$", GREEN, 1.2),
        ("feed_in_uyuan_per_kwh", "feed-in", SLATE, 1.2),
    ):
        values = [getattr(prices, name) / YUAN for prices in all_prices]
        axes.stairs(values, edges, baseline=None, color=colour, linewidth=width)
        ends.append((values[-1], label, colour))
    zones = [p.trading.prices_uyuan_per_kwh if p.trading else [] for p in day.periods]
    high = [max(prices) / YUAN if prices else math.nan for prices in zones]
    low = [min(prices) / YUAN if prices else math.nan for prices in zones]
    axes.stairs(high, edges, baseline=low, fill=True, color=RED, alpha=0.2, linewidth=0)
    axes.stairs(high, edges, baseline=None, color=RED, linewidth=2.0, label="traded at, highest")
    axes.stairs(low, edges, baseline=None, color=AMBER, linewidth=2.0, label="traded at, lowest")
    axes.set_ylim(0, max(end[0] for end in ends) * 1.08)
    axes.legend(loc="upper left", frameon=False, ncols=2, borderaxespad=0.2)
    _name_ends(axes, ends)


def _energy(axes: Axes, day: Figures) -> None:
    _dress(axes, "Traded ahead, and metered", "kW")
    edges = _edges(day)
    for value, colour, label in (
        (lambda e: e.export_wh, AMBER, "fed in, metered"),
        (lambda e: e.import_wh, BLUE, "drawn, metered"),
    ):
        power = _series(day, value)
        axes.stairs(power, edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(power, edges, baseline=None, color=colour, linewidth=1.4, label=label)
    traded = _series(day, lambda e: e.traded_sold_wh)
    axes.stairs(traded, edges, baseline=None, color=INK, linewidth=1.6, label="traded")
    axes.set_ylim(0, None)
    _legend(axes)


def _line(axes: Axes, day: Figures, line_name: Callable[[int], str]) -> None:
    """Draw the flow of trades on the line that binds most often."""
    line = max(day.binding.items(), key=lambda item: (item[1], -item[0]), default=(1, 0))[0]
    _dress(axes, f"Trades on {line_name(line)}", "kW, up to the feed")
    edges = _edges(day)
    tradings = [p.trading for p in day.periods]

    def series(value: Callable[[Trading], int]) -> list[float]:
        return [value(t) * _KW_PER_WH if t else math.nan for t in tradings]

    flow = series(lambda t: int(t.clearing.flow_wh[line]))
    up = series(lambda t: int(t.auction.feeder.up_wh[line]))
    down = series(lambda t: -int(t.auction.feeder.down_wh[line]))
    full = [f if t and line in t.binding else math.nan for f, t in zip(flow, tradings, strict=True)]
    axes.stairs(flow, edges, fill=True, color=TEAL, alpha=0.25)
    axes.stairs(flow, edges, baseline=None, color=TEAL, linewidth=1.4, label="flow of trades")
    axes.stairs(full, edges, baseline=0, fill=True, color=RED, alpha=0.6, label="the line is full")
    axes.stairs(up, edges, baseline=None, color=INK, linewidth=1.0, label="limit")
    if any(value < 0 for value in flow):
        axes.stairs(down, edges, baseline=None, color=INK, linewidth=1.0)
    axes.axhline(0, color=INK, linewidth=0.8)
    _legend(axes)


def _legs(axes: Axes, day: Figures) -> None:
    _dress(axes, "Settlement by leg", "kW")
    edges = _edges(day)
    inner: Sequence[tuple[Callable[[Energy], int], str, str]] = (
        (lambda e: e.traded_sold_wh, "traded ahead", GREEN),
        (lambda e: e.compensated_wh, "compensation at $P_c$", BLUE),
        (lambda e: e.surplus_sold_wh, "surplus sold at $P_s$", TEAL),
        (lambda e: e.balanced_wh, "local balance", AMBER),
        (lambda e: e.grid_sold_wh, "sold to the grid", SLATE),
    )
    floor = [0.0] * len(day.periods)
    for value, label, colour in inner:
        top = [low + kw for low, kw in zip(floor, _series(day, value), strict=True)]
        axes.stairs(top, edges, baseline=floor, fill=True, color=colour, label=label, linewidth=0)
        floor = top
    bought = [-kw for kw in _series(day, lambda e: e.grid_bought_wh)]
    axes.stairs(bought, edges, fill=True, color=RED, label="bought from the grid", linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    _legend(axes)


def _dress(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=8)
    axes.set_ylabel(unit)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.tick_params(length=0)


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        borderaxespad=0,
        handlelength=1.4,
        labelspacing=0.7,
    )


def _name_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each curve's name beside its end, pushed apart where curves end close together."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.085
    place = float("-inf")
    for value, label, colour in sorted(ends):
        place = max(value, place + gap)
        axes.annotate(
            label,
            (1.012, (place - low) / (high - low)),
            xycoords="axes fraction",
            color=MUTED if colour == SLATE else colour,
            va="center",
        )
