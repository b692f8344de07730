"""`oracle meters` and `oracle backfill`: look at live meters, fill gaps, show what was signed."""

from __future__ import annotations

import json
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

from market.chain import ChainError
from market.deployment import Deployment, Market
from oracle.config import ConfigError, NodeConfig, load_config
from oracle.endpoints import connect
from oracle.meters.gate import Gate
from oracle.meters.roster import load_roster
from oracle.meters.settings import LiveConfig
from oracle.meters.source import SourceError
from oracle.meters.store import SampleStore

app = typer.Typer(
    no_args_is_help=True, help="Live meters: what came, what was refused, what they have signed."
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The node's TOML file.", show_default="node.toml")
]


@app.command()
def status(config: ConfigOption = Path("node.toml")) -> None:
    """Show how many samples are journalled, and what was refused and why; the node may run."""
    with _told():
        _, live, _ = _open(config)
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

        _, live, gate = _open(config)
        store = SampleStore(live.store)
        for file in files:
            filled = fill(read_file(file, mapping, meter), gate, store)
            typer.echo(
                f"{file}: {filled.added} new, {filled.known} known, {len(filled.refused)} refused"
            )
            for why in dict.fromkeys(f"{r.kind}: {r.why}" for r in filled.refused[:20]):
                typer.echo(f"  {why}")


@app.command()
def prove(
    meter: Annotated[str, typer.Argument(help="The meter's id, or one of its other names.")],
    pagination: Annotated[str, typer.Argument(help="The text's running number, such as T17.")],
    config: ConfigOption = Path("node.toml"),
    key: Annotated[
        str | None,
        typer.Option(help="Public key, DER in hex, if the meter has another one by now."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask the chain whether it agrees.")
    ] = False,
) -> None:
    """Print what it takes to prove on chain what a meter has signed, as JSON; nothing is sent.

    With --check exit status 1 if the chain does not agree. Anybody may then send it to
    `MeterProofs.prove`.
    """
    with _told():
        try:
            from oracle.meters.dispute import chain_says, exhibit_of
        except ImportError as exc:
            fix = "Install it: pip install 'subgrid[meters]'"
            raise SourceError("prove", f"the package {exc.name} is not there", fix) from exc

        settings, live, gate = _open(config)
        exhibit = exhibit_of(SampleStore(live.store), gate, meter, pagination, key)
        if not check:
            typer.echo(json.dumps(exhibit.as_json(), indent=2, ensure_ascii=False))
            return
        chain, _ = connect(settings.rpc_url, settings.rpc_timeout_s)
        answer = chain_says(Market(chain, Deployment.load(settings.deployment)), exhibit)
        shown = {**exhibit.as_json(), "chain": answer}
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        if not answer["signed"]:
            raise typer.Exit(1)


def _open(config: Path) -> tuple[NodeConfig, LiveConfig, Gate]:
    settings = load_config(config)
    live = settings.meters.live
    if live is None:
        raise ConfigError(f"{config}: meters.live is missing; docs/meters.md says what it holds")
    try:
        return settings, live, Gate(load_roster(settings.meters.roster), live.facts(), time.time)
    except ValueError as exc:
        raise ConfigError(f"{config}: meters.live: {exc}") from exc


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can mend into one line and exit status 1."""
    try:
        yield
    except (ConfigError, SourceError, ChainError) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(1) from exc
    except sqlite3.Error as exc:
        typer.echo(f"error: the samples cannot be written ({exc}); check free space", err=True)
        raise typer.Exit(1) from exc
