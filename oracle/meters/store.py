"""Where samples go before anything else happens: a SQLite file.

One writer commits batches; readers have connections of their own and never wait for it. What is
there twice is kept once, so a sender may repeat whatever was not acknowledged. Only
`oracle.meters.keeping` removes anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oracle.meters.sample import Fidelity, Kind, Register, Reject, Sample
from oracle.meters.source import SourceError

STORE_VERSION = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS samples (
    seq INTEGER PRIMARY KEY, meter INTEGER NOT NULL, register INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL, value_wh INTEGER NOT NULL,
    fidelity INTEGER NOT NULL, device TEXT NOT NULL, source INTEGER NOT NULL,
    digest BLOB NOT NULL, arrived_ms INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS samples_once ON samples (
    meter, register, at_ms, since_ms, value_wh, fidelity, device);
CREATE TABLE IF NOT EXISTS proofs (
    meter INTEGER, pagination TEXT, digest BLOB NOT NULL, text TEXT NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (meter, pagination)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusals (
    source TEXT, kind TEXT, meter TEXT, count INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    why TEXT NOT NULL, PRIMARY KEY (source, kind, meter)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

_NO_START = -1

MOST_ROWS = 4_096
"""Samples of one register that are looked at for one stretch of time."""

NEIGHBOURS = 3
"""Samples before and behind a stretch: enough to tell a stray one from the others."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was refused, and why the last time."""

    source: str
    kind: Kind
    meter: str
    count: int
    last_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Change:
    """A meter that got samples, and the stretch of time they are of."""

    meter: str
    first_ms: int
    last_ms: int


