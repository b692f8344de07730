"""Reports on closed periods: proposes what this node read, and judges what others propose.

In the first rounds, one for every seat, a report is right if it says what a node would say, within
its tolerance. If none wins, the meters told the seats different things. From then on a report
follows what a quorum has said of a node, whatever else was said; a node without such a quorum is
substituted, or left out where the seats' profiles differ too. So a meter that is not believed harms
its own node alone, and a seat that lies nobody whose meter told the others the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from market.messages import Proposal, Topic
from market.packing import PackingError, pack_readings, root_of
from market.schedule import primary
from market.types import MeterReading, Quality
from oracle.ballot import Ballot
from oracle.duties.situation import ProposeReport, Situation, Vote
from oracle.tolerance import EXACT, Tolerance
from oracle.view import PeriodView

MOST_TRIES = 3
"""A report that failed this often, or was rejected, is not proposed again unchanged.

What failed by the strict measure of the first rounds may still do by the lenient one.
"""

SHOWN_OBJECTIONS = 5
"""Objections spelled out in the reason of a vote."""


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong with one entry of a proposed report.

    Attributes:
        node: The node, 0 for the whole report.
        why: What is wrong, in words.
        may_pass: Whether a reading that is still to come could prove the entry right.
    """

    node: int
    why: str
    may_pass: bool = False


@dataclass(frozen=True, slots=True)
class Leniency:
    """What a seat puts up with once every seat has had its turn without a decision.

    Attributes:
        said: What the seats that spoke have said of each node, None for nothing at all.
        quorum: As many of them as decide.
        substitutes: The profile values this node has, by node, measured or not.
        tolerance: How far apart words may be and still say the same.
    """

    said: Mapping[int, Sequence[MeterReading | None]]
    quorum: int
    substitutes: Mapping[int, MeterReading]
    tolerance: Tolerance = EXACT

    def accepts(self, node: int, said: MeterReading | None) -> bool:
        """Return whether a report may say something of a node that this node would not say.

        What a quorum has said stands. Of any other node a report may say less than this node
        knows, for that can be corrected later, but never more.
        """
        if self._is_backed(node, said):
            return True
        if any(self._is_backed(node, word) for word in self.said.get(node, ())):
            return False
        return said is None or self.tolerance.covers(said, self.substitutes.get(node))

    def apply(
        self, own: Mapping[int, MeterReading], *, substituting: bool
    ) -> dict[int, MeterReading]:
        """Return the report to propose: what a quorum said, and of disputed nodes nothing measured.

        Args:
            own: What this node would report, by node.
            substituting: Whether to substitute disputed nodes, rather than leave them out.
        """
        merged: dict[int, MeterReading | None] = dict(own)
        for node, words in self.said.items():
            agreed = [word for word in (own.get(node), *words) if self._is_backed(node, word)]
            if agreed:
                merged[node] = agreed[0]
            elif not all(self.tolerance.covers(word, words[0]) for word in words):
                merged[node] = self.substitutes.get(node) if substituting else None
        return {node: reading for node, reading in merged.items() if reading is not None}

    def _is_backed(self, node: int, word: MeterReading | None) -> bool:
        """Return whether a quorum has said so."""
        same = (self.tolerance.covers(word, other) for other in self.said.get(node, ()))
        return sum(same) >= self.quorum


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
        for readings in _first(s, period, p, round_) if version == 1 else _correction(s, period, p):
            buckets = _packed(readings)
            if not _is_hopeless(s, period, version, round_, root_of(buckets)):
                yield ProposeReport(period, version, round_, buckets)
                break


def vote(s: Situation) -> Iterator[Vote]:
    """Name the votes this node owes on reports."""
    for period in reversed(s.periods):
        p = s.view.period(period)
        if not p.ballots or s.now >= s.schedule.window_end(period) or not s.is_mine(period):
            continue
        for ballot in p.ballots.values():
            if ballot.proposal.version != p.version + 1 or s.seat in ballot.votes:
                continue
            # A strict report's supporters tell what they read even where it has lost.
            if ballot.rejected and not _is_strict(s, period, ballot.proposal):
                continue
            try:
                found = _judge(s, period, p, ballot)
            except PackingError as exc:
                found = [Objection(0, str(exc))]
            still_waiting = s.now < s.schedule.close(period) + s.patience_s
            if found and still_waiting and all(o.may_pass for o in found):
                continue
            if not (found and ballot.rejected):
                yield Vote(ballot.proposal, not found, _in_words(found))


def objections(
    proposed: Mapping[int, MeterReading],
    own: Mapping[int, MeterReading],
    tolerance: Tolerance = EXACT,
    leniency: Leniency | None = None,
) -> list[Objection]:
    """Compare a first report with what this node knows.

    Args:
        proposed: The report, by node.
        own: What this node would report, by node.
        tolerance: How far it may be from that.
        leniency: What else to put up with, None for nothing.
    """
    found = []
    for node in sorted(proposed.keys() | own.keys()):
        said, known = proposed.get(node), own.get(node)
        if tolerance.covers(said, known) or (leniency and leniency.accepts(node, said)):
            continue
        if said is None:
            found.append(Objection(node, f"is left out, I have {_told(known)}"))
        else:
            silent = known is None or known.quality is Quality.SUBSTITUTED
            may_pass = silent and said.quality is Quality.MEASURED
            found.append(Objection(node, f"is {_told(said)}, I have {_told(known)}", may_pass))
    return found


