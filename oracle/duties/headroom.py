"""Headroom ahead of its periods: proposes what base load leaves of the lines, judges, has it fixed.

The forecast is what the meters read a day before, so a period is decided once that is known.
Where base load leaves everything, nothing is proposed: without a quorum the static limits hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from market.forecast import periods_per_day
from market.lines import LIMITS_BYTES, pack_headroom
from market.schedule import primary
from oracle.ballot import Ballot
from oracle.duties.prices import MOST_TRIES
from oracle.duties.situation import FixHeadroom, ProposeHeadroom, Situation, Vote
from oracle.view import MOST_PERIODS
from oracle.wires import Wires

MOST_BYTES = 96_000
"""Bytes of headrooms that fit a transaction."""


def propose(s: Situation) -> Iterator[ProposeHeadroom]:
    """Name the headrooms this node has to propose as the primary of the running round.

    Periods are gathered until a proposal is full or half of the first one's time to vote is over.
    """
    if s.wires is None:
        return
    most = _most_periods(s.wires)
    periods = _open_periods(s, most)
    if not periods:
        return
    first = periods[0]
    opens, gate = _opens(s, first), s.schedule.gate(first)
    if len(periods) < most and s.now < (opens + gate) // 2:
        return
    round_ = s.schedule.price_round(first, s.now)
    if primary(first, round_, s.seats(first)) != s.seat or not s.is_mine(first):
        return
    if (first, round_) in s.view.votes.headroom_ballots:
        return
    headrooms = tuple(_own(s, s.wires, period) for period in periods)
    static = pack_headroom(s.wires.lines.up_wh[1:], s.wires.lines.down_wh[1:])
    if any(headroom != static for headroom in headrooms) and not _is_hopeless(s, first, headrooms):
        yield ProposeHeadroom(first, round_, headrooms)


def vote(s: Situation) -> Iterator[Vote]:
    """Name the votes this node owes on headrooms."""
    if s.wires is None:
        return
    running = _running(s)
    decided = {b.proposal.period for b in running if b.accepted_at is not None}
    for ballot in running:
        first = ballot.proposal.period
        if first in decided or ballot.rejected or s.seat in ballot.votes or not s.is_mine(first):
            continue
        # What was read of the day before must be known before it can be judged.
        if s.now < _opens(s, first + len(ballot.headrooms) - 1):
            yield Vote(ballot.proposal, False, "the day before is not over for all of it")
            continue
        problem = _problem(s, s.wires, ballot)
        yield Vote(ballot.proposal, problem is None, problem or "as forecast")


def fix(s: Situation) -> Iterator[FixHeadroom]:
    """Name the accepted headrooms to be written down."""
    for ballot in _running(s):
        if ballot.accepted_at is None:
            continue
        first = ballot.proposal.period
        open_ = any(
            period not in s.view.votes.headrooms and s.now < s.schedule.gate(period)
            for period in range(first, first + len(ballot.headrooms))
        )
        if open_ and s.is_my_turn(first, ballot.proposer, ballot.accepted_at):
            yield FixHeadroom(first, ballot.proposal.round, ballot.headrooms)


def _day(s: Situation) -> int:
    return periods_per_day(s.schedule.length_s)


def _opens(s: Situation, period: int) -> int:
    """Return when a period's headroom can be decided; the first day has no day before."""
    opens, earlier = s.schedule.price_opens(period), period - _day(s)
    return opens if earlier < 0 else max(opens, s.schedule.close(earlier))


def _most_periods(wires: Wires) -> int:
    size = LIMITS_BYTES * (len(wires.lines.parent) - 1)
    return max(1, min(MOST_PERIODS, MOST_BYTES // size))


def _open_periods(s: Situation, most: int) -> list[int]:
    """Return the next periods that can be decided and are not, without a gap."""
    clock = s.schedule
    # A vote needs time: the gate must be more than a round away.
    soonest = s.now + clock.round_length_s + clock.gate_lead_s - clock.epoch_s
    first = max(s.first_period, soonest // clock.length_s + 1)
    decided = s.view.votes.headrooms.keys() | {
        ballot.proposal.period + i
        for ballot in _running(s)
        if ballot.accepted_at is not None
        for i in range(len(ballot.headrooms))
    }
    while first in decided:
        first += 1
    return list(
        takewhile(
            lambda period: period not in decided and _opens(s, period) <= s.now,
            range(first, first + most),
        )
    )


def _running(s: Situation) -> list[Ballot]:
    """Return the ballots whose first period can still be voted on or last one fixed."""
    return [
        ballot
        for (first, _), ballot in s.view.votes.headroom_ballots.items()
        if s.now < s.schedule.gate(first + len(ballot.headrooms) - 1)
        and (ballot.accepted_at is not None or s.now < s.schedule.gate(first))
    ]


def _own(s: Situation, wires: Wires, period: int) -> bytes:
    members = frozenset(s.readings.meter_names(s.view.meters).values())
    return wires.headroom(s.readings.day_before(period), members)


def _problem(s: Situation, wires: Wires, ballot: Ballot) -> str | None:
    """Return what is wrong with proposed headrooms, None if they are close to this node's."""
    for period, headroom in enumerate(ballot.headrooms, ballot.proposal.period):
        difference = wires.difference(headroom, _own(s, wires, period))
        if difference is not None:
            return f"period {period}: {difference}"
    return None


def _is_hopeless(s: Situation, first: int, headrooms: tuple[bytes, ...]) -> bool:
    ballots = s.view.votes.headroom_ballots.items()
    same = [b for (start, _), b in ballots if start == first and b.headrooms == headrooms]
    return len(same) >= MOST_TRIES or any(ballot.rejected for ballot in same)
