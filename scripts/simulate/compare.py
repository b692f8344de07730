"""Plays a scenario under some rules and writes what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from market.clearing import Rule
from scripts.simulate.figures import Run
from scripts.simulate.play import Play
from scripts.simulate.plot import plot_comparison
from scripts.simulate.scenario import Scenario
from scripts.simulate.tables import comparison, lines_table, write_members, write_periods
from scripts.simulate.world import World


def compare(
    scenario: Scenario, rules: Sequence[Rule], name: str, out: Path, console: Console
) -> list[Run]:
    """Play, print the comparison, and write picture and tables.

    Args:
        scenario: What to play.
        rules: Under which rules.
        name: What to call it.
        out: Folder for what is written.
        console: Where to print.

    Raises:
        ScenarioError: If the scenario does not fit its grid.
        SourceError: If meters cannot be read.
        GridError: If the grid cannot be used, or a power flow has no solution.
        OSError: If a file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    world = World(scenario)
    runs = play(world, rules, console)
    title = f"{name}: {scenario.grid}, {_days(scenario)}, seed {scenario.seed}"
    console.print(comparison(runs, title))
    if any(run.binding_periods for run in runs):
        console.print(lines_table(world, runs))
    files = [out / f"{name}{ending}" for ending in (".png", "-periods.csv", "-members.csv")]
    plot_comparison(world, runs, title, files[0])
    write_periods(runs, files[1])
    write_members(world, runs, files[2])
    for file in files:
        console.print(f"  {file}", style="dim")
    return runs


def play(world: World, rules: Sequence[Rule], console: Console) -> list[Run]:
    """Play a world under some rules, with a bar while it lasts."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    runs = []
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(rules) * len(world.scenario.rows))
        for rule in rules:
            progress.update(task, description=rule.value)
            outcomes = Play(world, rule).run(lambda count: progress.advance(task, count))
            runs.append(Run.of(world, rule, outcomes))
    return runs


def _days(scenario: Scenario) -> str:
    last = scenario.first_day + scenario.days - 1
    return f"day {last}" if scenario.days == 1 else f"days {scenario.first_day} to {last}"
