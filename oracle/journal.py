"""The node's memory: what it read, signed, sent and saw, in one SQLite file.

Nothing is acted on before it is durable here. Readings, proposals and votes are only ever added;
blocks and events go away again when the chain takes them back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from market.messages import Proposal, Topic
from oracle.events import Event as Event
from oracle.events import dump, load
from oracle.meters.source import Reading

SCHEMA_VERSION = "2"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readings (
    id INTEGER PRIMARY KEY, period INTEGER NOT NULL, meter TEXT NOT NULL,
    import_wh INTEGER NOT NULL, export_wh INTEGER NOT NULL, source TEXT NOT NULL,
    read_at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS readings_by_period ON readings (period);
CREATE TABLE IF NOT EXISTS proposals (
    topic INTEGER, period INTEGER, version INTEGER, round INTEGER, payload TEXT NOT NULL,
    PRIMARY KEY (topic, period, version, round)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS votes (
    topic INTEGER, period INTEGER, version INTEGER, round INTEGER, digest BLOB NOT NULL,
    support INTEGER NOT NULL, signature BLOB NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (topic, period, version, round)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transactions (
    hash BLOB PRIMARY KEY, purpose TEXT NOT NULL, nonce INTEGER NOT NULL, raw BLOB NOT NULL,
    state TEXT NOT NULL, block INTEGER, note TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    block INTEGER, position INTEGER, name TEXT NOT NULL, at INTEGER NOT NULL, args TEXT NOT NULL,
    period INTEGER, PRIMARY KEY (block, position)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_by_period ON events (period);
CREATE TABLE IF NOT EXISTS floors (block INTEGER PRIMARY KEY, period INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS queries (
    id BLOB PRIMARY KEY, block INTEGER NOT NULL, at INTEGER NOT NULL, args TEXT NOT NULL,
    closed INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heard (
    topic INTEGER, period INTEGER, version INTEGER, round INTEGER, seat INTEGER,
    digest BLOB, support INTEGER, signature BLOB NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (topic, period, version, round, seat, digest, support)) WITHOUT ROWID;
"""

KEPT_BLOCKS = 4_096
"""Block hashes kept to find a common ancestor with; deeper reorganisations follow anew."""


