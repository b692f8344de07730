"""The day as CSV: one file by period, one by node."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from market.prices import ORDERED_FIELDS
from scripts.demo.figures import Energy, Figures
from scripts.demo.trading import Trading

ENERGY_COLUMNS = tuple(asdict(Energy()))

PERIOD_COLUMNS = (
    "period",
    "local_time",
    *ORDERED_FIELDS,
    "fee_uyuan_per_kwh",
    "orders",
    "traded_wh",
    "prices_uyuan_per_kwh",
    "rent_nyuan",
    "binding_lines",
    "clearings_opposed",
    *ENERGY_COLUMNS,
    "members_net_uyuan",
    "grid_company_net_uyuan",
)
NODE_COLUMNS = (
    "node",
    "meter",
    "role",
    "bus",
    *ENERGY_COLUMNS,
    "net_uyuan",
    "net_with_grid_company_only_uyuan",
    "saving_uyuan",
)


def write_periods(
    day: Figures, local_time: Callable[[int], str], line_name: Callable[[int], str], path: Path
) -> None:
    """Write one row per period: prices, trades, energies and money.

    Args:
        day: The day.
        local_time: Writes the start of a period.
        line_name: Names a line by the bus below it.
        path: The file.
    """
    _write(
        path,
        PERIOD_COLUMNS,
        (
            [
                f.page.period,
                local_time(f.page.period),
                *(getattr(f.page.prices, name) for name in ORDERED_FIELDS),
                f.page.prices.fee_uyuan_per_kwh,
                *_trading(f.trading, line_name),
                *asdict(f.energy).values(),
                sum(f.page.nets_uyuan.values()),
                f.page.settlement.grid_company.net_uyuan,
            ]
            for f in day.periods
        ),
    )


def _trading(trading: Trading | None, line_name: Callable[[int], str]) -> list[object]:
    if trading is None:
        return [0, 0, "", 0, "", 0]
    return [
        trading.orders,
        trading.totals.volume_wh,
        " ".join(map(str, sorted(set(trading.prices_uyuan_per_kwh)))),
        trading.totals.rent_nyuan,
        "; ".join(map(line_name, trading.binding)),
        trading.opposed,
    ]


def write_nodes(day: Figures, path: Path) -> None:
    """Write one row per node: energies, money, and what the market was worth to it."""
    _write(
        path,
        NODE_COLUMNS,
        (
            [
                n.node.id,
                n.node.name,
                n.node.meter.role,
                n.node.meter.bus,
                *asdict(n.energy).values(),
                n.net_uyuan,
                n.alone_uyuan,
                n.saving_uyuan,
            ]
            for n in day.nodes
        ),
    )


def _write(path: Path, columns: tuple[str, ...], rows: Iterable[list[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
