"""What keeps journal and samples well: one user at a time, pruning, backups and their way back."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from market.forecast import DAY_S
from oracle.copies import copy, damage, put
from oracle.journal import Journal, JournalError
from oracle.meters import keeping
from oracle.meters.keeping import Samples
from oracle.meters.settings import LiveConfig
from oracle.meters.store import SampleStore

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


class Part(StrEnum):
    """What a backup is made of."""

    JOURNAL = "journal"
    SAMPLES = "samples"


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


Found = dict[Path, Contents | Samples]
"""What files hold."""


def prune(path: Path, keep_days: int, live: LiveConfig | None = None) -> dict[str, int]:
    """Remove what is older than some days and of no use any more; the node may be running.

    Nothing is removed of a period in which something can still happen, nor of the week before it.

    Args:
        path: The journal.
        keep_days: Days to keep, counted from the last followed event.
        live: The live meters, whose samples are pruned likewise.

    Returns:
        Number of removed rows by table.

    Raises:
        JournalError: If that is too few days, or the journal or the samples cannot be used.
    """
    if keep_days < LEAST_KEPT_DAYS:
        raise JournalError(
            f"{keep_days} days are too few: silent meters need what they read a week before; "
            f"keep {LEAST_KEPT_DAYS} at least"
        )
    with closing(_open(path)) as journal:
        before = _first_kept(journal, keep_days)
        removed = _prune(journal, before) if before > _pruned(journal) else {}
        if live is not None and before > 0:
            removed |= keeping.prune(_existing(live.store), _first_kept_ms(journal, before, live))
        return removed


def _prune(journal: Journal, before: int) -> dict[str, int]:
    # First, for whoever stops in between must know that something is missing.
    journal.note(pruned_before=before)
    removed = {
        table: _remove(journal, table, key, "period < ?", before) for table, key in _KEYS.items()
    }
    (block,) = journal.db.execute(
        "SELECT coalesce(min(block), 0) FROM events WHERE period >= ?", (before,)
    ).fetchone()
    closed = "state != 'signed' AND block < ?"
    removed["transactions"] = _remove(journal, "transactions", "hash", closed, block)
    return removed


def back_up(path: Path, target: Path, samples: Path | None = None) -> Found:
    """Copy a journal, and samples, each in one piece and checked, while the node may be running.

    The samples come to lie beside the journal, see `beside`. They are copied behind it and put in
    place before it: so whenever this is stopped, what the journal has read is in the samples, and
    each file is whole.

    Raises:
        JournalError: If a file cannot be read, or the backup not written.
    """
    try:
        found: Found = {}
        with closing(_open(path, read_only=True)) as journal:
            part = copy(journal.db, target)
        found[target] = _contents(part)
        if samples is not None:
            kept = beside(target)
            kept_part = _copy_of_samples(samples, kept)
            found[kept] = _samples(kept_part)
            put(kept_part, kept)
        put(part, target)
    except (sqlite3.Error, OSError) as exc:
        raise JournalError(
            f"the backup {target} cannot be written ({exc}); check its folder and the free "
            "space, and start it again: the journal and the backup before are as they were"
        ) from exc
    return found


def beside(backup: Path) -> Path:
    """Return where the samples of a backup are."""
    return backup.with_name(backup.name + ".samples")


def inspect(path: Path) -> Found:
    """Check every page and index of a journal, samples or a backup, and say what is in it.

    Raises:
        JournalError: If it is damaged or none.
    """
    if keeping.is_store(path):
        return {path: _samples(path)}
    found: Found = {path: _contents(path)}
    if beside(path).exists():
        found[beside(path)] = _samples(beside(path))
    return found


def restore(
    backup: Path, path: Path, samples: Path | None = None, only: Part | None = None
) -> Found:
    """Put a backup in the place of journal and samples; what was there is kept beside them.

    The node speaks again only on what is proposed from its next start on: what it said after the
    backup nobody remembers.

    Args:
        backup: The backup of the journal, with its samples beside it if it has any.
        path: The journal.
        samples: Where the node has its samples; those of the backup go there.
        only: The part to put back; by default all that the backup has.

    Returns:
        What was put where.

    Raises:
        JournalError: If the backup is damaged or lacks the part, or the node is running.
    """
    with sole_use(path):
        found: Found = {}
        parts = []
        try:
            if only is Part.SAMPLES or (only is None and samples and beside(backup).exists()):
                if samples is None:
                    raise JournalError("the node has no live meters, so nowhere to put samples")
                found[samples] = _samples(_existing(beside(backup)))
                parts.append((_copy_of_samples(beside(backup), samples), samples))
            if only is not Part.SAMPLES:
                found[path] = _contents(backup)
                parts.append((_copy_that_begins_anew(backup, path), path))
            for part, target in parts:
                put(part, target, aside=True)
        except (sqlite3.Error, OSError) as exc:
            raise JournalError(
                f"the backup {backup} cannot be put at {path} ({exc}); check the folder and the "
                "free space, and start it again"
            ) from exc
    return found


def _copy_of_samples(path: Path, target: Path) -> Path:
    with closing(SampleStore(_existing(path), read_only=True)) as store:
        return copy(store.db, target)


def _copy_that_begins_anew(path: Path, target: Path) -> Path:
    with closing(_open(path, read_only=True)) as journal:
        part = copy(journal.db, target)
    with closing(Journal(part)) as restored:
        forget_where_it_began(restored)
        restored.db.execute("PRAGMA journal_mode = DELETE")
    return part


def forget_where_it_began(journal: Journal) -> None:
    """Have the node take the chain's word for all that its key has said until its next start."""
    journal.note(since_block=None, since_at=None, listened=None, halted=None)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise JournalError(f"there is no file {path}; correct the path")
    return path


