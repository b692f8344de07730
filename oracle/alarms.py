"""Tells people what somebody should look at: seats at fault, and quorums that do not come."""

from __future__ import annotations

from market.messages import Topic
from oracle import log
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


class QuorumWatch:
    """Says when a report is missing although every seat has had its turn, and when it has come."""

    def __init__(self) -> None:
        """Miss nothing yet."""
        self._missed: set[int] = set()

    def look(self, s: Situation) -> None:
        """Compare the periods that wait for a report with those told before."""
        for period in s.periods:
            version, seats = s.view.period(period).version, s.seats(period)
            everyone_asked = s.schedule.close(period) + seats * s.schedule.round_length_s
            if version == 0 and everyone_asked <= s.now < s.schedule.window_end(period):
                if period not in self._missed:
                    self._missed.add(period)
                    self._tell(s, period, seats)
            elif version and period in self._missed:
                self._missed.remove(period)
                log.info("quorum came", period=period, report=version)

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
