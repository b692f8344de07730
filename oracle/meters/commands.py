"""`oracle meters`: look at live meters, and fill their gaps from files."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from oracle.config import ConfigError, load_config
from oracle.meters.gate import Gate
from oracle.meters.roster import load_roster
from oracle.meters.settings import LiveConfig
from oracle.meters.source import SourceError
from oracle.meters.store import SampleStore

app = typer.Typer(no_args_is_help=True, help="Live meters: what came, what was refused, back-fill.")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The node's TOML file.", show_default="node.toml")
]


@app.command()
def status(config: ConfigOption = Path("node.toml")) -> None:
    """Show how many samples are journalled, and what was refused and why; the node may run."""
    with _told():
        live, _ = _open(config)
        store = SampleStore(live.store)
        typer.echo(
            f"{store.count()} samples of {store.meters()} meters in {live.store}, "
            f"{live.store.stat().st_size / 1e6:.1f} MB"
        )
        table = Table("source", "kind", "meter", "times", "last", "why")
        for tally in store.tallies():
            last = datetime.fromtimestamp(tally.last_ms // 1000, UTC)
            table.add_row(
                *(tally.source, tally.kind, tally.meter or "unknown", str(tally.count)),
                *(f"{last:%Y-%m-%d %H:%M:%S}Z", tally.why),
            )
        if table.row_count:
            Console().print(table)


@app.command()
def backfill(
    files: Annotated[
        list[Path], typer.Argument(help="Green Button (.xml), NEM12, or CSV with --mapping.")
    ],
    config: ConfigOption = Path("node.toml"),
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file that says what the columns of a CSV mean.")
    ] = None,
    meter: Annotated[
        str | None, typer.Option(help="The meter a Green Button file is of, if it is of one.")
    ] = None,
) -> None:
    """Add the samples of files to those of the live meters; giving a file again changes nothing.

    The node may run. What it has reported and can still be corrected, it corrects by itself.
    """
    with _told():
        from oracle.meters.backfill import fill, read_file

        live, gate = _open(config)
        store = SampleStore(live.store)
        for file in files:
            filled = fill(read_file(file, mapping, meter), gate, store)
            typer.echo(
                f"{file}: {filled.added} new, {filled.known} known, {len(filled.refused)} refused"
            )
            for why in dict.fromkeys(f"{r.kind}: {r.why}" for r in filled.refused[:20]):
                typer.echo(f"  {why}")


def _open(config: Path) -> tuple[LiveConfig, Gate]:
    settings = load_config(config)
    live = settings.meters.live
    if live is None:
        raise ConfigError(f"{config}: meters.live is missing; docs/meters.md says what it holds")
    try:
        return live, Gate(load_roster(settings.meters.roster), live.facts(), time.time)
    except ValueError as exc:
        raise ConfigError(f"{config}: meters.live: {exc}") from exc


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can mend into one line and exit status 1."""
    try:
        yield
    except (ConfigError, SourceError) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(1) from exc
    except sqlite3.Error as exc:
        typer.echo(f"error: the samples cannot be written ({exc}); check free space", err=True)
        raise typer.Exit(1) from exc
