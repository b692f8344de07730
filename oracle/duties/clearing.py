"""The word on a clearing the master has checked: it stands, or which line carries too much.

The contracts have proved already that it is the one valid clearing of the book. What they cannot
see, voltages and real currents, this node computes for what it expects to flow.
"""

from __future__ import annotations

from collections.abc import Iterator

from market.powerflow import Verdict
from oracle.ballot import Ballot
from oracle.duties.situation import Object, Situation, Vote


def vote(s: Situation) -> Iterator[Vote | Object]:
    """Name the words this node owes on checked clearings."""
    for period in reversed(s.periods):
        ballot = s.view.votes.clearings.get(period)
        if ballot is None or ballot.accepted_at is not None or not s.is_mine(period):
            continue
        if s.now >= s.schedule.last_call(period) or s.seat in ballot.votes:
            continue
        verdict = _verdict(s, ballot)
        if verdict.derate is None:
            yield Vote(ballot.proposal, True, verdict.reason)
        else:
            yield Object(ballot.proposal, verdict.derate, verdict.reason)


def _verdict(s: Situation, ballot: Ballot) -> Verdict:
    if s.wires is None:
        return Verdict(None, "there are no wires")
    period, votes = ballot.proposal.period, s.view.votes
    lines = s.wires.lines
    if period in votes.headrooms:
        lines = lines.with_headroom(votes.headrooms[period])
    return s.wires.verdict(
        lines.derated(votes.derates.get(period, ())),
        ballot.positions(),
        s.readings.day_before(period),
        s.readings.meter_names(s.view.meters),
        s.view.buses,
    )
