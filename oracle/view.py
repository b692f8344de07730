"""The market as its followed events tell it; also the `Past` a keeper needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from market.history import Job, PeriodState, to_prices
from market.messages import Proposal, Topic
from market.packing import decode_positions
from market.prices import Benchmark, PriceError
from market.types import MeterReading, Quality
from oracle.ballot import Ballot
from oracle.journal import Event
from oracle.pricing import price_digest
from oracle.votes import Votes

Args = Mapping[str, Any]
"""An event's values by name."""


MOST_PERIODS = 96
"""Periods one proposal covers at most."""


class MissingEvent(Exception):
    """An event builds on an earlier one that was never seen.

    Attributes:
        block: The later event's block.
    """

    def __init__(self, event: Event) -> None:
        """Name the later event."""
        self.block = event.block
        super().__init__(f"{event.name} in block {event.block} tells of something never proposed")


@dataclass(slots=True)
class PeriodView:
    """What is known of one period."""

    positions: list[bytes] = field(default_factory=list)
    buckets: int | None = None
    void: bool = False
    ballots: dict[tuple[int, int], Ballot] = field(default_factory=dict)
    reports: dict[int, Ballot] = field(default_factory=dict)
    job: Job | None = None
    job_at: int = 0
    settled_version: int | None = None
    final: bool = False

    @property
    def version(self) -> int:
        """Latest accepted report version, 0 for none."""
        return max(self.reports, default=0)

    def flagged(self) -> bool:
        """Whether the settlement so far met meters that were silent or without any value."""
        if self.settled_version is None:
            return False
        report = self.reports.get(self.settled_version)
        readings: Mapping[int, MeterReading] = report.readings() if report else {}
        nodes = {p.node for b, data in enumerate(self.positions) for p in decode_positions(data, b)}
        return any(r.quality is Quality.SUBSTITUTED for r in readings.values()) or bool(
            nodes - readings.keys()
        )


