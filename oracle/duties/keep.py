"""Keeps periods moving: clears after the gate, settles what can be settled, and finalises."""

from __future__ import annotations

from collections.abc import Iterator

from oracle.duties.situation import Clear, Settle, Situation


def clear(s: Situation) -> Iterator[Clear]:
    """Name the periods whose positions are to be fixed."""
    for period in reversed(s.periods):
        if s.view.state(period).open and s.is_my_turn(period, period, s.schedule.gate(period)):
            yield Clear(period)


def settle(s: Situation) -> Iterator[Settle]:
    """Name the periods whose settlement is due, first or again."""
    for period in reversed(s.periods):
        due = settlement_due(s, period)
        if due is not None and s.is_my_turn(period, *due):
            yield Settle(period)


def settlement_due(s: Situation, period: int) -> tuple[int, int] | None:
    """Return whose turn a settlement is first and since when, None if none is due."""
    p = s.view.period(period)
    late = s.now >= s.schedule.last_call(period)
    # What the committee has not decided by the last call is void, without anybody's transaction.
    fixed = p.buckets is not None or (s.view.state(period).stage == 1 and late)
    if not fixed or p.final:
        return None
    if p.job is not None:
        return period, p.job_at
    unsettled = p.settled_version is None
    window_end = s.schedule.window_end(period)
    if p.version > (p.settled_version or 0):
        ballot = p.reports[p.version]
        # Whoever got the report through is alive.
        return ballot.proposer, ballot.accepted_at or ballot.at
    if s.now >= window_end and (unsettled or p.flagged()):
        return period, window_end
    if s.now >= s.schedule.settle_deadline(period) and unsettled:
        return period, s.schedule.settle_deadline(period)
    return None
