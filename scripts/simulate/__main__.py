"""`python -m scripts.simulate SCENARIO`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from market.clearing import Rule

ALL = "all"
INTERRUPTED = 130

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def simulate(
    scenario: Annotated[
        Path,
        typer.Argument(help="TOML file; data/scenarios has some, docs/scenarios.md has every key."),
    ],
    rule: Annotated[
        str,
        typer.Option(help="planned, uniform or pairwise; all to compare; else the scenario's own."),
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the scenario's.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the tables.")] = Path(
        "out/simulate"
    ),
) -> None:
    """Play a scenario without a chain and compare what the rules make of it.

    Members order by their strategies, the book is cleared within the wires, the AC check tightens
    lines until it is content, meters tell what was delivered, and every period is settled. The same
    scenario and seed give the same result, to the unit.

    Example: `python -m scripts.simulate data/scenarios/rural1-congested.toml --rule all`
    """
    # Loaded here so that `--help` answers at once.
    from market.dispatch import DispatchError
    from market.grid import GridError
    from oracle.meters.source import SourceError
    from scripts.simulate.compare import compare
    from scripts.simulate.scenario import ScenarioError, load_scenario

    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        found = load_scenario(scenario)
        if seed is not None:
            found = found.model_copy(update={"seed": seed})
        rules = tuple(Rule) if rule == ALL else (Rule(rule) if rule else found.rule,)
        compare(found, rules, scenario.stem, out, console)
    except ValueError as exc:
        if isinstance(exc, GridError):
            problem = str(exc)
        elif rule in {ALL, "", *(r.value for r in Rule)}:
            raise
        else:
            problem = f"--rule {rule}: give {', '.join(r.value for r in Rule)} or {ALL}"
        console.print(f"[bold red]The simulation stopped:[/] {problem}")
        raise typer.Exit(1) from exc
    except (ScenarioError, SourceError, DispatchError) as exc:
        console.print(f"[bold red]The simulation stopped:[/] {exc}")
        raise typer.Exit(1) from exc
    except OSError as exc:
        console.print(
            f"[bold red]The simulation stopped:[/] {exc.filename or out}: {exc.strerror}; give "
            "another folder with --out"
        )
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise typer.Exit(INTERRUPTED) from None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(app())
