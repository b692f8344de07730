"""Answers the queries of contracts once the committee has fixed what they ask for.

It comes after every duty that keeps a period moving. What a query may cost is known before anything
is looked up or sent: nothing that a consumer does can raise it.
"""

from __future__ import annotations

from collections.abc import Iterator

from market.packing import BUCKET_NODES
from market.types import Quality
from oracle.ballot import Ballot
from oracle.duties.situation import CollectFees, Deliver, Situation
from oracle.queries import Query

MOST_LOOKUPS = 4
"""Reports of ended periods read from the journal for one block."""

MOST_TOLD = 8
"""Queries for one block of which people are told why they are not answered."""

COLLECT_GAS = 60_000
"""What having earnings paid out takes at most."""

WORTH_COLLECTING = 20
"""How many times its cost must be there before earnings are collected."""


def deliver(s: Situation) -> Iterator[Deliver]:
    """Name the queries this node has to answer, those that pay best first."""
    if not s.terms.deliver:
        return
    lookups = told = 0
    for query in s.queries:
        due = _due(s, query)
        if s.now < due:
            continue
        gas = query.delivery_gas(len(s.view.meters))
        problem = _problem(s, query, gas)
        if problem is not None:
            if told < MOST_TOLD:
                told += s.queries.tell_once(query, "query left to others", reason=problem)
            continue
        if not query.of_energy:
            if _is_my_turn(s, query, due):
                yield Deliver(query, gas)
            continue
        ended = query.period < s.view.floor
        if ended and not s.queries.knows_past(query.period):
            if lookups == MOST_LOOKUPS or not _is_my_turn(s, query, due):
                continue
            lookups += 1
        report = s.queries.past_report(query.period) if ended else _report(s, query.period)
        node = s.view.node_of.get(query.meter, 0)
        if report is None or not _is_measured(report, node):
            if s.now >= s.schedule.window_end(query.period):
                # No report can come any more: what is left is the consumer's refund.
                s.queries.drop(query)
            continue
        if _is_my_turn(s, query, max(due, report.accepted_at or report.at)):
            yield Deliver(query, gas, report.buckets, node // BUCKET_NODES)


def collect(s: Situation) -> Iterator[CollectFees]:
    """Name the paying out of earnings that are worth it."""
    if s.terms.earned_wei > WORTH_COLLECTING * COLLECT_GAS * s.terms.gas_price_wei:
        yield CollectFees()


def _due(s: Situation, query: Query) -> int:
    """Return from when on there may be an answer."""
    if query.of_energy:
        return max(query.asked_at, s.schedule.close(query.period))
    if query.period in s.view.fixed:
        return query.asked_at
    return max(query.asked_at, s.schedule.price_deadline(query.period))


def _problem(s: Situation, query: Query, gas: int) -> str | None:
    """Return why it is not for this node to answer, None if it is."""
    if gas > s.terms.gas_limit:
        return f"takes {gas} gas, a transaction may have {s.terms.gas_limit}"
    least_wei = -(-gas * s.terms.gas_price_wei * s.terms.least_fee_percent // 100)
    if query.fee_wei < least_wei:
        return f"pays {query.fee_wei} wei, least is {least_wei}"
    return None


def _is_my_turn(s: Situation, query: Query, since: int) -> bool:
    return s.is_my_turn(query.period, int.from_bytes(query.id), since)


def _report(s: Situation, period: int) -> Ballot | None:
    """Return the latest accepted report of a period in memory."""
    # What a stranger asks for must not grow what is known.
    known = s.view.periods.get(period)
    return known.reports.get(known.version) if known else None


def _is_measured(report: Ballot, node: int) -> bool:
    reading = report.readings().get(node)
    return reading is not None and reading.quality is Quality.MEASURED
