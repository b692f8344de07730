"""The committee node's command line."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from market.chain import ChainError, WrongChain
from market.contracts import ArtifactError
from market.deployment import DeploymentError
from oracle import log
from oracle.config import ConfigError, NodeConfig, load_config
from oracle.journal import Journal, JournalError
from oracle.meters.commands import app as meters
from oracle.meters.commands import backfill
from oracle.meters.keeping import Samples
from oracle.meters.source import SourceError
from oracle.monitor import Pulse, served
from oracle.node import LONGEST_BACKOFF_S, Node
from oracle.upkeep import (
    Contents,
    Found,
    Part,
    back_up,
    forget_where_it_began,
    inspect,
    is_damage,
    prune,
    restore,
    sole_use,
)

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
        \\[key]
        env = "SUBGRID_SEAT_KEY"          # the variable that holds the seat's private key
        \\[meters]
        roster = "meters.csv"
        profile = "profiles.csv.gz"

    Environment variables win over the file: SUBGRID_ORACLE_MONITOR__LISTEN is the key
    monitor.listen. `docs/operating.md` explains all keys and every alarm. A node may be stopped
    or killed at any instant and started again with the same file: it resumes from its journal
    and the chain.
    """,
)

app.add_typer(meters, name="meters")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The node's TOML file.", show_default="node.toml")
]


USERS_TO_MEND = (ConfigError, JournalError, SourceError, ArtifactError)
"""What no waiting mends."""


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
    log_format: Annotated[
        log.Format, typer.Option(help="Lines for people, or one JSON object a line for machines.")
    ] = log.Format.TEXT,
) -> None:
    """Run the node until Ctrl-C or SIGTERM.

    Logs to standard error, and prints one line `ready seat=...` to standard output once the node
    has caught up with the chain.
    """
    log.start(log_level, log_format)
    with _told(config):
        settings = load_config(config)
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.set())
        pulse = Pulse()
        with sole_use(settings.journal), served(settings.monitor.listen, pulse) as address:
            if address:
                log.info("monitored", at=address)
            node = _open_node(settings, stop, pulse)
            if node is None:
                return
            typer.echo(f"ready {node.summary}")
            node.run(stop)


@app.command()
def status(
    config: ConfigOption = Path("node.toml"),
    last: Annotated[int, typer.Option(min=1, help="Latest periods to show.")] = 12,
) -> None:
    """Show what the node's journal knows; the node may be running, the chain is not asked."""
    with _told(config):
        from oracle.audit import period_lines

        settings = load_config(config)
        journal = Journal(settings.journal, read_only=True)
        block, _ = journal.cursor() or (0, b"")
        sent = ", ".join(f"{n} {state}" for state, n in journal.transaction_counts().items())
        typer.echo(f"seat {journal.about('seat')} of market {journal.about('market')}")
        typer.echo(f"followed to block {block}; transactions: {sent or 'none'}")
        typer.echo(
            f"searched for evidence to block {journal.about('listened') or 0}; "
            f"ended before period {journal.floor()}, pruned before "
            f"{journal.about('pruned_before') or 0}; "
            f"journal {settings.journal.stat().st_size / 1e6:.1f} MB"
        )
        if journal.about("halted"):
            typer.echo(f"silent, for its key is used elsewhere: {journal.about('halted')}")
        table = Table("period", "stage", "report", "settled on", "own votes")
        for line in period_lines(journal, last):
            table.add_row(
                str(line.period),
                line.stage,
                f"v{line.version}" if line.version else "none",
                "" if line.settled is None else f"v{line.settled}" if line.settled else "none",
                "\n".join(line.votes),
            )
        Console().print(table)


@app.command()
def verify(config: ConfigOption = Path("node.toml")) -> None:
    """Compare every accepted report with this node's own readings and with the chain.

    Exit status 1 if a report contradicts a reading in the journal, or the chain the journal.
    """
    with _told(config):
        from market.deployment import Deployment, Market
        from oracle.audit import verify as findings
        from oracle.endpoints import connect
        from oracle.meters.roster import load_roster

        settings = load_config(config)
        journal = Journal(settings.journal, read_only=True)
        chain, _ = connect(settings.rpc_url, settings.rpc_timeout_s)
        market = Market(chain, Deployment.load(settings.deployment))
        journal_market = journal.about("market")
        if journal_market != market.deployment.market:
            raise JournalError(
                f"the journal {settings.journal} is of market {journal_market}, the deployment of "
                f"{market.deployment.market}; give the files that belong together"
            )
        roster = load_roster(settings.meters.roster, market.schedule.length_s)
        reports = bad = 0
        for finding in findings(journal, market, roster, settings.tolerance):
            reports += 1
            bad += not finding.good
            name = f"period {finding.period} v{finding.version}"
            if not finding.intact:
                typer.echo(f"{name}: the journal's bytes do not match the root on chain")
            for difference in finding.differing:
                typer.echo(f"{name}: {difference}")
            if finding.unread:
                typer.echo(f"{name}: {finding.unread} values this node has no reading of")
        typer.echo(f"{reports} reports, {reports - bad} as read, {bad} not")
        if bad:
            raise typer.Exit(1)


