"""Reports on closed periods: proposes what this node read, and judges what others propose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from market.packing import PackingError, pack_readings, root_of
from market.schedule import primary
from market.types import MeterReading, Quality
from oracle.duties.situation import ProposeReport, Situation, Vote
from oracle.view import Ballot, PeriodView

MOST_TRIES = 3
"""A report that failed this often, or was rejected, is not proposed again unchanged."""

SHOWN_OBJECTIONS = 5
"""Objections spelled out in the reason of a vote."""


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong with one entry of a proposed report.

    Attributes:
        node: The node.
        why: What is wrong, in words.
        may_pass: Whether a reading that is still to come could prove the entry right.
    """

    node: int
    why: str
    may_pass: bool = False


def propose(s: Situation) -> Iterator[ProposeReport]:
    """Name the reports this node has to propose as the primary of the running round."""
    for period in reversed(s.periods):
        if not s.schedule.close(period) <= s.now < s.schedule.window_end(period):
            continue
        round_ = s.schedule.report_round(period, s.now)
        if primary(period, round_, s.seats(period)) != s.seat or not s.is_mine(period):
            continue
        p = s.view.period(period)
        version = p.version + 1
        if (version, round_) in p.ballots:
            continue
        readings = _first(s, period) if version == 1 else _correction(s, period, p)
        if readings is None:
            continue
        # A report needs a bucket even if it has no reading.
        buckets = tuple(pack_readings(readings.values())) or (b"",)
        if not _is_hopeless(p, version, root_of(buckets)):
            yield ProposeReport(period, version, round_, buckets)


def vote(s: Situation) -> Iterator[Vote]:
    """Name the votes this node owes on reports."""
    for period in reversed(s.periods):
        p = s.view.period(period)
        if not p.ballots or s.now >= s.schedule.window_end(period) or not s.is_mine(period):
            continue
        for ballot in p.ballots.values():
            undecided = ballot.proposal.version == p.version + 1 and not ballot.rejected
            if undecided and s.seat not in ballot.votes:
                try:
                    found = _judge(s, period, p, ballot)
                except PackingError as exc:
                    found = [Objection(0, str(exc))]
                still_waiting = s.now < s.schedule.close(period) + s.patience_s
                if found and still_waiting and all(o.may_pass for o in found):
                    continue
                yield Vote(ballot.proposal, not found, _in_words(found))


def objections(
    proposed: Mapping[int, MeterReading],
    own: Mapping[int, MeterReading],
    substitutes: Mapping[int, MeterReading],
    *,
    lenient: bool,
) -> list[Objection]:
    """Compare a first report with what this node knows.

    Args:
        proposed: The report, by node.
        own: What this node would report, by node.
        substitutes: The profile values this node has, by node, measured or not.
        lenient: Every seat has had its turn without a decision: a report may now say less than
            this node knows, for that can be corrected later, but never more.
    """
    found = []
    for node in sorted(proposed.keys() | own.keys()):
        said, known = proposed.get(node), own.get(node)
        if said == known:
            continue
        if said is None:
            if not lenient:
                found.append(Objection(node, f"is left out, I have {_told(known)}"))
        elif said.quality is Quality.MEASURED:
            silent = known is None or known.quality is Quality.SUBSTITUTED
            found.append(Objection(node, f"is {_told(said)}, I have {_told(known)}", silent))
        elif not (lenient and said == substitutes.get(node)):
            found.append(Objection(node, f"is {_told(said)}, I have {_told(known)}"))
    return found


def corrections(
    proposed: Mapping[int, MeterReading],
    own: Mapping[int, MeterReading],
    accepted: Mapping[int, MeterReading],
) -> list[Objection]:
    """Compare a corrected report with what this node knows and what was accepted before.

    An entry is right if it is this node's own, or stays as it was; something must have changed.
    """
    found = [
        Objection(node, f"becomes {_told(proposed.get(node))}, I have {_told(own.get(node))}", True)
        for node in sorted(proposed.keys() | own.keys() | accepted.keys())
        if proposed.get(node) not in (own.get(node), accepted.get(node))
    ]
    if not found and proposed == accepted:
        found.append(Objection(0, "nothing changes"))
    return found


def _first(s: Situation, period: int) -> Mapping[int, MeterReading] | None:
    """Return a first report, None while silent meters may still speak."""
    waiting = s.now < s.schedule.close(period) + s.patience_s
    if waiting and not s.readings.is_complete(period, s.view.meters):
        return None
    return s.readings.opinion(period, s.view.meters)


def _correction(s: Situation, period: int, p: PeriodView) -> Mapping[int, MeterReading] | None:
    """Return the accepted report with this node's readings in it, None if that changes nothing."""
    accepted = p.reports[p.version].readings()
    own = s.readings.opinion(period, s.view.meters)
    if own == accepted:
        return None
    measured = {n: r for n, r in own.items() if r.quality is Quality.MEASURED}
    corrected = {**accepted, **measured}
    return None if corrected == accepted else corrected


def _is_hopeless(p: PeriodView, version: int, root: bytes) -> bool:
    same = [b for (v, _), b in p.ballots.items() if v == version and b.proposal.digest == root]
    return len(same) >= MOST_TRIES or any(ballot.rejected for ballot in same)


def _judge(s: Situation, period: int, p: PeriodView, ballot: Ballot) -> list[Objection]:
    proposed, meters = ballot.readings(), s.view.meters
    own = s.readings.opinion(period, meters)
    if ballot.proposal.version > 1:
        return corrections(proposed, own, p.reports[p.version].readings())
    lenient = ballot.proposal.round >= s.seats(period)
    substitutes = {}
    if lenient:
        every = {node: s.readings.substitute(period, node, key) for node, key in meters.items()}
        substitutes = {node: reading for node, reading in every.items() if reading is not None}
    return objections(proposed, own, substitutes, lenient=lenient)


def _told(reading: MeterReading | None) -> str:
    if reading is None:
        return "nothing"
    kind = "measured" if reading.quality is Quality.MEASURED else "substituted"
    return f"{kind} export {reading.export_wh} Wh import {reading.import_wh} Wh"


def _in_words(found: list[Objection]) -> str:
    if not found:
        return "as read"
    shown = [f"node {o.node} {o.why}" for o in found[:SHOWN_OBJECTIONS]]
    if len(found) > SHOWN_OBJECTIONS:
        shown.append(f"and {len(found) - SHOWN_OBJECTIONS} more")
    return "; ".join(shown)
