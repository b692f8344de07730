"""`python -m scripts.demo`."""

from __future__ import annotations

import errno
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

SCENARIO = Path("data/scenarios/rural1-congested.toml")

INTERRUPTED = 130

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def demo(
    scenario: Annotated[
        Path, typer.Option(help="Who trades and what happens; docs/scenarios.md has every key.")
    ] = SCENARIO,
    rule: Annotated[
        str, typer.Option(help="planned, uniform or pairwise, instead of the scenario's.")
    ] = "",
    day: Annotated[
        int | None,
        typer.Option(
            min=0, max=13, help="First day of the profiles, 18 July 2016 plus so many, likewise."
        ),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Number of days, likewise.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every chance, likewise.")] = None,
    periods: Annotated[
        int | None, typer.Option(min=1, help="Quarter hours to play, from midnight; else all.")
    ] = None,
    story: Annotated[
        bool, typer.Option(help="Tell the paper's story before the day: A, B, and C in reserve.")
    ] = True,
    meters: Annotated[
        Literal["mqtt", "file"],
        typer.Option(help="Meters that speak MQTT, or a profile file in their place."),
    ] = "mqtt",
    out: Annotated[Path, typer.Option(help="Folder for tables, picture and logs.")] = Path(
        "out/demo"
    ),
) -> None:
    """Trade for a day on a chain of its own, from signed agreements to settled money.

    Starts a private chain and four oracle processes, and plays two stories. In the first, the
    paper's, A sells B 10 kWh by a bilateral agreement and delivers as planned, too little and too
    much; the amounts are compared to the unit. In the second, the members of a village order by
    their strategies, a relayer places what they signed, and the oracle processes clear every
    quarter hour within the wires, vote, read the meters and settle. Every period is cleared and
    settled again off chain from what the chain tells.

    Nothing is left running. The exit status is 0 if every amount was as expected, else 1.

    Examples: `make demo`, a quick look with `make demo ARGS="--periods 8"`, another rule with
    `make demo ARGS="--rule pairwise"`, a cloudy day with
    `make demo ARGS="--scenario data/scenarios/rural1-calm.toml"`.
    """
    # Loaded here so that `--help` answers at once.
    from market.chain import ChainError
    from market.contracts import ArtifactError
    from market.devnet import DevnetError
    from market.dispatch import DispatchError
    from market.grid import GridError
    from market.history import HistoryError
    from oracle.meters.source import SourceError
    from scripts.demo.errors import DemoError
    from scripts.demo.run import Demo, Plan
    from scripts.simulate.scenario import ScenarioError, load_scenario

    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        changes = {"rule": rule, "first_day": day, "days": days, "seed": seed}
        given = {key: value for key, value in changes.items() if value not in (None, "")}
        found = load_scenario(scenario, given)
        plan = Plan(found, scenario.stem, periods, story, meters, out)
        as_expected = Demo(plan, console).run()
    except (
        *(ArtifactError, ChainError, DemoError, DevnetError, DispatchError, GridError),
        *(HistoryError, ScenarioError, SourceError),
    ) as exc:
        console.print(f"[bold red]The demo stopped:[/] {escape(str(exc))}", highlight=False)
        raise typer.Exit(1) from exc
    except OSError as exc:
        if exc.filename is None and exc.errno not in DISK_FULL:
            raise
        problem = f"{exc.filename or out}: {exc.strerror}"
        console.print(
            f"[bold red]The demo stopped:[/] {escape(problem)}; make room there, or give another "
            "folder with --out",
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
