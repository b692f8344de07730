"""Measures everything that has a target, prints it, and writes it to docs/benchmarks.md.

Each part runs in a process of its own, beside its baseline. Gas is exact, so it is not measured
here but read from the snapshot that tests/gas holds the contracts to.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from scripts.bench import gas

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"

PARTS = {
    "Clearing engine": ("scripts.bench.clearing", "```text\n{}```\n"),
    "AC power flow": ("scripts.bench.powerflow", "{}"),
    "Ingest of live meters": ("scripts.bench.ingest", "{}"),
    "A week of live meters": ("scripts.bench.week", "{}"),
    "Throughput": ("scripts.bench.throughput", "{}"),
    "From a period's close to its settlement": ("scripts.bench.settling", "{}"),
    "What tricks earn": ("scripts.bench.gaming", "{}"),
}
"""Title, and module with how its output stands on the page."""


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


def main(
    write: Annotated[bool, typer.Option(help="Write docs/benchmarks.md.")] = True,
) -> None:
    """Measure everything that has a target and print it with its baseline."""
    exact = gas.page()
    print(exact)
    sections = [
        "# Benchmarks\n",
        f"`make bench` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}. Times are from a shared machine.\n",
        exact,
    ]
    for title, (module, form) in PARTS.items():
        sections += [f"## {title}\n", form.format(run(module))]
    if write:
        PAGE.write_text("\n".join(sections), encoding="utf-8")
        print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    typer.run(main)
