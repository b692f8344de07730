"""Gas tables, from the snapshots that tests/gas holds the contracts to: exact, so not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "gas"

LEMLAB_TRADE_GAS = 6_000_000
"""One lemlab trade at N = 100, its contracts optimized, summed over its steps on anvil."""

LEMLAB_CLEARING_GAS = {100: 87_000_000, 400: 1_300_000_000}
"""lemlab's clearing on chain by number of orders."""

AGREEMENT_STEPS = ("agree", "clear", "propose", "vote", "settle", "per agreement")
PAIR_STEPS = ("order", "clear", "vote on it", "report", "vote on that", "settle", "per pair")

Snapshot = dict[str, dict[str, dict[str, int]]]


def load(name: str) -> Any:  # noqa: ANN401
    """Read a snapshot."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def per_trade(snapshot: Snapshot, steps: tuple[str, ...]) -> str:
    """Return a table of a period's gas per trade, by market and state of storage."""
    lines = [
        "| market | storage | " + " | ".join(steps) + " | against lemlab |",
        "|---|---|" + "---:|" * (len(steps) + 1),
    ]
    for name, phases in snapshot.items():
        trades = int(name.split()[0]) // 2
        for phase in ("fresh", "steady"):
            costs = phases[phase]
            cells = [f"{costs[step] // trades:,}" for step in steps[:-1]]
            total = costs[steps[-1]]
            ratio = f"{LEMLAB_TRADE_GAS / total:.0f}x less" if trades > 1 else ""
            lines.append("| " + " | ".join([name, phase, *cells, f"{total:,}", ratio]) + " |")
    return "\n".join(lines) + "\n"


def clearings(snapshot: Snapshot) -> str:
    """Return a table of what `clear` costs with wires, by number of orders."""
    lines = ["| market | clear | per order | lemlab's clearing |", "|---|---:|---:|---:|"]
    for name, phases in snapshot.items():
        orders = int(name.split()[0])
        gas = phases["steady"]["clear"]
        peer = LEMLAB_CLEARING_GAS.get(orders)
        lines.append(f"| {name} | {gas:,} | {gas // orders:,} | {f'{peer:,}' if peer else ''} |")
    return "\n".join(lines) + "\n"


def placing(snapshot: dict[str, dict[str, int]]) -> str:
    """Return a table of what placing an order costs, by the way it comes in."""
    names = list(snapshot["steady"])
    lines = ["| storage | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for phase in ("fresh", "steady"):
        cells = [f"{snapshot[phase][name]:,}" for name in names]
        lines.append(f"| {phase} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page's section on gas."""
    pairs = load("pair.json")
    return "\n".join(
        [
            "## Gas of a pair of orders\n",
            "Per pair of a bid and an ask on the rural1 feeder, everything included: signed orders "
            "in batches of 50, the clearing with wires, three votes on it, the report, three votes "
            "on that, settlement. Target 75,000 at 100 orders on used storage; exact, held by "
            "`tests/gas`. lemlab's whole trade is about 6 Mgas at N = 100.\n",
            per_trade(pairs, PAIR_STEPS),
            "What `clear` costs in all:\n",
            clearings(pairs),
            "One order, by the way it comes in (TRANSAX 77,000, first 94,000; lemlab 173,000):\n",
            placing(load("orders.json")),
            "## Gas of a bilateral trade\n",
            "Per agreement, everything included: placing it in a batch with two signatures, "
            "clearing, the report, three votes, settlement.\n",
            per_trade(load("snapshot.json"), AGREEMENT_STEPS),
        ]
    )
