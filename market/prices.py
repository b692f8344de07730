"""The integer prices of a period, their order, and the clamp into that order.

Every price is an integer in micro-yuan per kWh and fits a ``uint32``. The order is

    0 <= feed_in <= selling <= planned <= compensation <= retail <= price_cap,   fee <= fee_cap

Nothing here uses floats except `to_uyuan_per_kwh`, the one door through which a model's price
enters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntFlag
from itertools import pairwise
from typing import Final

UINT32_MAX: Final = 2**32 - 1
UYUAN_PER_YUAN: Final = 1_000_000

ORDERED_FIELDS: Final = (
    "feed_in_uyuan_per_kwh",
    "selling_uyuan_per_kwh",
    "planned_uyuan_per_kwh",
    "compensation_uyuan_per_kwh",
    "retail_uyuan_per_kwh",
)
"""The fields that must not decrease, lowest first."""


class PriceError(ValueError):
    """A price cannot be used; the message says which and what to do."""


class PriceValueError(PriceError):
    """A price is not a whole number of micro-yuan per kWh within ``uint32``.

    Attributes:
        name: The field.
        value: What was given.
    """

    def __init__(self, name: str, value: object, problem: str) -> None:
        """Name the field, its value and the problem."""
        self.name = name
        self.value = value
        super().__init__(
            f"{name} = {value!r} {problem}; give a whole number of micro-yuan per kWh "
            f"from 0 to {UINT32_MAX} (0.4379 yuan/kWh is 437900)"
        )


class PriceOrderError(PriceError):
    """Two prices are out of order.

    Attributes:
        lower_name: The field that must not be above the other.
        lower_value: Its value.
        upper_name: The field that must not be below the other.
        upper_value: Its value.
    """

    def __init__(
        self, lower_name: str, lower_value: int, upper_name: str, upper_value: int
    ) -> None:
        """Name both fields with their values and suggest the repair."""
        self.lower_name = lower_name
        self.lower_value = lower_value
        self.upper_name = upper_name
        self.upper_value = upper_value
        super().__init__(
            f"{lower_name} = {lower_value} is above {upper_name} = {upper_value}; "
            f"lower {lower_name} to at most {upper_value} or raise {upper_name} to at least "
            f"{lower_value}"
        )


class ClampFlags(IntFlag):
    """Which trading prices the clamp changed."""

    NONE = 0
    SELLING = 1
    PLANNED = 2
    COMPENSATION = 4


ALL_CLAMP_FLAGS: Final = ClampFlags.SELLING | ClampFlags.PLANNED | ClampFlags.COMPENSATION


def _check_uint32(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PriceValueError(name, value, "is not an integer")
    if value < 0:
        raise PriceValueError(name, value, "is negative")
    if value > UINT32_MAX:
        raise PriceValueError(name, value, "does not fit 32 bits")


def _check_all_uint32(prices: TradingPrices | Benchmark | Limits) -> None:
    for field in fields(prices):
        _check_uint32(field.name, getattr(prices, field.name))


def _check_not_above(lower_name: str, lower_value: int, upper_name: str, upper_value: int) -> None:
    if lower_value > upper_value:
        raise PriceOrderError(lower_name, lower_value, upper_name, upper_value)


@dataclass(frozen=True, slots=True)
class TradingPrices:
    """The three prices a tariff or a proposal asks for, in any order, before the clamp.

    Raises:
        PriceValueError: A field is not an integer within ``uint32``.
    """

    selling_uyuan_per_kwh: int
    planned_uyuan_per_kwh: int
    compensation_uyuan_per_kwh: int

    def __post_init__(self) -> None:
        """Check the range of every field."""
        _check_all_uint32(self)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The six prices the grid company publishes ahead; they stand whole when no quorum forms.

    Raises:
        PriceValueError: A field is not an integer within ``uint32``.
        PriceOrderError: Two neighbouring prices are out of order.
    """

    feed_in_uyuan_per_kwh: int
    selling_uyuan_per_kwh: int
    planned_uyuan_per_kwh: int
    compensation_uyuan_per_kwh: int
    retail_uyuan_per_kwh: int
    fee_uyuan_per_kwh: int

    def __post_init__(self) -> None:
        """Check range and order."""
        _check_all_uint32(self)
        for lower, upper in pairwise(ORDERED_FIELDS):
            _check_not_above(lower, getattr(self, lower), upper, getattr(self, upper))


