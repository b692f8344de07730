"""The committee node's command line."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from market.chain import ChainError
from market.contracts import ArtifactError
from oracle import log
from oracle.config import ConfigError, load_config
from oracle.journal import JournalError
from oracle.meters.source import SourceError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""A seat of Subgrid's oracle committee: reads meters, agrees with the other seats on
    prices and readings, and keeps every period moving until it is settled.

    A node needs a configuration file. The smallest one:

    \b
        rpc_url = "http://127.0.0.1:8545"
        deployment = "deployment.json"    # written when the market was deployed
        journal = "seat0.sqlite"          # the node's memory: never delete, never share
        seat = 0
        [key]
        env = "SUBGRID_SEAT_KEY"          # the variable that holds the seat's private key
        [meters]
        roster = "meters.csv"
        profile = "profiles.csv.gz"

    All keys are explained by `python -m oracle config`. A node may be stopped or killed at any
    instant and started again with the same file: it resumes from its journal and the chain.
    """,
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The node's TOML file.", show_default="node.toml")
]


class Level(StrEnum):
    """How much to log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.command()
def run(
    config: ConfigOption = Path("node.toml"),
    log_level: Annotated[Level, typer.Option(help="Least important lines to log.")] = Level.INFO,
) -> None:
    """Run the node until Ctrl-C or SIGTERM.

    Logs to standard error, and prints one line `ready seat=...` to standard output once the node
    has caught up with the chain.
    """
    log.start(log_level)
    with _told():
        from oracle.node import Node

        node = Node(load_config(config))
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: node.stop())
        node.sync()
        typer.echo(f"ready {node.summary}")
        node.run()


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can mend into one line and exit status 1."""
    try:
        yield
    except (ConfigError, ChainError, JournalError, SourceError, ArtifactError) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