class SampleStore:
    """The samples of one node; one thread writes through an instance, or reads."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file.

        Raises:
            SourceError: If it cannot be opened, or is another version's.
        """
        self.path = path
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Threads hand an instance over, but never use it at the same time.
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=30,
            )
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            fresh = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version != STORE_VERSION and not (fresh and not read_only):
                why = f"has format {version}, this version writes {STORE_VERSION}"
                raise SourceError(str(path), why, "Give the node a file of its own")
            if not read_only:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
            if fresh:
                made = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {STORE_VERSION}; COMMIT;"
                self._db.executescript(made)
        except (sqlite3.Error, OSError) as exc:
            fix = "Check the path, its permissions and the free space"
            raise SourceError(str(path), f"cannot be opened ({exc})", fix) from exc
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    @property
    def db(self) -> sqlite3.Connection:
        """The database, for its upkeep."""
        return self._db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(
        self, samples: Sequence[Sample], rejects: Sequence[Reject], now_ms: int
    ) -> tuple[int, list[Reject]]:
        """Make a batch durable, all or nothing.

        Args:
            samples: Believed samples; known ones change nothing.
            rejects: What was refused, to be counted.
            now_ms: Unix time, ms.

        Returns:
            How many samples were new, and the refusals that the file itself makes: samples of
            before what it keeps, and signed texts whose running number the meter has used for
            another text.

        Raises:
            sqlite3.Error: If it cannot be written; nothing of the batch is then kept.
        """
        refused: list[Reject] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            kept_from_ms = self.pruned_before_ms()
            rows = []
            for sample in samples:
                if sample.at_ms < kept_from_ms:
                    refused.append(_too_old(sample))
                    continue
                meter = self._id(sample.meter)
                if sample.proof is not None and not self._prove(meter, sample):
                    why = f"pagination {sample.proof.pagination} was used for another text before"
                    refused.append(Reject(Kind.REPLAYED, sample.source, why, sample.meter))
                    continue
                since_ms = _NO_START if sample.since_ms is None else sample.since_ms
                rows.append(
                    (
                        *(meter, sample.register.value, sample.at_ms, since_ms, sample.value_wh),
                        *(sample.fidelity.value, sample.device, self._id(sample.source)),
                        *(sample.digest, now_ms),
                    )
                )
            known = self._db.total_changes
            self._db.executemany(
                "INSERT OR IGNORE INTO samples (meter, register, at_ms, since_ms, value_wh, "
                "fidelity, device, source, digest, arrived_ms) VALUES (?,?,?,?,?,?,?,?,?,?)",
                rows,
            )
            added = self._db.total_changes - known
            self._tally([*rejects, *refused], now_ms)
            self._db.execute("COMMIT")
        except BaseException:
            # Names given inside the batch are gone with it.
            self._ids.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return added, refused

    def window(
        self, meter: str, register: Register, start_ms: int, end_ms: int, *, cumulative: bool
    ) -> Iterator[Sample]:
        """Yield what a curve over a stretch of time needs: its samples, and the next to it.

        Args:
            meter: The meter.
            register: Its register.
            start_ms: Start of the stretch.
            end_ms: Its end.
            cumulative: States of the register, or energies of intervals.
        """
        kind = "since_ms < 0" if cumulative else "since_ms >= 0"
        of_meter = (self._id_of(meter), register.value)
        columns = "value_wh, at_ms, since_ms, fidelity, device, source, digest"
        where = f"SELECT {columns} FROM samples WHERE meter = ? AND register = ? AND {kind}"
        rows = self._db.execute(
            f"SELECT * FROM ({where} AND at_ms < ? ORDER BY at_ms DESC LIMIT {NEIGHBOURS}) "
            f"UNION ALL SELECT * FROM ({where} AND at_ms BETWEEN ? AND ? "
            f"ORDER BY at_ms LIMIT {MOST_ROWS}) "
            f"UNION ALL SELECT * FROM ({where} AND at_ms > ? ORDER BY at_ms LIMIT {NEIGHBOURS})",
            (*of_meter, start_ms, *of_meter, start_ms, end_ms, *of_meter, end_ms),
        )
        for value_wh, at_ms, since_ms, fidelity, device, source, digest in rows:
            yield Sample(
                meter,
                register,
                value_wh,
                at_ms,
                self._name(source),
                digest,
                None if since_ms == _NO_START else since_ms,
                Fidelity(fidelity),
                device,
            )

    def proof(self, meter: str, pagination: str) -> str | None:
        """Return the signed text behind a sample, for a dispute."""
        row = self._db.execute(
            "SELECT text FROM proofs WHERE meter = ? AND pagination = ?",
            (self._id_of(meter), pagination),
        ).fetchone()
        return None if row is None else str(row[0])

    def last(self) -> int:
        """Return the running number of the last sample, 0 if there is none."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM samples").fetchone()[0])

    def changes(self, after: int, until: int) -> Iterator[Change]:
        """Yield the meters that got samples with running numbers after one, until another."""
        rows = self._db.execute(
            "SELECT names.name, min(CASE since_ms WHEN ? THEN at_ms ELSE since_ms END), max(at_ms) "
            "FROM samples JOIN names ON names.id = samples.meter "
            "WHERE seq > ? AND seq <= ? GROUP BY samples.meter",
            (_NO_START, after, until),
        )
        yield from (Change(*row) for row in rows)

    def pruned_before_ms(self) -> int:
        """Return the instant before which nothing is taken any more, ms since 1970."""
        row = self._db.execute("SELECT value FROM about WHERE key = 'pruned_before_ms'").fetchone()
        return int(row[0]) if row else 0

    def count(self) -> int:
        """Return the number of samples."""
        return int(self._db.execute("SELECT count(*) FROM samples").fetchone()[0])

    def meters(self) -> int:
        """Return the number of meters that have sent samples."""
        row = self._db.execute("SELECT count(DISTINCT meter) FROM samples").fetchone()
        return int(row[0])

    def tallies(self) -> list[Tally]:
        """Return what was refused so far."""
        rows = self._db.execute(
            "SELECT source, kind, meter, count, last_ms, why FROM refusals ORDER BY last_ms DESC"
        )
        return [Tally(source, Kind(kind), *rest) for source, kind, *rest in rows]

    def _prove(self, meter: int, sample: Sample) -> bool:
        """Keep a signed text; returns whether its running number is its own."""
        assert sample.proof is not None
        key = (meter, sample.proof.pagination)
        # A text may hold several samples; it is of the last of them.
        self._db.execute(
            "INSERT INTO proofs VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET at_ms = max(at_ms, excluded.at_ms) WHERE digest = excluded.digest",
            (*key, sample.digest, sample.proof.text, sample.at_ms),
        )
        row = self._db.execute(
            "SELECT digest FROM proofs WHERE meter = ? AND pagination = ?", key
        ).fetchone()
        return bool(row[0] == sample.digest)

    def _tally(self, rejects: Iterable[Reject], now_ms: int) -> None:
        self._db.executemany(
            "INSERT INTO refusals VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET "
            "count = count + 1, last_ms = excluded.last_ms, why = excluded.why",
            [(r.source, r.kind.value, r.meter or "", now_ms, r.why[:200]) for r in rejects],
        )

    def _id(self, name: str) -> int:
        """Return the number of a name, given now if it is new."""
        if name not in self._ids:
            self._db.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", (name,))
            self._ids[name] = self._id_of(name)
        return self._ids[name]

    def _id_of(self, name: str) -> int:
        if name in self._ids:
            return self._ids[name]
        row = self._db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _name(self, number: int) -> str:
        if number not in self._names:
            row = self._db.execute("SELECT name FROM names WHERE id = ?", (number,)).fetchone()
            self._names[number] = str(row[0])
        return self._names[number]


def _too_old(sample: Sample) -> Reject:
    why = "the sample is of before what was pruned; no period can use it any more"
    return Reject(Kind.PRUNED, sample.source, why, sample.meter)
