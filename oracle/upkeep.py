"""What keeps a journal well: one user at a time, pruning, backups and their way back."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from market.forecast import DAY_S
from oracle.journal import Journal, JournalError

LEAST_KEPT_DAYS = 8
"""Silent meters are substituted by what they read a week before."""

BATCH_ROWS = 5_000
"""Rows removed at once, so that a running node never waits long."""

_KEYS = {
    "readings": "id",
    "proposals": "topic, period, version, round",
    "votes": "topic, period, version, round",
    "heard": "topic, period, version, round, seat, digest, support",
    "events": "block, position",
}
"""The tables of what is of one period, with their keys."""


@contextmanager
def sole_use(path: Path) -> Iterator[None]:
    """Keep every other node away from a journal while inside; the kernel ends it with the process.

    Two nodes with one journal would sign with the same nonces and vote past each other.

    Raises:
        JournalError: If another node has it, or its folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(path.with_name(path.name + ".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"the journal {path} is in use by another node; stop that one, or give each seat a "
                "journal of its own"
            ) from None
        except OSError as exc:
            raise JournalError(
                f"the journal {path} cannot be locked ({exc.strerror}); give it a folder that can "
                "be written"
            ) from exc
        yield


def is_damage(exc: BaseException | None) -> bool:
    """Return whether a journal is broken, rather than full, locked or out of reach for a while."""
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal or a backup of one holds.

    Attributes:
        market: The market it is of.
        seat: The seat it is of.
        block: The last followed block.
        readings: Number of readings.
        votes: Number of votes.
    """

    market: str
    seat: str
    block: int
    readings: int
    votes: int


def prune(path: Path, keep_days: int) -> dict[str, int]:
    """Remove what is older than some days and of no use any more; the node may be running.

    Nothing is removed of a period in which something can still happen, nor of the week before it.

    Args:
        path: The journal.
        keep_days: Days to keep, counted from the last followed event.

    Returns:
        Number of removed rows by table.

    Raises:
        JournalError: If that is too few days, or the journal cannot be used.
    """
    if keep_days < LEAST_KEPT_DAYS:
        raise JournalError(
            f"{keep_days} days are too few: silent meters need what they read a week before; "
            f"keep {LEAST_KEPT_DAYS} at least"
        )
    with closing(_open(path)) as journal:
        before = _first_kept(journal, keep_days)
        if before <= int(journal.about("pruned_before") or 0):
            return {}
        # First, for whoever stops in between must know that something is missing.
        journal.note(pruned_before=before)
        removed = {
            table: _remove(journal, table, key, "period < ?", before)
            for table, key in _KEYS.items()
        }
        row = journal.db.execute(
            "SELECT min(block) FROM events WHERE period >= ?", (before,)
        ).fetchone()
        closed = "state != 'signed' AND block < ?"
        removed["transactions"] = _remove(journal, "transactions", "hash", closed, row[0] or 0)
        return removed


def back_up(path: Path, target: Path) -> Contents:
    """Copy a journal, in one piece and checked, while its node may be running.

    The target is replaced at once in the end: whoever is stopped before leaves the one before.

    Raises:
        JournalError: If the journal cannot be read, or the backup not written.
    """
    part = target.with_name(target.name + ".part")
    with closing(_open(path, read_only=True)) as journal:
        try:
            part.unlink(missing_ok=True)
            with closing(sqlite3.connect(part)) as copy:
                journal.db.backup(copy)
                # A backup is one file.
                copy.execute("PRAGMA journal_mode = DELETE")
            contents = inspect(part)
            make_durable(part, target)
        except (sqlite3.Error, OSError) as exc:
            raise JournalError(
                f"the backup {target} cannot be written ({exc}); check its folder and the free "
                "space, and start it again: the journal and the backup before are as they were"
            ) from exc
    return contents


def inspect(path: Path) -> Contents:
    """Check every page and index of a journal or backup, and say what is in it.

    Raises:
        JournalError: If it is damaged or none.
    """
    with closing(_open(path, read_only=True)) as journal:
        try:
            (found,) = journal.db.execute("PRAGMA integrity_check(1)").fetchone()
            counts = (
                int(journal.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
                for table in ("readings", "votes")
            )
            if found == "ok":
                block, _ = journal.cursor() or (0, b"")
                market, seat = journal.about("market"), journal.about("seat")
                return Contents(market or "none", seat or "none", block, *counts)
        except sqlite3.Error as exc:
            found = str(exc)
    raise JournalError(f"{path} is damaged ({found}); use another backup")


def restore(backup: Path, path: Path) -> Contents:
    """Put a backup in a journal's place; what was there is kept beside it.

    The node speaks again only on what is proposed from its next start on: what it said after the
    backup nobody remembers.

    Raises:
        JournalError: If the backup is damaged, or the node is running.
    """
    with sole_use(path):
        contents = inspect(backup)
        part = path.with_name(path.name + ".part")
        try:
            part.unlink(missing_ok=True)
            with (
                closing(_open(backup, read_only=True)) as source,
                closing(sqlite3.connect(part)) as copy,
            ):
                source.db.backup(copy)
            with closing(Journal(part)) as restored:
                forget_where_it_began(restored)
                restored.db.execute("PRAGMA journal_mode = DELETE")
            if path.exists():
                os.replace(path, path.with_name(path.name + ".replaced"))
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            make_durable(part, path)
        except (sqlite3.Error, OSError) as exc:
            raise JournalError(
                f"the backup {backup} cannot be put at {path} ({exc}); check the folder and the "
                "free space, and start it again"
            ) from exc
    return contents


def forget_where_it_began(journal: Journal) -> None:
    """Have the node take the chain's word for all that its key has said until its next start."""
    journal.note(since_block=None, since_at=None, listened=None, halted=None)


def _open(path: Path, *, read_only: bool = False) -> Journal:
    if not path.exists():
        raise JournalError(f"there is no file {path}; correct the path")
    return Journal(path, read_only=read_only)


def _first_kept(journal: Journal, keep_days: int) -> int:
    """Return the first period to keep something of."""
    (latest,) = journal.db.execute("SELECT max(at) FROM events").fetchone()
    (settled,) = journal.db.execute(
        "SELECT max(period) FROM events WHERE name = 'PeriodSettled' AND at < ?",
        ((latest or 0) - keep_days * DAY_S,),
    ).fetchone()
    week = 7 * DAY_S // int(journal.about("period_s") or 1)
    return max(0, min((settled or 0) + 1, journal.floor() - week))


def _remove(journal: Journal, table: str, key: str, where: str, value: int) -> int:
    removed = 0
    while True:
        with journal.atomic():
            rows = f"SELECT {key} FROM {table} WHERE {where} LIMIT {BATCH_ROWS}"
            gone = journal.db.execute(f"DELETE FROM {table} WHERE ({key}) IN ({rows})", (value,))
        removed += gone.rowcount
        if gone.rowcount < BATCH_ROWS:
            return removed


def make_durable(part: Path, target: Path) -> None:
    """Put a finished file in place of another, so that no power cut leaves half of it."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