@app.command()
def replay(
    config: ConfigOption = Path("node.toml"),
    first: Annotated[int, typer.Option(min=0, help="First period.")] = 0,
    last: Annotated[int | None, typer.Option(min=0, help="Last period.")] = None,
) -> None:
    """Recompute what this node would report from its journal alone; the chain is not asked.

    Shows for each accepted report where this node's readings, and the votes it cast on them, say
    the same. Exit status 1 if a vote in the journal is not what the readings in it lead to.
    """
    with _told(config):
        from oracle.audit import replay as replayed
        from oracle.meters.roster import load_roster

        settings = load_config(config)
        with closing(Journal(settings.journal, read_only=True)) as journal:
            period_s = journal.about("period_s")
            if period_s is None:
                raise JournalError(f"no node has used {settings.journal} yet; start it once")
            roster = load_roster(settings.meters.roster, int(period_s))
            wrong = 0
            for line in replayed(journal, roster, settings.tolerance, first, last):
                typer.echo(line)
                wrong += line.wrong
        if wrong:
            raise typer.Exit(1)


app.command()(backfill)


@app.command(name="prune")
def prune_command(
    config: ConfigOption = Path("node.toml"),
    keep_days: Annotated[int, typer.Option(help="Days to keep.")] = 400,
) -> None:
    """Remove from journal and samples what is old and of no use any more; the node may be running.

    The files keep their size; what was freed is used again.
    """
    with _told(config):
        settings = load_config(config)
        removed = prune(settings.journal, keep_days, settings.meters.live)
        told = ", ".join(f"{rows} {table}" for table, rows in removed.items() if rows)
        typer.echo(f"removed {told or 'nothing'}")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="Where to; replaced once the new one is good.")],
    config: ConfigOption = Path("node.toml"),
) -> None:
    """Copy the journal, in one piece and checked; the node may be running.

    Samples of live meters are copied likewise, to FILE.samples beside it.
    """
    with _told(config):
        settings = load_config(config)
        live = settings.meters.live
        _tell(back_up(settings.journal, target, live.store if live else None))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A backup, a journal, or samples of live meters.")],
) -> None:
    """Check every page of a backup, a journal or samples, and say what is in it."""
    with _told(file):
        _tell(inspect(file))


@app.command(name="restore")
def restore_command(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    config: ConfigOption = Path("node.toml"),
    only: Annotated[Part | None, typer.Option(help="Put only this part back.")] = None,
) -> None:
    """Put a backup in the place of journal and samples; the node must be stopped.

    The old files are kept. The node then follows the chain from the backup on, and speaks only on
    what is proposed from its next start on.
    """
    with _told(config):
        settings = load_config(config)
        live = settings.meters.live
        found = restore(file, settings.journal, live.store if live else None, only)
        _tell(found)
        if live is not None and live.store not in found and only is None:
            typer.echo(f"{live.store}: left as it is, for the backup has no samples")


@app.command()
def resume(config: ConfigOption = Path("node.toml")) -> None:
    """Let a node speak again that stopped for `key used elsewhere`; it must be stopped.

    Only do so once nobody else has the key. The node takes the chain's word for what the key has
    said, and speaks only on what is proposed from its next start on.
    """
    with _told(config):
        path = load_config(config).journal
        with sole_use(path), closing(Journal(path)) as journal:
            forget_where_it_began(journal)
        typer.echo(f"{path}: begins anew at the next start")


def _tell(found: Found) -> None:
    for path, contents in found.items():
        typer.echo(f"{path}: {_in_words(contents)}")


def _in_words(contents: Contents | Samples) -> str:
    if isinstance(contents, Samples):
        last = datetime.fromtimestamp(contents.last_ms // 1000, UTC)
        return (
            f"good; {contents.samples} samples of {contents.meters} meters, the last of "
            f"{last:%Y-%m-%d %H:%M:%S}Z, {contents.proofs} signed texts"
        )
    return (
        f"good; seat {contents.seat} of market {contents.market}, followed to block "
        f"{contents.block}, {contents.readings} readings, {contents.votes} votes"
    )


def _open_node(settings: NodeConfig, stop: threading.Event, pulse: Pulse) -> Node | None:
    """Return a node that has caught up, waiting for the chain to answer; None if stopped first."""
    pause_s = 1.0
    while not stop.is_set():
        try:
            node = Node(settings, pulse)
            node.sync()
            return node
        except (*USERS_TO_MEND, WrongChain, DeploymentError, sqlite3.Error):
            raise
        except Exception as exc:  # whatever an endpoint answers, it may come to its senses
            known = isinstance(exc, ChainError)
            tell = log.warning if known else log.trace
            tell("chain fails", problem=exc if known else repr(exc), retry_in_s=pause_s)
            pulse.beat(f"starting: {exc}")
            stop.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_BACKOFF_S)
    return None


@contextmanager
def _told(config: Path) -> Iterator[None]:
    """Turn what a user can mend into one line and exit status 1."""
    try:
        yield
    except (*USERS_TO_MEND, ChainError) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(1) from exc
    except sqlite3.Error as exc:
        what = (
            "is damaged: keep the file, restore the latest backup"
            if is_damage(exc)
            else "fails: check free space and file, then start again; nothing written is lost"
        )
        typer.echo(f"error: the journal of {config} {what} ({exc})", err=True)
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
