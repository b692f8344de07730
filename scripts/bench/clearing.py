"""Time and memory of the clearing engine beside what its peers need for as many orders.

Every figure comes from a process of its own, so that its peak memory is that of one clearing with
the interpreter and numpy, and nothing else.
"""

import multiprocessing
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from market.clearing import Feeder, Orders, PoolClearing, Rule, check, clear

SIZE = 100_000
"""Orders at which the limits hold."""

LIMIT_S = {Rule.PLANNED: 0.1, Rule.UNIFORM: 0.1, Rule.PAIRWISE: 0.5}
"""Longest clearing of `SIZE` orders in one zone."""

LIMIT_MB = 250
"""Highest peak memory of a clearing of `SIZE` orders."""

LIMIT_SPEEDUP = 10
"""How many times faster than lemlab's periodic double auction `uniform` must be."""

PRICES_UYUAN_PER_KWH = 1_000_000
BUSES = 100


@dataclass(frozen=True)
class Baseline:
    """What a peer needed; half bids, half offers, random prices, 2 shared cores, Python 3.11.

    Attributes:
        name: The peer and its function.
        figures: Seconds and memory by number of orders, as measured; None if not run.
        fastest_s: Its best time at `SIZE`, None if it did not finish.
    """

    name: str
    figures: dict[int, str]
    fastest_s: float | None


# Measured with the packages of PyPI before this engine existed.
BASELINES = (
    Baseline(
        "lemlab clearing_pda",
        {1_000: "0.024 s, 118 MB", 10_000: "0.09-0.11 s, 130 MB", SIZE: "0.85-1.12 s, 247 MB"},
        0.85,
    ),
    Baseline(
        "lemlab community clearing cc",
        {1_000: "32-39 s", 10_000: "6.2 s", SIZE: "33.7 s, 3.2 GB"},
        33.7,
    ),
    Baseline(
        "gsy-framework pay-as-clear",
        {1_000: "0.094 s", 10_000: "6.6 s, 633 MB", SIZE: "MemoryError after 325 s at 16.7 GB"},
        None,
    ),
    Baseline(
        "gsy-framework pay-as-bid",
        {1_000: "0.56 s", 10_000: "72 s", SIZE: "stopped at 1200 s"},
        None,
    ),
    Baseline(
        "Energy Web Origin MatchingEngine",
        {1_000: "16 s", 10_000: "unfinished (4k: over 400 s)"},
        None,
    ),
)


@dataclass(frozen=True)
class Sample:
    """One measured clearing.

    Attributes:
        rule: The rule.
        orders: Number of orders.
        buses: Buses of the feeder, 1 for no lines.
        zones: Zones it ended in; 0 where the rule has none.
        best_s: Shortest wall time of the repetitions, s.
        median_s: Their median, s.
        check_s: Wall time of the verifier, s.
        peak_mb: Peak memory of the process that cleared, before it checked, MB.
    """

    rule: Rule
    orders: int
    buses: int
    zones: int
    best_s: float
    median_s: float
    check_s: float
    peak_mb: float


def random_book(orders: int, buses: int, seed: int = 0) -> Orders:
    """Half bids, half asks, random prices, about one node per order."""
    rng = np.random.default_rng(seed)
    return Orders(
        node=rng.integers(1, orders + 1, orders),
        bus=rng.integers(0, buses, orders),
        is_buy=rng.permutation(orders) % 2 == 0,
        energy_wh=rng.integers(1, 5_000, orders),
        limit_uyuan_per_kwh=rng.integers(0, PRICES_UYUAN_PER_KWH, orders),
        seq=np.arange(orders),
    )


def congested_feeder(buses: int, orders: int, seed: int = 0) -> Feeder:
    """A branching feeder with headroom from nothing to five times what an order is."""
    rng = np.random.default_rng(seed)
    buses_up = [int(rng.integers(max(0, bus - 4), bus)) for bus in range(1, buses)]
    room = 5 * orders
    return Feeder(
        np.array([0, *buses_up]), rng.integers(0, room, buses), rng.integers(0, room, buses)
    )


