"""The queries of contracts that wait for an answer: as many as a node cares to keep in mind.

Asking costs a contract next to nothing, so what a node keeps is bounded: of too many queries those
are left to others that pay least for their gas, and of equals the later ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from market.packing import BUCKET_NODES
from oracle import log
from oracle.ballot import Ballot
from oracle.events import Event, dump, load
from oracle.journal import KEPT_BLOCKS, Journal
from oracle.view import View

QUERY_EVENTS = ("Queried", "Delivered", "Refunded")
"""The events to follow; what they tell is of no period, and kept apart from what is."""

MOST_OPEN = 1_024
"""Queries in mind."""

MOST_PAST = 4
"""Reports of ended periods in mind."""

# Gas limits that hold whatever the consumer does; measured by the contract's tests.
DELIVERY_GAS = 120_000
"""What delivering takes besides the callback, the reserve behind it included."""
HASH_GAS = 1_000
"""What each bucket's hash takes."""
RECORD_GAS = 400
"""What each record of the meter's bucket takes at most."""


class QueryKind(IntEnum):
    """What a contract asks."""

    EXPORT_WH = 0
    IMPORT_WH = 1
    PLANNED_PRICE = 2
    COMPENSATION_PRICE = 3
    SELLING_PRICE = 4


@dataclass(frozen=True, slots=True)
class Query:
    """An open query.

    Attributes:
        id: Its id.
        consumer: The contract that asked.
        meter: The meter, for energies.
        period: The period.
        kind: What of it.
        callback_gas: Gas that the consumer is to get.
        fee_wei: What the deliverer earns.
        asked_at: When it was asked, chain time.
        order: Its place among all queries.
    """

    id: bytes
    consumer: str
    meter: bytes
    period: int
    kind: QueryKind
    callback_gas: int
    fee_wei: int
    asked_at: int
    order: tuple[int, int]

    @property
    def of_energy(self) -> bool:
        """Whether a report answers it; otherwise the price board does."""
        return self.kind <= QueryKind.IMPORT_WH

    def delivery_gas(self, nodes: int) -> int:
        """Return a gas limit with which its delivery succeeds.

        Args:
            nodes: How many nodes there are, which bounds the size of a report.
        """
        callback = -(-self.callback_gas * 64 // 63)
        if not self.of_energy:
            return DELIVERY_GAS + callback
        buckets, records = nodes // BUCKET_NODES + 1, min(nodes + 1, BUCKET_NODES)
        return DELIVERY_GAS + callback + HASH_GAS * buckets + RECORD_GAS * records

    @property
    def rank(self) -> tuple[int, tuple[int, int]]:
        """What orders queries, the best first."""
        return -(self.fee_wei // (DELIVERY_GAS + self.callback_gas)), self.order


class QueryBook:
    """The open queries, in the journal and in memory."""

    def __init__(self, journal: Journal) -> None:
        """Take up what the journal has."""
        self._journal = journal
        rows = journal.db.execute("SELECT id, block, at, args FROM queries WHERE closed IS NULL")
        self._open = {id_: _query(block, at, load(args)) for id_, block, at, args in rows}
        self._best: list[Query] | None = None
        self._told: set[bytes] = set()
        self._past: dict[int, Ballot | None] = {}

    def __len__(self) -> int:
        """Return the number of open queries in mind."""
        return len(self._open)

    def __iter__(self) -> Iterator[Query]:
        """Yield the open queries, those that pay best for their gas first."""
        if self._best is None:
            self._best = sorted(self._open.values(), key=lambda query: query.rank)
        yield from tuple(self._best)

    def take(self, events: Iterable[Event]) -> None:
        """Take in further events, in their order."""
        known, asked, closed = set(self._open), dict[bytes, Event](), dict[bytes, int]()
        for event in events:
            id_ = event.args["id"]
            if event.name == "Queried":
                asked[id_] = event
                args = event.args | {"position": event.position}
                self._open[id_] = _query(event.block, event.at, args)
            else:
                closed[id_] = event.block
                self._open.pop(id_, None)
        if not asked and not closed:
            return
        if len(self._open) > MOST_OPEN:
            best = sorted(self._open.values(), key=lambda query: query.rank)[:MOST_OPEN]
            self._open = {query.id: query for query in best}
        self._write(
            fresh=[asked[id_] for id_ in asked.keys() & self._open.keys()],
            closed=[(block, id_) for id_, block in closed.items() if id_ in known],
            dropped=[(id_,) for id_ in known - self._open.keys() - closed.keys()],
        )
        self._best = None
        self._told &= self._open.keys()

    def drop(self, query: Query) -> None:
        """Forget a query that nobody can answer any more."""
        self._open.pop(query.id, None)
        self._best = None
        self._write(dropped=[(query.id,)])

    def tell_once(self, query: Query, event: str, **facts: object) -> bool:
        """Log what keeps a query from being answered; returns whether it was told just now."""
        if query.id in self._told:
            return False
        self._told.add(query.id)
        log.info(event, query="0x" + query.id.hex(), consumer=query.consumer, **facts)
        return True

    def knows_past(self, period: int) -> bool:
        """Return whether the report of an ended period is in mind."""
        return period in self._past

    def past_report(self, period: int) -> Ballot | None:
        """Return the last report of a period that has ended, from the journal; None if none."""
        if period not in self._past:
            if len(self._past) == MOST_PAST:
                del self._past[next(iter(self._past))]
            # Votes of other periods on this one's prices are missing, and of no matter.
            view = View(period + 1)
            view.apply(self._journal.events_of(period))
            known = view.period(period)
            self._past[period] = known.reports.get(known.version)
        return self._past[period]

    def _write(
        self,
        fresh: Iterable[Event] = (),
        closed: Iterable[tuple[int, bytes]] = (),
        dropped: Iterable[tuple[bytes]] = (),
    ) -> None:
        rows = [
            (e.args["id"], e.block, e.at, dump(e.args | {"position": e.position})) for e in fresh
        ]
        db, closed = self._journal.db, list(closed)
        with self._journal.atomic():
            db.executemany(
                "INSERT OR REPLACE INTO queries (id, block, at, args) VALUES (?, ?, ?, ?)", rows
            )
            db.executemany("UPDATE queries SET closed = ? WHERE id = ?", closed)
            db.executemany("DELETE FROM queries WHERE id = ?", dropped)
            # Until then a reorganisation may open them again.
            oldest = max((block for block, _ in closed), default=0) - KEPT_BLOCKS
            db.execute("DELETE FROM queries WHERE closed < ?", (oldest,))


def _query(block: int, at: int, args: dict[str, Any]) -> Query:
    return Query(
        id=args["id"],
        consumer=args["consumer"],
        meter=args["meter"],
        period=args["period"],
        kind=QueryKind(args["kind"]),
        callback_gas=args["callbackGas"],
        fee_wei=args["feeWei"],
        asked_at=at,
        order=(block, args["position"]),
    )
