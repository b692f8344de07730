"""What a duty decides on, and what it can decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from market.lines import Derate
from market.messages import Proposal
from market.prices import PeriodPrices
from market.schedule import Schedule
from oracle.prices.source import PriceSource
from oracle.queries import Query, QueryBook
from oracle.readings import OwnReadings
from oracle.tolerance import EXACT, Tolerance
from oracle.view import View
from oracle.wires import Wires
from oracle.witness import Contradiction


@dataclass(frozen=True, slots=True)
class Clear:
    """Fix the positions of a period."""

    period: int

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"clear {self.period}"


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle a period, or carry on with its settlement."""

    period: int

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"settle {self.period}"


@dataclass(frozen=True, slots=True)
class ProposeReport:
    """Propose the readings of a period."""

    period: int
    version: int
    round: int
    buckets: tuple[bytes, ...]

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"propose report {self.period} v{self.version} r{self.round}"


@dataclass(frozen=True, slots=True)
class ProposePrices:
    """Propose the prices of consecutive periods."""

    first: int
    round: int
    prices: tuple[PeriodPrices, ...]

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"propose prices {self.first}+{len(self.prices)} r{self.round}"


@dataclass(frozen=True, slots=True)
class FixPrices:
    """Write accepted prices down."""

    first: int
    round: int
    prices: tuple[PeriodPrices, ...]

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"fix prices {self.first}+{len(self.prices)} r{self.round}"


@dataclass(frozen=True, slots=True)
class ProposeHeadroom:
    """Propose the headroom of consecutive periods."""

    first: int
    round: int
    headrooms: tuple[bytes, ...]

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"propose headroom {self.first}+{len(self.headrooms)} r{self.round}"


@dataclass(frozen=True, slots=True)
class FixHeadroom:
    """Write accepted headrooms down."""

    first: int
    round: int
    headrooms: tuple[bytes, ...]

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"fix headroom {self.first}+{len(self.headrooms)} r{self.round}"


@dataclass(frozen=True, slots=True)
class Vote:
    """Vote on a proposal."""

    proposal: Proposal
    support: bool
    reason: str

    @property
    def purpose(self) -> str:
        """What it is for."""
        return _word_on(self.proposal)


@dataclass(frozen=True, slots=True)
class Object:
    """Oppose a clearing, and say what would mend it.

    Attributes:
        proposal: The clearing.
        derate: The line and its limit.
        reason: Why.
    """

    proposal: Proposal
    derate: Derate
    reason: str

    @property
    def purpose(self) -> str:
        """What it is for: the seat's one word, whatever it is."""
        return _word_on(self.proposal)


def _word_on(p: Proposal) -> str:
    return f"vote {p.topic.name.lower()} {p.period} v{p.version} r{p.round}"


@dataclass(frozen=True, slots=True)
class FileEvidence:
    """Show the chain that a seat has signed two different votes in one round."""

    contradiction: Contradiction

    @property
    def purpose(self) -> str:
        """What it is for."""
        word = self.contradiction.first
        p = word.proposal
        what = f"{p.topic.name.lower()} {p.period} v{p.version} r{p.round}"
        return f"file evidence of seat {word.seat} on {what}"


@dataclass(frozen=True, slots=True)
class Deliver:
    """Answer a query.

    Attributes:
        query: The query.
        gas: Gas limit.
        buckets: The packed readings of the report that holds the answer; none for a price.
        bucket: Which of them has the meter.
    """

    query: Query
    gas: int
    buckets: tuple[bytes, ...] = ()
    bucket: int = 0

    @property
    def purpose(self) -> str:
        """What it is for."""
        return f"deliver 0x{self.query.id.hex()}"


@dataclass(frozen=True, slots=True)
class CollectFees:
    """Have what answers have earned paid out."""

    @property
    def purpose(self) -> str:
        """What it is for."""
        return "collect fees"


Action = (
    FileEvidence
    | Deliver
    | CollectFees
    | Clear
    | Settle
    | ProposeReport
    | ProposePrices
    | FixPrices
    | ProposeHeadroom
    | FixHeadroom
    | Vote
    | Object
)


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a node answers queries.

    Attributes:
        deliver: Whether it answers any.
        least_fee_percent: Least fee, in percent of what a delivery costs at most.
        gas_price_wei: What a unit of gas costs just now.
        gas_limit: Most gas of a transaction.
        earned_wei: What the node could have paid out.
    """

    deliver: bool
    least_fee_percent: int
    gas_price_wei: int
    gas_limit: int
    earned_wei: int


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a duty may know.

    Attributes:
        now: The latest block's time, the only clock.
        block: Its number.
        seat: This node's seat.
        signer: Its address, lower case.
        schedule: The instants of a period's life.
        view: What the chain told.
        readings: What the meters told.
        prices: Where this node's prices come from.
        wires: What it knows of the wires; None in a market without any.
        first_period: The first period the market settles.
        patience_s: How long after a close to wait for silent meters.
        periods: Periods whose gate has closed and that may still need something, ascending.
        queries: The open queries of contracts.
        terms: On what terms to answer them.
        contradictions: What convicts seats, in those periods.
        tolerance: How far reports may be from what this node has read.
    """

    now: int
    block: int
    seat: int
    signer: str
    schedule: Schedule
    view: View
    readings: OwnReadings
    prices: PriceSource
    wires: Wires | None
    first_period: int
    patience_s: int
    periods: range
    queries: QueryBook
    terms: Terms
    contradictions: Sequence[Contradiction] = ()
    tolerance: Tolerance = EXACT

    def seats(self, period: int) -> int:
        """Return the size of a period's committee."""
        return len(self.view.seats(period))

    def is_mine(self, period: int) -> bool:
        """Return whether this node holds its seat in a period's committee."""
        seats = self.view.seats(period)
        return self.seat < len(seats) and seats[self.seat] == self.signer

    def is_my_turn(self, period: int, first_seat: int, since: int) -> bool:
        """Return whether it is on this node to do what anybody may do.

        The first seat acts at once, the others one after another, so that a dead node holds
        nothing up and live ones do not do work twice. What nobody did in a whole round is every
        seat's turn in one of as many blocks.

        Args:
            period: The period it is about.
            first_seat: Whose turn it is first, modulo the committee's size.
            since: When it became due.
        """
        seats = self.seats(period)
        rank = (self.seat - first_seat) % seats
        slot = (self.now - since) // max(1, self.schedule.round_length_s // seats)
        if slot < seats:
            return slot >= rank
        return self.block % seats == rank


Duty = Callable[[Situation], Iterator[Action]]
"""Names what is due."""