class View:
    """Everything the followed events tell."""

    def __init__(self, floor: int = 0) -> None:
        """Know nothing.

        Args:
            floor: First period of which anything is to be known.
        """
        self.floor = floor
        self.meters: dict[int, bytes] = {}
        self.node_of: dict[bytes, int] = {}
        self.buses: dict[int, int] = {}
        self.votes = Votes()
        self.periods: dict[int, PeriodView] = {}
        self.price_ballots: dict[tuple[int, int], Ballot] = {}
        self.fixed: set[int] = set()
        self.equivocated: set[tuple[int, int, int, int, int]] = set()
        self._seats: dict[int, dict[int, str]] = {}
        self._benchmarks: list[tuple[int, Benchmark]] = []

    def apply(self, events: Iterable[Event]) -> None:
        """Take in further events, in their order.

        Raises:
            MissingEvent: If one before them is missing; the view is of no use then.
        """
        for event in events:
            of = self.floor if event.period is None else event.period
            if event.name in _HANDLERS and of > self.floor - MOST_PERIODS:
                try:
                    _HANDLERS[event.name](self, event.at, event.args)
                except KeyError as exc:
                    if of >= self.floor:
                        raise MissingEvent(event) from exc

    def forget(self, before: int) -> None:
        """Drop the periods before one, in which nothing can happen any more."""
        self.floor = max(self.floor, before)
        self.periods = {p: known for p, known in self.periods.items() if p >= self.floor}
        self.fixed = {period for period in self.fixed if period >= self.floor}
        self.equivocated = {where for where in self.equivocated if where[1] >= self.floor}
        self.votes.forget(self.floor)
        self.price_ballots = {
            (first, round_): ballot
            for (first, round_), ballot in self.price_ballots.items()
            if first + len(ballot.prices) > self.floor
        }

    # -- questions

    def period(self, period: int) -> PeriodView:
        """Return what is known of a period."""
        return self.periods.setdefault(period, PeriodView())

    def seats(self, period: int) -> list[str]:
        """Return the signers of a period's committee by seat, addresses in lower case."""
        return [
            terms[max(start for start in terms if start <= period)]
            for _, terms in sorted(self._seats.items())
        ]

    def signers(self, seat: int) -> list[str]:
        """Return everybody who ever holds a seat, in order of time, addresses in lower case."""
        return [signer for _, signer in sorted(self._seats.get(seat, {}).items())]

    @property
    def committee_size(self) -> int:
        """Number of seats, 0 before they are known."""
        return len(self._seats)

    def benchmark(self, period: int) -> Benchmark:
        """Return the grid company's prices of a period."""
        return [prices for start, prices in self._benchmarks if start <= period][-1]

    def ballot(self, proposal: Proposal) -> Ballot | None:
        """Return the ballot of a proposal's round if it is on this proposal."""
        p = proposal
        if p.topic is Topic.PRICES:
            found = self.price_ballots.get((p.period, p.round))
        elif p.topic is Topic.REPORT:
            found = self.period(p.period).ballots.get((p.version, p.round))
        elif p.topic is Topic.HEADROOM:
            found = self.votes.headroom_ballots.get((p.period, p.round))
        else:
            found = self.votes.clearings.get(p.period)
        return found if found and found.proposal == proposal else None

    # -- the keeper's `Past`

    def state(self, period: int) -> PeriodState:
        """Return where a period stands."""
        p = self.period(period)
        stage = int(period in self.votes.clearings) if p.buckets is None else 3 if p.void else 2
        if p.settled_version is not None:
            stage = 5 if p.final else 4
        return PeriodState(stage, p.buckets or 0, p.settled_version or 0, p.flagged())

    def latest_version(self, period: int) -> int:
        """Return the latest accepted report version of a period, 0 for none."""
        return self.period(period).version

    def position_buckets(self, period: int) -> list[bytes]:
        """Return the packed positions of a cleared period, one entry per bucket."""
        return list(self.period(period).positions)

    def report_buckets(self, period: int, version: int) -> list[bytes]:
        """Return the packed readings of an accepted report version; none for version 0."""
        return [] if version == 0 else list(self.period(period).reports[version].buckets)

    def job(self, period: int) -> Job | None:
        """Return the settlement under way, None if there is none."""
        return self.period(period).job

    # -- events, with the values the contracts name

    def _admitted(self, _at: int, args: Args) -> None:
        self.meters[args["node"]] = args["meter"]
        self.node_of[args["meter"]] = args["node"]
        self.buses[args["node"]] = args["bus"]

    def _seat_rotated(self, _at: int, args: Args) -> None:
        terms = self._seats.setdefault(args["seat"], {})
        terms[args["fromPeriod"]] = args["signer"].lower()

    def _benchmark_set(self, _at: int, args: Args) -> None:
        self._benchmarks.append((args["fromPeriod"], Benchmark(*args["prices"][:6])))

    def _prices_proposed(self, at: int, args: Args) -> None:
        first, round_ = args["fromPeriod"], args["round"]
        proposal = Proposal(Topic.PRICES, first, 0, round_, args["digest"])
        try:
            prices = tuple(to_prices(p) for p in args["prices"])
        except PriceError:
            prices = ()
        if price_digest(prices) != proposal.digest:
            prices = ()  # something in them is not a price's; nobody honest supports that
        self.price_ballots[first, round_] = Ballot(proposal, args["proposer"], at, prices=prices)

    def _prices_fixed(self, _at: int, args: Args) -> None:
        self.fixed.add(args["period"])

    def _report_proposed(self, at: int, args: Args) -> None:
        period, version, round_ = args["period"], args["version"], args["round"]
        proposal = Proposal(Topic.REPORT, period, version, round_, args["root"])
        ballot = Ballot(proposal, args["proposer"], at, buckets=args["buckets"])
        self.period(period).ballots[version, round_] = ballot

    def _voted(self, _at: int, args: Args) -> None:
        ballot = self._ballot_of(args)
        if ballot is not None:
            ballot.votes[args["seat"]] = args["support"]

    def _accepted(self, at: int, args: Args) -> None:
        ballot = self._ballot_of(args)
        if ballot is not None:
            ballot.accepted_at = at
        if ballot is not None and args["topic"] == Topic.REPORT:
            self.period(args["period"]).reports[args["version"]] = ballot

    def _proposal_rejected(self, _at: int, args: Args) -> None:
        ballot = self._ballot_of(args)
        if ballot is not None:
            ballot.rejected = True

    def _equivocated(self, _at: int, args: Args) -> None:
        topic, period, version = args["topic"], args["period"], args["version"]
        self.equivocated.add((topic, period, version, args["round"], args["seat"]))

    def _positions_fixed(self, at: int, args: Args) -> None:
        self.votes.positions_fixed(at, args)

    def _checked(self, at: int, args: Args) -> None:
        self.votes.checked(at, args)
        self._take_positions(args)

    def _cleared(self, _at: int, args: Args) -> None:
        p = self.period(args["period"])
        p.buckets, p.void = args["buckets"], args["void"]
        self._take_positions(args)

    def _take_positions(self, args: Args) -> None:
        """Keep those positions, of all that checks told, that lead to a root."""
        found = self.votes.buckets(args["period"], args["root"], args["buckets"])
        self.period(args["period"]).positions = list(found)

    def _continued(self, at: int, args: Args) -> None:
        p = self.period(args["period"])
        p.job, p.job_at = args["job"], at

    def _period_settled(self, _at: int, args: Args) -> None:
        p = self.period(args["period"])
        p.job, p.settled_version, p.final = None, args["version"], args["finalMode"]

    def _ballot_of(self, args: Args) -> Ballot | None:
        """Return the ballot an event is about; None if that clearing is over."""
        topic, period, version, round_ = (
            args[name] for name in ("topic", "period", "version", "round")
        )
        if topic == Topic.PRICES:
            return self.price_ballots[period, round_]
        if topic == Topic.REPORT:
            return self.period(period).ballots[version, round_]
        return self.votes.ballot_of(topic, period, version, round_)


_HANDLERS: Mapping[str, Callable[[View, int, Args], None]] = {
    "Admitted": View._admitted,
    "SeatRotated": View._seat_rotated,
    "BenchmarkSet": View._benchmark_set,
    "PricesProposed": View._prices_proposed,
    "PricesFixed": View._prices_fixed,
    "ReportProposed": View._report_proposed,
    "Voted": View._voted,
    "Accepted": View._accepted,
    "ProposalRejected": View._proposal_rejected,
    "HeadroomProposed": lambda view, at, args: view.votes.headroom_proposed(at, args),
    "HeadroomFixed": lambda view, at, args: view.votes.headroom_fixed(at, args),
    "Equivocated": View._equivocated,
    "PositionsFixed": View._positions_fixed,
    "Checked": View._checked,
    "Reopened": lambda view, at, args: view.votes.reopened(at, args),
    "Objected": lambda view, at, args: view.votes.objected(at, args),
    "Derated": lambda view, at, args: view.votes.derated(at, args),
    "Cleared": View._cleared,
    "Continued": View._continued,
    "PeriodSettled": View._period_settled,
}
"""What to do with an event."""

FOLLOWED = (*_HANDLERS, "Dissented")
"""The events to follow; the last one changes nothing but is told to people, see `oracle.alarms`."""