def corrections(
    proposed: Mapping[int, MeterReading],
    own: Mapping[int, MeterReading],
    accepted: Mapping[int, MeterReading],
    tolerance: Tolerance = EXACT,
) -> list[Objection]:
    """Compare a corrected report with what this node knows and what was accepted before.

    An entry is right if it stays as it was, or becomes what this node has where that shows the
    accepted one to be wrong; something must have changed.
    """
    found = []
    for node in sorted(proposed.keys() | own.keys() | accepted.keys()):
        said, known, stood = proposed.get(node), own.get(node), accepted.get(node)
        mends = tolerance.covers(said, known) and not tolerance.covers(known, stood)
        if said != stood and not mends:
            why = f"becomes {_told(said)}, I have {_told(known)}"
            found.append(Objection(node, why, may_pass=True))
    if not found and proposed == accepted:
        found.append(Objection(0, "nothing changes"))
    return found


def _first(
    s: Situation, period: int, p: PeriodView, round_: int
) -> Iterator[Mapping[int, MeterReading]]:
    """Name first reports, the best first; none while silent meters may still speak."""
    waiting = s.now < s.schedule.close(period) + s.patience_s
    if waiting and not s.readings.is_complete(period, s.view.meters):
        return
    own = s.readings.opinion(period, s.view.meters)
    if round_ < s.seats(period):
        yield own
        return
    leniency = _leniency(s, period, p, own)
    for substituting in (True, False):
        yield leniency.apply(own, substituting=substituting)


def _correction(s: Situation, period: int, p: PeriodView) -> Iterator[Mapping[int, MeterReading]]:
    """Name the accepted report with this node's readings in it if that changes anything."""
    accepted = p.reports[p.version].readings()
    own = s.readings.opinion(period, s.view.meters)
    better = {
        node: reading
        for node, reading in own.items()
        if reading.quality is Quality.MEASURED
        and not s.tolerance.covers(reading, accepted.get(node))
    }
    if better:
        yield {**accepted, **better}


def _packed(readings: Mapping[int, MeterReading]) -> tuple[bytes, ...]:
    # A report needs a bucket even if it has no reading.
    return tuple(pack_readings(readings.values())) or (b"",)


def _is_strict(s: Situation, period: int, proposal: Proposal) -> bool:
    return proposal.version == 1 and proposal.round < s.seats(period)


def _is_hopeless(s: Situation, period: int, version: int, round_: int, root: bytes) -> bool:
    proposal = Proposal(Topic.REPORT, period, version, round_, root)
    strict = _is_strict(s, period, proposal)
    same = [
        ballot
        for (v, _), ballot in s.view.period(period).ballots.items()
        if v == version
        and ballot.proposal.digest == root
        and _is_strict(s, period, ballot.proposal) == strict
    ]
    return len(same) >= MOST_TRIES or any(ballot.rejected for ballot in same)


def _judge(s: Situation, period: int, p: PeriodView, ballot: Ballot) -> list[Objection]:
    proposed, proposal = ballot.readings(), ballot.proposal
    if root_of(_packed(proposed)) != proposal.digest:
        # Empty buckets behind the last one would make every settlement dearer.
        return [Objection(0, "the readings are not packed in the fewest buckets")]
    own = s.readings.opinion(period, s.view.meters)
    if proposal.version > 1:
        return corrections(proposed, own, p.reports[p.version].readings(), s.tolerance)
    strict = _is_strict(s, period, proposal)
    return objections(proposed, own, s.tolerance, None if strict else _leniency(s, period, p, own))


def _leniency(
    s: Situation, period: int, p: PeriodView, own: Mapping[int, MeterReading]
) -> Leniency:
    """Return what the strict rounds have shown.

    Who proposed or supported a report in one of them has said all of it as its own.
    """
    said: dict[int, Mapping[int, MeterReading]] = {}
    for _, ballot in sorted(p.ballots.items(), key=lambda item: item[0]):
        if _is_strict(s, period, ballot.proposal):
            supporters = [seat for seat, support in ballot.votes.items() if support]
            said.update(dict.fromkeys((ballot.proposer, *supporters), ballot.readings()))
    said[s.seat] = own
    nodes = set[int]().union(*said.values())
    every = {n: s.readings.substitute(period, n, key) for n, key in s.view.meters.items()}
    return Leniency(
        {node: tuple(report.get(node) for report in said.values()) for node in nodes},
        2 * s.seats(period) // 3 + 1,
        {n: reading for n, reading in every.items() if reading is not None},
        s.tolerance,
    )


def _told(reading: MeterReading | None) -> str:
    if reading is None:
        return "nothing"
    kind = "measured" if reading.quality is Quality.MEASURED else "substituted"
    return f"{kind} export {reading.export_wh} Wh import {reading.import_wh} Wh"


def _in_words(found: list[Objection]) -> str:
    if not found:
        return "as read"
    shown = [f"node {o.node} {o.why}" if o.node else o.why for o in found[:SHOWN_OBJECTIONS]]
    if len(found) > SHOWN_OBJECTIONS:
        shown.append(f"and {len(found) - SHOWN_OBJECTIONS} more")
    return "; ".join(shown)