class JournalError(Exception):
    """The journal cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class SignedVote:
    """A vote this node has signed, whether or not it was sent.

    Attributes:
        digest: What was proposed.
        support: For or against.
        signature: 65 bytes.
        reason: Why.
    """

    digest: bytes
    support: bool
    signature: bytes
    reason: str


@dataclass(slots=True)
class Transaction:
    """A signed transaction.

    Attributes:
        hash: Its hash.
        purpose: What it is for, in words; at most one nonce for a purpose is under way.
        nonce: Its nonce; all of one nonce are the same for different fees.
        raw: The signed bytes.
        state: `signed`, `mined`, `reverted`, `replaced` by another of its nonce, or `dropped`.
        block: Where it, or the one instead of it, was mined.
    """

    hash: bytes
    purpose: str
    nonce: int
    raw: bytes
    state: str = "signed"
    block: int | None = None


class Journal:
    """One node's journal for one market."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file.

        Raises:
            JournalError: If it cannot be opened, is no journal, or another version's.
        """
        self.path = path
        if read_only and not path.exists():
            raise JournalError(
                f"no journal at {path}; start the node once, or correct `journal` in its file"
            )
        try:
            if read_only:
                self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(path, isolation_level=None)
                _refuse_strangers(self._db, path)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.executescript(_SCHEMA)
                with self.atomic():
                    self._db.execute(
                        "INSERT OR IGNORE INTO about VALUES ('schema', ?)", (SCHEMA_VERSION,)
                    )
            found = self.about("schema")
        except (sqlite3.Error, OSError) as exc:
            raise JournalError(
                f"the journal {path} cannot be opened ({exc}); check the path, its permissions "
                "and the free space, or restore the file"
            ) from exc
        if found != SCHEMA_VERSION:
            raise JournalError(
                f"the journal {path} has format {found}, this version writes {SCHEMA_VERSION}; "
                "use the version that wrote it, or give the node a new journal"
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Write everything inside durably or not at all; inside another one, with that."""
        if self._db.in_transaction:
            yield
            return
        with self._db:
            self._db.execute("BEGIN")
            yield

    @property
    def db(self) -> sqlite3.Connection:
        """The database, for those who keep tables of their own in it; write inside `atomic`."""
        return self._db

    # -- whose journal this is

    def about(self, key: str) -> str | None:
        """Return a fact about the journal."""
        row = self._db.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, **facts: object) -> None:
        """Record facts about the journal in place of what was known; None takes one back."""
        with self.atomic():
            for key, value in facts.items():
                if value is None:
                    self._db.execute("DELETE FROM about WHERE key = ?", (key,))
                else:
                    row = (key, str(value))
                    self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", row)

    def belong(self, **facts: object) -> None:
        """Tie the journal to a market and seat, or check that it belongs there.

        Raises:
            JournalError: If it belongs elsewhere.
        """
        for key, value in facts.items():
            known = self.about(key)
            if known is not None and known != str(value):
                raise JournalError(
                    f"the journal {self.path} is of {key} {known}, this node works for {key} "
                    f"{value}; if the chain was reset or the market deployed anew, give the node "
                    "a new journal file and keep this one for the record"
                )
        with self.atomic():
            rows = [(key, str(value)) for key, value in facts.items()]
            self._db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", rows)

    # -- readings

    def add_readings(self, readings: Iterable[Reading], now_s: int) -> None:
        """Add readings; a later one of the same meter and period corrects the earlier."""
        rows = [(r.period, r.meter, r.import_wh, r.export_wh, r.source, now_s) for r in readings]
        with self.atomic():
            self._db.executemany(
                "INSERT INTO readings (period, meter, import_wh, export_wh, source, read_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )

    def readings(self, period: int) -> dict[str, tuple[int, int]]:
        """Return import and export in Wh by meter, as last read."""
        rows = self._db.execute(
            "SELECT meter, import_wh, export_wh FROM readings WHERE period = ? ORDER BY id",
            (period,),
        )
        return {meter: (import_wh, export_wh) for meter, import_wh, export_wh in rows}

    # -- what this node said

    def keep_proposal(
        self, topic: Topic, period: int, version: int, round_: int, payload: str
    ) -> str:
        """Record what is to be proposed; returns what was recorded for that round first."""
        key = (int(topic), period, version, round_)
        with self.atomic():
            self._db.execute(
                "INSERT OR IGNORE INTO proposals VALUES (?, ?, ?, ?, ?)", (*key, payload)
            )
        row = self._db.execute(
            "SELECT payload FROM proposals WHERE (topic, period, version, round) = (?, ?, ?, ?)",
            key,
        ).fetchone()
        return str(row[0])

    def keep_vote(self, proposal: Proposal, vote: SignedVote) -> SignedVote:
        """Record a vote before it is sent; returns the one recorded for that round first."""
        key = (int(proposal.topic), proposal.period, proposal.version, proposal.round)
        with self.atomic():
            self._db.execute(
                "INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, vote.digest, vote.support, vote.signature, vote.reason),
            )
        kept = self.vote(proposal)
        assert kept is not None
        return kept

    def vote(self, proposal: Proposal) -> SignedVote | None:
        """Return the vote signed in a proposal's round, on this or another proposal."""
        row = self._db.execute(
            "SELECT digest, support, signature, reason FROM votes "
            "WHERE (topic, period, version, round) = (?, ?, ?, ?)",
            (int(proposal.topic), proposal.period, proposal.version, proposal.round),
        ).fetchone()
        return None if row is None else SignedVote(row[0], bool(row[1]), row[2], row[3])

    def votes_on(self, topic: Topic, period: int) -> list[tuple[int, int, bool, str]]:
        """Return version, round, support and reason of all votes signed on a period."""
        rows = self._db.execute(
            "SELECT version, round, support, reason FROM votes WHERE (topic, period) = (?, ?)",
            (int(topic), period),
        )
        return [(version, round_, bool(word), reason) for version, round_, word, reason in rows]

    # -- transactions

    def add_transaction(self, tx: Transaction) -> None:
        """Record a signed transaction before it is sent; one that was dropped is open again."""
        with self.atomic():
            self._db.execute(
                "INSERT OR REPLACE INTO transactions (hash, purpose, nonce, raw, state) "
                "VALUES (?, ?, ?, ?, ?)",
                (tx.hash, tx.purpose, tx.nonce, tx.raw, tx.state),
            )

    def mark_transaction(self, tx: Transaction, note: str = "") -> None:
        """Record what became of a transaction."""
        with self.atomic():
            self._db.execute(
                "UPDATE transactions SET state = ?, block = ?, note = ? WHERE hash = ?",
                (tx.state, tx.block, note, tx.hash),
            )

    def open_transactions(self) -> list[Transaction]:
        """Return the transactions that are in no block yet, by nonce."""
        rows = self._db.execute(
            "SELECT hash, purpose, nonce, raw, state, block FROM transactions "
            "WHERE state = 'signed' ORDER BY nonce"
        )
        return [Transaction(*row) for row in rows]

    def knows_transaction(self, hash_: bytes) -> bool:
        """Return whether a transaction was ever recorded."""
        known = self._db.execute("SELECT 1 FROM transactions WHERE hash = ?", (hash_,))
        return known.fetchone() is not None

    def transaction_counts(self) -> dict[str, int]:
        """Return the number of transactions by state."""
        return dict(self._db.execute("SELECT state, count(*) FROM transactions GROUP BY state"))

    # -- the chain

    def cursor(self) -> tuple[int, bytes] | None:
        """Return number and hash of the last followed block."""
        row = self._db.execute(
            "SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def known_blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield kept block numbers and hashes, the last first."""
        rows = self._db.execute("SELECT number, hash FROM blocks ORDER BY number DESC").fetchall()
        yield from rows

    def extend(self, events: Iterable[Event], blocks: dict[int, bytes]) -> None:
        """Record what further blocks told, and move the cursor to the last of them."""
        last = max(blocks)
        with self.atomic():
            self._db.executemany(
                "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)",
                [(e.block, e.position, e.name, e.at, dump(e.args), e.period) for e in events],
            )
            self._db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", blocks.items())
            oldest = last - KEPT_BLOCKS
            self._db.execute("DELETE FROM blocks WHERE number < ?", (oldest,))
            self._db.execute(
                "DELETE FROM floors WHERE block < (SELECT max(block) FROM floors WHERE block <= ?)",
                (oldest,),
            )

    def rewind(self, number: int) -> None:
        """Forget all blocks after one, and what they told; transactions in them are open again."""
        with self.atomic():
            self._db.execute("DELETE FROM events WHERE block > ?", (number,))
            self._db.execute("DELETE FROM blocks WHERE number > ?", (number,))
            self._db.execute("DELETE FROM floors WHERE block > ?", (number,))
            self._db.execute("DELETE FROM queries WHERE block > ?", (number,))
            self._db.execute("UPDATE queries SET closed = NULL WHERE closed > ?", (number,))
            if self.floor() < int(self.about("pruned_before") or 0):
                # What it takes to go on from there is gone; the chain has it.
                for table in ("events", "blocks", "floors", "queries"):
                    self._db.execute(f"DELETE FROM {table}")
                self.note(pruned_before=None)
            self._db.execute(
                "UPDATE transactions SET state = 'signed', block = NULL WHERE block > ?", (number,)
            )

    def events(self, since: int = 0) -> Iterator[Event]:
        """Yield what the followed blocks told, oldest first.

        Args:
            since: Leave out what is of earlier periods alone.
        """
        where = "WHERE period IS NULL OR period >= ?" if since else "WHERE ? = 0"
        rows = self._db.execute(f"{_EVENTS} {where} ORDER BY 1, 2", (since,))
        yield from _events(rows)

    def events_of(self, period: int) -> Iterator[Event]:
        """Yield what the followed blocks told of one period, or of several from it on."""
        rows = self._db.execute(f"{_EVENTS} WHERE period = ? ORDER BY 1, 2", (period,))
        yield from _events(rows)

    def lasting_events(self) -> Iterator[Event]:
        """Yield what the followed blocks told of no period."""
        yield from _events(self._db.execute(f"{_EVENTS} WHERE period IS NULL ORDER BY 1, 2"))

    def floor(self) -> int:
        """Return the first period in which something can still happen, as far as is known."""
        row = self._db.execute("SELECT max(period) FROM floors").fetchone()
        return int(row[0] or 0)

    def raise_floor(self, block: int, period: int) -> None:
        """Record that nothing can happen any more before a period.

        Args:
            block: The latest block; if it is taken back, so is this.
            period: The first period in which something can.
        """
        with self.atomic():
            self._db.execute("INSERT OR REPLACE INTO floors VALUES (?, ?)", (block, period))


def _refuse_strangers(db: sqlite3.Connection, path: Path) -> None:
    """Write nothing into another program's database."""
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if names and "about" not in names:
        raise JournalError(
            f"{path} is a database of another program, not a journal; give the node a file of its "
            "own"
        )


_EVENTS = "SELECT block, position, name, at, args FROM events"


def _events(rows: Iterable[tuple[Any, ...]]) -> Iterator[Event]:
    for block, position, name, at, args in rows:
        yield Event(block, position, name, at, load(args))
