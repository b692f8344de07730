"""`python -m scripts.demo`."""

from __future__ import annotations

import errno
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

DEFAULT_DAY = 10
PERIODS_PER_DAY = 96

INTERRUPTED = 130

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def demo(
    day: Annotated[
        int,
        typer.Option(
            help="Day of the profiles to play, 1 to 13: 18 July 2016 plus so many days. 7 is the "
            "sunniest; before 10 the sun shone, so that yesterday is a bad forecast."
        ),
    ] = DEFAULT_DAY,
    periods: Annotated[
        int,
        typer.Option(min=1, max=PERIODS_PER_DAY, help="Quarter hours of that day, from midnight."),
    ] = PERIODS_PER_DAY,
    story: Annotated[
        bool, typer.Option(help="Tell the paper's story before the day: A, B, and C in reserve.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Folder for tables, picture and logs.")] = Path(
        "out/demo"
    ),
) -> None:
    """Trade for a day on a chain of its own, from signed agreements to settled money.

    Starts a private chain and four oracle processes, and plays two stories. In the first, the
    paper's, A sells B 10 kWh and delivers as planned, too little and too much; the amounts are
    compared to the unit. In the second, 28 households, 8 PV plants and 5 storages of a village
    agree on what they expect from yesterday, and the meters tell what happened. Every period is
    settled on chain by the oracle processes and recomputed by the reference model.

    Nothing is left running. The exit status is 0 if every amount was as expected, else 1.

    Examples: `make demo`, a quick look with `make demo ARGS="--periods 8"`, the sunniest day with
    `make demo ARGS="--day 7"`.
    """
    # Loaded here so that `--help` answers at once.
    from market.chain import ChainError
    from market.contracts import ArtifactError
    from market.devnet import DevnetError
    from oracle.meters.source import SourceError
    from scripts.demo.errors import DemoError
    from scripts.demo.run import Demo, Plan

    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        as_expected = Demo(Plan(day, periods, story, out), console).run()
    except (ChainError, DevnetError, DemoError, SourceError, ArtifactError) as exc:
        console.print(f"[bold red]The demo stopped:[/] {exc}", highlight=False)
        raise typer.Exit(1) from exc
    except OSError as exc:
        if exc.filename is None and exc.errno not in DISK_FULL:
            raise
        problem = f"{exc.filename or out}: {exc.strerror}"
        console.print(
            f"[bold red]The demo stopped:[/] {problem}; make room there, or give another folder "
            "with --out",
            highlight=False,
        )
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        console.print("Stopped; chain and oracle processes are ended.")
        raise typer.Exit(INTERRUPTED) from None
    if not as_expected:
        console.print("[bold red]Not every amount is as expected;[/] see the marks above.")
        raise typer.Exit(1)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C, so that nothing is left running."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(app())