def measure(rule: Rule, orders: int, buses: int, repeat: int) -> Sample:
    """Clear one random book in this process."""
    book = random_book(orders, buses)
    feeder = congested_feeder(buses, orders) if buses > 1 else None
    planned = PRICES_UYUAN_PER_KWH // 2 if rule is Rule.PLANNED else None
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        clearing = clear(rule, book, feeder=feeder, planned_uyuan_per_kwh=planned)
        seconds.append(time.perf_counter() - start)
    # Linux counts kilobytes, macOS bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    start = time.perf_counter()
    check(rule, book, clearing, feeder=feeder, planned_uyuan_per_kwh=planned)
    return Sample(
        rule=rule,
        orders=orders,
        buses=buses,
        zones=len(clearing.zones) if isinstance(clearing, PoolClearing) else 0,
        best_s=min(seconds),
        median_s=statistics.median(seconds),
        check_s=time.perf_counter() - start,
        peak_mb=peak_mb,
    )


def samples(sizes: list[int], repeat: int) -> list[Sample]:
    """Measure every rule at every size, and at the largest with lines, each in its own process."""
    jobs = [(rule, size, 1) for size in sizes for rule in Rule]
    jobs += [(rule, max(sizes), BUSES) for rule in Rule]
    spawn = multiprocessing.get_context("spawn")
    found = []
    for rule, size, buses in jobs:
        with spawn.Pool(1) as pool:
            found.append(pool.apply(measure, (rule, size, buses, repeat)))
    return found


def missed(found: list[Sample]) -> list[str]:
    """Say which limits do not hold."""
    faults = []
    for sample in found:
        if sample.orders != SIZE or sample.buses > 1:
            continue
        name, limit_s = sample.rule.value, LIMIT_S[sample.rule]
        if sample.best_s > limit_s:
            faults.append(f"{name}: {sample.best_s:.3f} s, at most {limit_s} s")
        if sample.peak_mb > LIMIT_MB:
            faults.append(f"{name}: {sample.peak_mb:.0f} MB, at most {LIMIT_MB} MB")
        speedup = (BASELINES[0].fastest_s or 0) / sample.best_s
        if sample.rule is Rule.UNIFORM and speedup < LIMIT_SPEEDUP:
            faults.append(f"{name}: {speedup:.1f} times lemlab, at least {LIMIT_SPEEDUP}")
    return faults


def show(found: list[Sample], console: Console) -> None:
    """Print the samples and the peers."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in (
        "rule",
        "orders",
        "buses",
        "zones",
        "best",
        "median",
        "peak",
        "check",
        "of lemlab",
    ):
        table.add_column(heading, justify="left" if heading == "rule" else "right", no_wrap=True)
    for sample in found:
        lemlab_s = BASELINES[0].fastest_s
        faster = lemlab_s / sample.best_s if lemlab_s and sample.orders == SIZE else None
        table.add_row(
            sample.rule.value,
            f"{sample.orders:,}",
            str(sample.buses),
            str(sample.zones or "-"),
            f"{sample.best_s * 1000:.1f} ms",
            f"{sample.median_s * 1000:.1f} ms",
            f"{sample.peak_mb:.0f} MB",
            f"{sample.check_s:.2f} s",
            f"1/{faster:.0f}" if faster else "-",
        )
    console.print(table)
    sizes = (1_000, 10_000, SIZE)
    peers = Table("peer", *(f"{size:,}" for size in sizes), box=SIMPLE_HEAD, pad_edge=False)
    for baseline in BASELINES:
        peers.add_row(baseline.name, *(baseline.figures.get(size, "-") for size in sizes))
    console.print(peers)


def main(
    size: Annotated[
        list[int] | None, typer.Option(help="Number of orders; may be given several times.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Clearings per figure.")] = 7,
) -> None:
    """Time every rule, with and without lines, beside its peers; fail if a limit does not hold."""
    console = Console()
    found = samples(size or [1_000, 10_000, SIZE], repeat)
    show(found, console)
    faults = missed(found)
    for fault in faults:
        console.print(f"[red]missed[/red] {fault}")
    raise typer.Exit(bool(faults))


if __name__ == "__main__":
    typer.run(main)
