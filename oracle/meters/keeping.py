"""What keeps the samples well: a look at what is there, and removing what no period can use."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from oracle.copies import damage
from oracle.meters.store import NEIGHBOURS, SampleStore

BATCH_ROWS = 2_000
"""Rows removed at once, so that a running node never waits long."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What a file of samples holds.

    Attributes:
        samples: Number of samples.
        meters: Number of meters that sent them.
        proofs: Number of signed texts.
        last_ms: Instant of the last sample, ms since 1970; 0 if there is none.
        pruned_before_ms: Instant before which samples were removed, ms since 1970; 0 if never.
    """

    samples: int
    meters: int
    proofs: int
    last_ms: int
    pruned_before_ms: int


def is_store(path: Path) -> bool:
    """Return whether a file is one of samples, as far as it can be read."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            found = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'samples_once'")
            return found.fetchone() is not None
    except sqlite3.Error:
        return False


def inspect(path: Path) -> Samples | str:
    """Check every page and index of a file of samples; return what it holds, or what is wrong.

    Raises:
        SourceError: If it is another version's, or none at all.
    """
    with closing(SampleStore(path, read_only=True)) as store:
        wrong = damage(store.db)
        if wrong is not None:
            return wrong
        (proofs,) = store.db.execute("SELECT count(*) FROM proofs").fetchone()
        (last_ms,) = store.db.execute("SELECT coalesce(max(at_ms), 0) FROM samples").fetchone()
        return Samples(store.count(), store.meters(), proofs, last_ms, store.pruned_before_ms())


def prune(path: Path, before_ms: int) -> dict[str, int]:
    """Remove the samples before an instant; the node may be running.

    The curve of any period that starts at the instant or later stays what it is: of each register
    the last samples before the instant are kept, as many as a curve looks back. The store takes
    nothing of before the instant from now on, so what is sent again cannot come back beside what
    was kept. A signed text goes with the last of its samples: what it proves cannot be disputed
    any more, and its running number is of no use to anybody, for the text itself is too old.

    Args:
        path: The file.
        before_ms: The instant, ms since 1970.

    Returns:
        Number of removed rows by table.

    Raises:
        sqlite3.Error: If it cannot be written; what was removed before is gone.
        SourceError: If it cannot be opened.
    """
    with closing(SampleStore(path)) as store:
        db = store.db
        before_ms = max(before_ms, store.pruned_before_ms())
        # First: a sample that came in between would be missed, or count beside those kept.
        db.execute("INSERT OR REPLACE INTO about VALUES ('pruned_before_ms', ?)", (before_ms,))
        # Numbers are given from the highest on, and the node asks for those above one.
        last = store.last()
        series = db.execute("SELECT DISTINCT meter, register FROM samples").fetchall()
        old = (seq for m, r in series for seq in _samples(db, m, r, before_ms) if seq < last)
        samples = _remove(db, "DELETE FROM samples WHERE seq = ?", ((seq,) for seq in old))
        meters = db.execute("SELECT DISTINCT meter FROM proofs").fetchall()
        texts = (key for (meter,) in meters for key in _proofs(db, meter, before_ms))
        proofs = _remove(db, "DELETE FROM proofs WHERE (meter, pagination) = (?, ?)", texts)
    return {"samples": samples, "proofs": proofs}


def _samples(db: sqlite3.Connection, meter: int, register: int, before_ms: int) -> Iterator[int]:
    """Yield the numbers of the samples of a register that go."""
    for kind in ("since_ms < 0", "since_ms >= 0"):
        where = f"FROM samples WHERE meter = ? AND register = ? AND {kind} AND at_ms < ?"
        kept = db.execute(
            f"SELECT at_ms {where} ORDER BY at_ms DESC LIMIT 1 OFFSET {NEIGHBOURS - 1}",
            (meter, register, before_ms),
        ).fetchone()
        if kept is not None:
            rows = db.execute(f"SELECT seq {where}", (meter, register, kept[0])).fetchall()
            yield from (seq for (seq,) in rows)


def _proofs(db: sqlite3.Connection, meter: int, before_ms: int) -> Iterator[tuple[int, str]]:
    """Yield the keys of the signed texts of a meter that go."""
    of_meter = (meter, before_ms)
    rows = db.execute("SELECT digest FROM samples WHERE meter = ? AND at_ms < ?", of_meter)
    kept = {bytes(digest) for (digest,) in rows}
    rows = db.execute(
        "SELECT pagination, digest FROM proofs WHERE meter = ? AND at_ms < ?", of_meter
    )
    for pagination, digest in rows.fetchall():
        if digest not in kept:
            yield meter, pagination


def _remove(db: sqlite3.Connection, delete: str, keys: Iterable[tuple[object, ...]]) -> int:
    removed, keys = 0, iter(keys)
    while batch := list(islice(keys, BATCH_ROWS)):
        begin = time.monotonic()
        db.execute("BEGIN IMMEDIATE")
        with db:
            db.executemany(delete, batch)
        removed += len(batch)
        # The lock is not given in turn: who asks for it again at once keeps the node waiting.
        time.sleep(time.monotonic() - begin)
    return removed
