"""Prices ahead of their periods: proposes what this node holds right, judges, and has it fixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from market.prices import PeriodPrices
from market.schedule import primary
from oracle.ballot import Ballot
from oracle.duties.situation import FixPrices, ProposePrices, Situation, Vote
from oracle.pricing import own_prices
from oracle.view import MOST_PERIODS

MOST_TRIES = 3
"""Prices that failed this often, or were rejected, are not proposed again unchanged."""


def propose(s: Situation) -> Iterator[ProposePrices]:
    """Name the prices this node has to propose as the primary of the running round.

    Periods are gathered until a proposal is full or half of the first one's time to vote is over.
    One for which this node has no prices is left out: they may still come, and need no proposal
    if they do not.
    """
    periods = _run([period for period in _undecided(s) if s.prices.trading(period) is not None])
    if not periods:
        return
    first = periods[0]
    if len(periods) < MOST_PERIODS and not _is_due(s, first):
        return
    round_ = s.schedule.price_round(first, s.now)
    if primary(first, round_, s.seats(first)) != s.seat or not s.is_mine(first):
        return
    if (first, round_) in s.view.price_ballots:
        return
    prices = tuple(_own(s, period) for period in periods)
    if _are_benchmarks(s, periods, prices) or _is_hopeless(s, first, prices):
        return
    yield ProposePrices(first, round_, prices)


def vote(s: Situation) -> Iterator[Vote]:
    """Name the votes this node owes on prices.

    Before it opposes any, its source is asked anew: the proposer may know newer ones. For that the
    vote waits half a round at most.
    """
    running = _running(s)
    decided = {b.proposal.period for b in running if b.accepted_at is not None}
    for ballot in running:
        # The contract takes no vote on what another round's proposal has decided.
        undecided = ballot.proposal.period not in decided and not ballot.rejected
        if undecided and s.seat not in ballot.votes and s.is_mine(ballot.proposal.period):
            problem = _problem(s, ballot)
            patient = s.now < ballot.at + s.schedule.round_length_s // 2
            if problem and not s.prices.renewed(ballot.proposal.digest) and patient:
                continue
            yield Vote(ballot.proposal, problem is None, problem or "as computed")


def fix(s: Situation) -> Iterator[FixPrices]:
    """Name the accepted prices to be written down."""
    for ballot in _running(s):
        if ballot.accepted_at is None:
            continue
        first = ballot.proposal.period
        open_ = any(
            period not in s.view.fixed and s.now < s.schedule.price_deadline(period)
            for period in range(first, first + len(ballot.prices))
        )
        if open_ and s.is_my_turn(first, ballot.proposer, ballot.accepted_at):
            yield FixPrices(first, ballot.proposal.round, ballot.prices)


def due(s: Situation) -> list[int]:
    """Return the periods that should have prices by now, and can still get them."""
    return [period for period in _undecided(s) if _is_due(s, period)]


def _is_due(s: Situation, period: int) -> bool:
    """Return whether half of a period's time to vote is over."""
    opens, deadline = s.schedule.price_opens(period), s.schedule.price_deadline(period)
    return s.now >= (opens + deadline) // 2


def _undecided(s: Situation) -> list[int]:
    """Return the periods that can be voted on and have no prices yet."""
    clock = s.schedule
    # A vote needs time: the deadline must be more than a round away.
    soonest = s.now + clock.round_length_s + clock.price_lead_s - clock.epoch_s
    first = max(s.first_period, soonest // clock.length_s + 1)
    last = (s.now + clock.price_horizon_s - clock.epoch_s) // clock.length_s
    decided = s.view.fixed | {
        ballot.proposal.period + i
        for ballot in _running(s)
        if ballot.accepted_at is not None
        for i in range(len(ballot.prices))
    }
    return [period for period in range(first, last + 1) if period not in decided]


def _run(periods: Sequence[int]) -> list[int]:
    """Return the first of some ascending periods and those that follow it without a gap."""
    return [p for number, p in enumerate(periods[:MOST_PERIODS]) if p == periods[0] + number]


def _running(s: Situation) -> list[Ballot]:
    """Return the ballots on prices whose first period can still be voted on or fixed."""
    clock = s.schedule
    return [
        ballot
        for (first, _), ballot in s.view.price_ballots.items()
        if s.now < clock.price_deadline(first + max(1, len(ballot.prices)) - 1)
        and (ballot.accepted_at is not None or s.now < clock.price_deadline(first))
    ]


def _own(s: Situation, period: int) -> PeriodPrices:
    return own_prices(s.prices, s.view.benchmark(period), period)


def _are_benchmarks(s: Situation, periods: list[int], prices: tuple[PeriodPrices, ...]) -> bool:
    """Return whether nothing would change: without a quorum the benchmark stands anyway."""
    return all(
        p == PeriodPrices.from_benchmark(s.view.benchmark(period))
        for period, p in zip(periods, prices, strict=True)
    )


def _is_hopeless(s: Situation, first: int, prices: tuple[PeriodPrices, ...]) -> bool:
    ballots = s.view.price_ballots.items()
    same = [b for (start, _), b in ballots if start == first and b.prices == prices]
    return len(same) >= MOST_TRIES or any(ballot.rejected for ballot in same)


def _problem(s: Situation, ballot: Ballot) -> str | None:
    """Return what is wrong with proposed prices, None if they are what this node computes."""
    if not ballot.prices:
        return "there are values in them that no price can have"
    for period, proposed in enumerate(ballot.prices, ballot.proposal.period):
        own = _own(s, period)
        if proposed != own:
            return f"period {period} is {_told(proposed)}, I have {_told(own)}"
    return None


def _told(p: PeriodPrices) -> str:
    return (
        f"selling {p.selling_uyuan_per_kwh} planned {p.planned_uyuan_per_kwh} "
        f"compensation {p.compensation_uyuan_per_kwh} clamped {p.clamp_flags}"
    )
