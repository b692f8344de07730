"""The one interface of price sources, and the checks that prices from outside must pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Protocol

from market.prices import TradingPrices
from oracle.prices.formats import PRICES
from oracle.prices.settings import PriceChecks


class PriceSource:
    """Where a node's prices come from; this one knows none: the benchmark is right."""

    def look(self) -> None:
        """Take in what is new; never waits for anybody."""

    def trading(self, _period: int, /) -> TradingPrices | None:
        """Return the three prices asked for in a period, None if the benchmark is to stand."""
        return None

    def problem(self, _period: int, /) -> str | None:
        """Return why the benchmark stands in a period for want of prices, None if it does not."""
        return None

    def renewed(self, _proposal: bytes, /) -> bool:
        """Return whether the source has been asked anew since it was first asked about a proposal.

        Only then a node holds its prices against those of others, who may know newer ones.
        """
        return True

    @property
    def age_s(self) -> float:
        """How long ago the prices were published; NaN if that means nothing."""
        return math.nan


@dataclass(frozen=True, slots=True)
class Known:
    """The prices in force.

    Attributes:
        prices: The three prices of each period that has them.
        published_s: When they were published, Unix seconds.
    """

    prices: Mapping[int, TradingPrices]
    published_s: int


class Origin(Protocol):
    """Gets prices from outside, and keeps the last good ones."""

    known: Known | None

    def look(self) -> None:
        """Take in what is new; never waits for anybody."""
        ...

    def renewed(self, proposal: bytes, /) -> bool:
        """Return whether it has been asked anew since it was first asked about a proposal."""
        ...


class CheckedPrices(PriceSource):
    """Prices from outside that pass every check; where they do not, the benchmark stands."""

    def __init__(self, origin: Origin, checks: PriceChecks, now: Callable[[], int]) -> None:
        """Check what an origin knows.

        Args:
            origin: Gets the prices.
            checks: What they must pass.
            now: Tells chain time, Unix seconds.
        """
        self._origin, self._checks, self._now = origin, checks, now

    def look(self) -> None:
        """Have the origin take in what is new."""
        self._origin.look()

    def trading(self, period: int, /) -> TradingPrices | None:
        """Return the prices of a period that pass, None if there are none."""
        known = self._origin.known
        return None if known is None or self.problem(period) else known.prices[period]

    def problem(self, period: int, /) -> str | None:
        """Return what a period's prices fail, None if they pass."""
        known, stale_after_s = self._origin.known, self._checks.stale_after_s
        if known is None:
            return "there are none yet"
        if stale_after_s is not None and self.age_s > stale_after_s:
            at = datetime.fromtimestamp(known.published_s, UTC)
            return f"those known are of {at:%Y-%m-%dT%H:%MZ}, stale_after_s = {stale_after_s}"
        prices = known.prices.get(period)
        if prices is None:
            return "there are none for it"
        return self._fault(prices, known.prices.get(period - 1))

    def renewed(self, proposal: bytes, /) -> bool:
        """Have the origin ask anew, and return whether it has."""
        return self._origin.renewed(proposal)

    @property
    def age_s(self) -> float:
        """How long ago the prices were published; NaN if there are none."""
        known = self._origin.known
        return math.nan if known is None else self._now() - known.published_s

    def _fault(self, prices: TradingPrices, before: TradingPrices | None) -> str | None:
        """Return what is wrong with prices, beside those of the period before."""
        c, ceiling = self._checks, self._checks.ceiling_uyuan_per_kwh
        values = {name: getattr(prices, name) for name in PRICES}
        for name, value in values.items():
            if value < c.floor_uyuan_per_kwh:
                return f"{name} = {value} is below floor_uyuan_per_kwh = {c.floor_uyuan_per_kwh}"
            if ceiling is not None and value > ceiling:
                return f"{name} = {value} is above ceiling_uyuan_per_kwh = {ceiling}"
            most, earlier = c.most_change_percent, getattr(before, name, value)
            if most is not None and abs(value - earlier) * 100 > most * earlier:
                return f"{name} = {value} after {earlier}, most_change_percent = {most}"
        for (lower, low), (upper, high) in pairwise(values.items()):
            if low > high:
                return f"{lower} = {low} is above {upper} = {high}"
        return None
