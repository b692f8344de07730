"""Measures everything that has a target, prints it, and writes it to docs/benchmarks.md.

Each part runs in a process of its own, beside its baseline. Gas is exact, so it is not measured
here but read from the snapshot that tests/gas holds the contracts to.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
SNAPSHOT = ROOT / "tests" / "gas" / "snapshot.json"

PARTS = {
    "Clearing engine": ("scripts.bench.clearing", "```text\n{}```\n"),
    "AC power flow": ("scripts.bench.powerflow", "{}"),
    "Ingest of live meters": ("scripts.bench.ingest", "{}"),
    "What tricks earn": ("scripts.bench.gaming", "{}"),
}
"""Title, and module with how its output stands on the page."""

LEMLAB_TRADE_GAS = 6_000_000
"""One lemlab trade at N = 100, its contracts optimized, summed over its steps on anvil."""

STEPS = ("agree", "clear", "propose", "vote", "settle", "per agreement")


def run(module: str) -> str:
    """Run one part and return what it prints.

    Raises:
        SystemExit: If it misses a target or fails; what it printed is shown.
    """
    print(f"measuring: python -m {module}", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout)
    if done.returncode != 0:
        raise SystemExit(f"{module} fails or misses a target, see above")
    return done.stdout


def gas_table(snapshot: dict[str, Any]) -> str:
    """Return the gas of a period per agreement, by market size and state of storage."""
    lines = [
        "| nodes | storage | " + " | ".join(STEPS) + " | against lemlab |",
        "|---|---|" + "---:|" * (len(STEPS) + 1),
    ]
    for nodes, phases in snapshot.items():
        trades = int(nodes.split()[0]) // 2
        for phase in ("fresh", "steady"):
            costs = phases[phase]
            cells = [f"{costs[step] // trades:,}" for step in STEPS[:-1]]
            total = costs[STEPS[-1]]
            ratio = f"{LEMLAB_TRADE_GAS / total:.0f}x less" if trades > 1 else ""
            row = [nodes, phase, *cells, f"{total:,}", ratio]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main(
    write: Annotated[bool, typer.Option(help="Write docs/benchmarks.md.")] = True,
) -> None:
    """Measure everything that has a target and print it with its baseline."""
    gas = gas_table(json.loads(SNAPSHOT.read_text(encoding="utf-8")))
    print(gas)
    sections = [
        "# Benchmarks\n",
        f"`make bench` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}. Times are from a shared machine.\n",
        "## Gas of a bilateral trade\n",
        "Per agreement, everything included: placing it in a batch with two signatures, clearing, "
        "the report, three votes, settlement. Exact, held by `tests/gas`. lemlab's whole trade "
        "is about 6 Mgas at N = 100.\n",
        gas,
    ]
    for title, (module, form) in PARTS.items():
        sections += [f"## {title}\n", form.format(run(module))]
    if write:
        PAGE.write_text("\n".join(sections), encoding="utf-8")
        print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    typer.run(main)
