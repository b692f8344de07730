"""Tells people what somebody should look at: seats at fault, and quorums that do not come."""

from __future__ import annotations

import time
from collections.abc import Callable

from market.messages import Topic
from oracle import log
from oracle.duties import prices
from oracle.duties.situation import Situation
from oracle.journal import Event


def tell(event: Event) -> None:
    """Log an event that names a seat which said something wrong."""
    args = event.args
    if event.name == "Equivocated":
        log.error("seat contradicts itself", seat=args["seat"], signer=args["signer"], **_on(event))
    elif event.name == "ProposalRejected":
        log.warning("proposal rejected", proposer=args["proposer"], **_on(event))
    elif event.name == "Dissented":
        log.warning("seat opposed what was accepted", seat=args["seat"], **_on(event))


def _on(event: Event) -> dict[str, object]:
    args = event.args
    topic = Topic(args["topic"]).name.lower()
    return {
        "on": f"{topic} {args['period']} v{args['version']} r{args['round']}",
        "block": event.block,
    }


class ClockWatch:
    """Says when chain and machine tell different times, and when they agree again.

    Chain time is what every deadline counts in; the machine's clock is only held against it. They
    part when the chain stands still, when its time leaps, or when the machine's clock is set wrong.
    """

    def __init__(self, most_skew_s: int, clock: Callable[[], float] = time.time) -> None:
        """Tolerate a difference; 0 for any."""
        self._most_skew_s, self._clock = most_skew_s, clock
        self._parted = False

    def look(self, head_at: int) -> None:
        """Compare the latest block's time with the clock."""
        skew_s = round(self._clock() - head_at)
        parted = 0 < self._most_skew_s < abs(skew_s)
        if parted and not self._parted:
            log.warning("clock skew", chain_behind_s=skew_s)
        elif self._parted and not parted:
            log.info("clocks agree", chain_behind_s=skew_s)
        self._parted = parted


class QuorumWatch:
    """Says when a report is missing although every seat has had its turn, and when it has come."""

    def __init__(self) -> None:
        """Miss nothing yet; `unreported` counts the closed periods without a report."""
        self._missed: set[int] = set()
        self.unreported = 0

    def look(self, s: Situation) -> None:
        """Compare the periods that wait for a report with those told before."""
        self.unreported = 0
        for period in s.periods:
            version, seats = s.view.period(period).version, s.seats(period)
            if version == 0 and s.schedule.close(period) <= s.now < s.schedule.window_end(period):
                self.unreported += 1
            everyone_asked = s.schedule.close(period) + seats * s.schedule.round_length_s
            if version == 0 and everyone_asked <= s.now < s.schedule.window_end(period):
                if period not in self._missed:
                    self._missed.add(period)
                    self._tell(s, period, seats)
            elif version and period in self._missed:
                self._missed.remove(period)
                log.info("quorum came", period=period, report=version)

    def forget(self, before: int) -> None:
        """Drop what was missed before a period."""
        self._missed = {period for period in self._missed if period >= before}

    def _tell(self, s: Situation, period: int, seats: int) -> None:
        ballots = s.view.period(period).ballots.values()
        heard = {seat for ballot in ballots for seat in (ballot.proposer, *ballot.votes)}
        silent = [seat for seat in range(seats) if seat not in heard]
        log.warning(
            "no quorum",
            period=period,
            needed=seats * 2 // 3 + 1,
            silent_seats=",".join(map(str, silent)) or "none",
        )


class PriceWatch:
    """Says when the benchmark stands for want of prices, and when there are prices again."""

    def __init__(self) -> None:
        """Want nothing yet."""
        self._wanting: dict[int, str] = {}

    def look(self, s: Situation) -> None:
        """Compare the periods that should have prices by now with those told before.

        What many periods have in common is told once, with the first of them.
        """
        due = prices.due(s)
        problems = ((period, s.prices.problem(period)) for period in due)
        wanting = {period: problem for period, problem in problems if problem is not None}
        told = set(self._wanting.values())
        for period, problem in wanting.items():
            if problem not in told:
                told.add(problem)
                log.warning("prices fail", period=period, reason=problem)
        mended = {
            problem: period
            for period, problem in reversed(self._wanting.items())
            if period in due and problem not in wanting.values()
        }
        for problem, period in mended.items():
            log.info("prices are back", period=period, reason=problem)
        self._wanting = wanting