def _open(path: Path, *, read_only: bool = False) -> Journal:
    return Journal(_existing(path), read_only=read_only)


def _contents(path: Path) -> Contents:
    with closing(_open(path, read_only=True)) as journal:
        found = damage(journal.db)
        if found is None:
            counts = (
                int(journal.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
                for table in ("readings", "votes")
            )
            block, _ = journal.cursor() or (0, b"")
            market, seat = journal.about("market"), journal.about("seat")
            return Contents(market or "none", seat or "none", block, *counts)
    raise JournalError(f"{path} is damaged ({found}); use another backup")


def _samples(path: Path) -> Samples:
    found = keeping.inspect(path)
    if isinstance(found, Samples):
        return found
    raise JournalError(f"{path} is damaged ({found}); use another backup")


def _pruned(journal: Journal) -> int:
    return int(journal.about("pruned_before") or 0)


def _first_kept(journal: Journal, keep_days: int) -> int:
    """Return the first period to keep something of."""
    (latest,) = journal.db.execute("SELECT max(at) FROM events").fetchone()
    (settled,) = journal.db.execute(
        "SELECT max(period) FROM events WHERE name = 'PeriodSettled' AND at < ?",
        ((latest or 0) - keep_days * DAY_S,),
    ).fetchone()
    week = 7 * DAY_S // int(journal.about("period_s") or 1)
    return max(0, min((settled or 0) + 1, journal.floor() - week))


def _first_kept_ms(journal: Journal, before: int, live: LiveConfig) -> int:
    """Return the instant from which samples are kept, ms since 1970."""
    epoch_s, period_s = journal.about("epoch_s"), journal.about("period_s")
    if epoch_s is None or period_s is None:
        raise JournalError(
            f"the journal {journal.path} does not say when its market began; start the node once"
        )
    # Further back, no sample yet to come is bridged to the first kept period.
    reach_s = live.bridge_s + int(period_s)
    return 1000 * (int(epoch_s) + before * int(period_s) - reach_s)


def _remove(journal: Journal, table: str, key: str, where: str, value: int) -> int:
    removed = 0
    while True:
        with journal.atomic():
            rows = f"SELECT {key} FROM {table} WHERE {where} LIMIT {BATCH_ROWS}"
            gone = journal.db.execute(f"DELETE FROM {table} WHERE ({key}) IN ({rows})", (value,))
        removed += gone.rowcount
        if gone.rowcount < BATCH_ROWS:
            return removed