@dataclass(frozen=True, slots=True)
class PeriodPrices(Benchmark):
    """The prices of one period as fixed on chain, with what the clamp changed.

    `clamp_flags` is the integer value of a `ClampFlags`: bit 0 selling, bit 1 planned, bit 2
    compensation.

    Raises:
        PriceValueError: A price is not an integer within ``uint32``.
        PriceOrderError: Two neighbouring prices are out of order.
        PriceError: The flags have unknown bits.
    """

    clamp_flags: int = 0

    def __post_init__(self) -> None:
        """Check range, order and flags."""
        if not isinstance(self.clamp_flags, int) or self.clamp_flags & ~int(ALL_CLAMP_FLAGS):
            raise PriceError(
                f"clamp_flags = {self.clamp_flags!r} is not a sum of clamp bits; "
                "add up 1 (selling), 2 (planned) and 4 (compensation)"
            )
        # A slotted dataclass replaces its class, which breaks the zero-argument super().
        Benchmark.__post_init__(self)

    @classmethod
    def from_benchmark(cls, benchmark: Benchmark) -> PeriodPrices:
        """The prices of a period for which no quorum formed: the benchmark, nothing clamped."""
        return cls(*(getattr(benchmark, field.name) for field in fields(Benchmark)))


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds fixed at deployment.

    `trade_floor` and `trade_ceiling` are F_min and F_max (You, section III-A), the band of prices
    two members may agree on; by default the price cap alone bounds it.

    Raises:
        PriceValueError: A bound is not an integer within ``uint32``.
    """

    price_cap_uyuan_per_kwh: int
    fee_cap_uyuan_per_kwh: int
    trade_floor_uyuan_per_kwh: int = 0
    trade_ceiling_uyuan_per_kwh: int = UINT32_MAX

    def __post_init__(self) -> None:
        """Check the range of all bounds."""
        _check_all_uint32(self)

    def check(self, prices: Benchmark) -> None:
        """Check a benchmark or a period's prices against the caps.

        Raises:
            PriceOrderError: Retail is above the price cap, or the fee above the fee cap.
        """
        _check_not_above(
            "retail_uyuan_per_kwh",
            prices.retail_uyuan_per_kwh,
            "price_cap_uyuan_per_kwh",
            self.price_cap_uyuan_per_kwh,
        )
        _check_not_above(
            "fee_uyuan_per_kwh",
            prices.fee_uyuan_per_kwh,
            "fee_cap_uyuan_per_kwh",
            self.fee_cap_uyuan_per_kwh,
        )


def to_uyuan_per_kwh(price_yuan_per_kwh: float) -> int:
    """Round a model's price to the chain's unit: ``round(yuan * 1e6)``, ties to the even integer.

    Raises:
        PriceValueError: The price is NaN, infinite, negative, or does not fit 32 bits.
    """
    if not math.isfinite(price_yuan_per_kwh):
        raise PriceValueError("price_yuan_per_kwh", price_yuan_per_kwh, "is not a finite number")
    price_uyuan_per_kwh = round(price_yuan_per_kwh * UYUAN_PER_YUAN)
    _check_uint32("price_uyuan_per_kwh", price_uyuan_per_kwh)
    return price_uyuan_per_kwh


def clamp(prices: TradingPrices, benchmark: Benchmark) -> tuple[PeriodPrices, ClampFlags]:
    """Clamp three trading prices into the benchmark's band and into their own order.

    Integer only, in this order: ``P_p`` into ``[feed_in, retail]``, ``P_s`` into ``[feed_in,
    P_p]``, ``P_c`` into ``[P_p, retail]``. Feed-in, retail and fee are the benchmark's. Clamping a
    result again changes nothing.

    Args:
        prices: What the tariff asks for, uyuan/kWh.
        benchmark: The grid company's prices of the period, uyuan/kWh.

    Returns:
        The period's prices and the flags of the prices that were changed; the prices carry the
        same flags.
    """
    feed_in = benchmark.feed_in_uyuan_per_kwh
    retail = benchmark.retail_uyuan_per_kwh
    planned = _clip(prices.planned_uyuan_per_kwh, feed_in, retail)
    selling = _clip(prices.selling_uyuan_per_kwh, feed_in, planned)
    compensation = _clip(prices.compensation_uyuan_per_kwh, planned, retail)
    flags = ClampFlags.NONE
    if selling != prices.selling_uyuan_per_kwh:
        flags |= ClampFlags.SELLING
    if planned != prices.planned_uyuan_per_kwh:
        flags |= ClampFlags.PLANNED
    if compensation != prices.compensation_uyuan_per_kwh:
        flags |= ClampFlags.COMPENSATION
    clamped = PeriodPrices(
        feed_in_uyuan_per_kwh=feed_in,
        selling_uyuan_per_kwh=selling,
        planned_uyuan_per_kwh=planned,
        compensation_uyuan_per_kwh=compensation,
        retail_uyuan_per_kwh=retail,
        fee_uyuan_per_kwh=benchmark.fee_uyuan_per_kwh,
        clamp_flags=int(flags),
    )
    return clamped, flags


def _clip(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)
