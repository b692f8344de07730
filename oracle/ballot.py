"""A proposal to the committee, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from market.messages import Proposal
from market.packing import decode_positions, decode_readings
from market.prices import PeriodPrices
from market.types import MeterReading, Position


@dataclass(slots=True)
class Ballot:
    """A proposal and how it stands.

    Attributes:
        proposal: What was proposed.
        proposer: Seat that proposed it; for a clearing the period's first in turn.
        at: When, chain time.
        buckets: The packed readings of a report, or positions of a clearing.
        prices: The prices of a price proposal; none if they cannot be used.
        headrooms: The packed headrooms of a proposal of such.
        votes: Support by seat.
        rejected: Whether it cannot win any more.
        accepted_at: When it won.
    """

    proposal: Proposal
    proposer: int
    at: int
    buckets: tuple[bytes, ...] = ()
    prices: tuple[PeriodPrices, ...] = ()
    headrooms: tuple[bytes, ...] = ()
    votes: dict[int, bool] = field(default_factory=dict)
    rejected: bool = False
    accepted_at: int | None = None
    _readings: dict[int, MeterReading] | None = None

    def readings(self) -> Mapping[int, MeterReading]:
        """Return the readings of a report by node."""
        if self._readings is None:
            self._readings = {
                reading.node: reading
                for b, data in enumerate(self.buckets)
                for reading in decode_readings(data, b)
            }
        return self._readings

    def positions(self) -> Mapping[int, Position]:
        """Return the positions of a clearing by node."""
        return {
            position.node: position
            for b, data in enumerate(self.buckets)
            for position in decode_positions(data, b)
        }
