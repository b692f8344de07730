"""Inputs of Peng's two-part tariff: what the paper prints, and what it leaves open.

Source: Peng, Duan, Xiao, sections III and V, Tables II-V.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Generic, TypeVar

HOURS_PER_DAY: Final = 24
HOURS_PER_YEAR: Final = 8784
"""Hours of a leap year: no section can be used longer."""

T = TypeVar("T")
U = TypeVar("U")


class TariffError(ValueError):
    """The tariff cannot be computed; the message says why and what to do."""


class TariffInputError(TariffError):
    """One input is unusable.

    Attributes:
        name: The input.
        value: What was given.
    """

    def __init__(self, name: str, value: object, problem: str, suggestion: str) -> None:
        """Name the input, its value, the problem and the way out."""
        self.name = name
        self.value = value
        super().__init__(f"{name} = {value!r} {problem}; {suggestion}")


class Annuity(StrEnum):
    """The two readings of Eq. 1."""

    AS_PRINTED = "as_printed"
    """Multiply the investment by A_0, as the paper prints it."""
    TEXTBOOK = "textbook"
    """Divide the investment by A_0: the present value spread over the years of the annuity."""


class Weather(StrEnum):
    """The three kinds of day of section V."""

    SUNNY = "sunny"
    CLOUDY = "cloudy"
    RAINY = "rainy"


@dataclass(frozen=True, slots=True)
class Sections(Generic[T]):
    """One value for each section of the price: peak (c), flat (p) and valley (s)."""

    compensation: T
    planned: T
    selling: T

    @classmethod
    def of(cls, make: Callable[[str], T]) -> Sections[T]:
        """Build from a function of the section's name."""
        return cls(make("compensation"), make("planned"), make("selling"))

    @classmethod
    def same(cls, value: T) -> Sections[T]:
        """The same value for all three sections."""
        return cls(value, value, value)

    def get(self, section: str) -> T:
        """The value of a section by its name."""
        return dict(self.items())[section]

    def items(self) -> tuple[tuple[str, T], tuple[str, T], tuple[str, T]]:
        """Name and value of each section, peak first."""
        return (
            ("compensation", self.compensation),
            ("planned", self.planned),
            ("selling", self.selling),
        )

    def map(self, convert: Callable[[T], U]) -> Sections[U]:
        """Apply a function to each value."""
        return Sections(convert(self.compensation), convert(self.planned), convert(self.selling))


def require_finite(name: str, value: object) -> float:
    """Return the value as a float.

    Raises:
        TariffInputError: It is not a number, NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TariffInputError(name, value, "is not a number", "give a finite number")
    if not math.isfinite(value):
        raise TariffInputError(
            name, value, "is not finite", "give a finite number, not NaN or infinity"
        )
    return float(value)


def _require_positive(name: str, value: object) -> None:
    if require_finite(name, value) <= 0:
        raise TariffInputError(
            name, value, "is not positive", "give a number above 0 in the unit of the name"
        )


def _require_not_negative(name: str, value: object) -> None:
    if require_finite(name, value) < 0:
        raise TariffInputError(name, value, "is negative", "give 0 or more in the unit of the name")


def _require_fraction(name: str, value: object) -> None:
    if not 0 <= require_finite(name, value) <= 1:
        raise TariffInputError(
            name, value, "is not between 0 and 1", "give a fraction: 4 % is 0.04"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffInputs:
    """What the paper prints: Tables II, III and IV and the hours of use.

    `construction_investments_kyuan` holds I_1..I_n, one entry per construction year. Thousand yuan
    over MW is yuan per kW, so Eq. 1 gives yuan/kW without a conversion. The paper prints "I_j 5000
    RMB" beside "100 MW": taken as a total of 5000 kyuan here, as 5000 yuan/kW after
    `with_investment_per_kw`.

    Raises:
        TariffInputError: A value is not finite or out of its range.
    """

    construction_investments_kyuan: tuple[float, ...]
    installed_capacity_mw: float
    annuity_factor: float
    maintenance_fraction: float
    consumption_fraction: float
    available_fraction: float
    discount_rate_per_year: float
    other_variable_cost_fraction: float
    capacity_share_fraction: float
    utilisation_h_per_year: float
    weighting_factor: Sections[float]

    def __post_init__(self) -> None:
        """Check every value against its range."""
        if not self.construction_investments_kyuan:
            raise TariffInputError(
                "construction_investments_kyuan",
                (),
                "is empty",
                "give one investment per construction year",
            )
        for year, investment in enumerate(self.construction_investments_kyuan, start=1):
            _require_not_negative(f"construction_investments_kyuan[year {year}]", investment)
        _require_positive("installed_capacity_mw", self.installed_capacity_mw)
        _require_positive("annuity_factor", self.annuity_factor)
        _require_not_negative("discount_rate_per_year", self.discount_rate_per_year)
        _require_not_negative("other_variable_cost_fraction", self.other_variable_cost_fraction)
        for name in (
            "maintenance_fraction",
            "consumption_fraction",
            "available_fraction",
            "capacity_share_fraction",
        ):
            _require_fraction(name, getattr(self, name))
        _require_positive("available_fraction", self.available_fraction)
        _check_hours("utilisation_h_per_year", self.utilisation_h_per_year)
        for section, factor in self.weighting_factor.items():
            _require_fraction(f"weighting_factor.{section}", factor)

    def with_investment_per_kw(self) -> TariffInputs:
        """Read each printed I_j as yuan per kW of installed capacity instead of a total."""
        return replace(
            self,
            construction_investments_kyuan=tuple(
                investment * self.installed_capacity_mw
                for investment in self.construction_investments_kyuan
            ),
        )


def _check_hours(name: str, value: object) -> None:
    _require_positive(name, value)
    if require_finite(name, value) > HOURS_PER_YEAR:
        raise TariffInputError(
            name, value, "is longer than a year", f"give at most {HOURS_PER_YEAR} hours"
        )


@dataclass(frozen=True, slots=True)
class WeatherProfile:
    """A day's energy distribution P_0 and its clearness index.

    The paper prints no unit for P_0; milli-yuan per kWh at full clearness is the one Eq. 2-4
    imply. Entry h is the hour from h to h + 1, local time.

    Raises:
        TariffInputError: Not 24 entries, a negative or non-finite entry, or a clearness outside
            0..1.
    """

    distribution_myuan_per_kwh: tuple[float, ...]
    clearness_fraction: float

    def __post_init__(self) -> None:
        """Check length and ranges."""
        count = len(self.distribution_myuan_per_kwh)
        if count != HOURS_PER_DAY:
            raise TariffInputError(
                "distribution_myuan_per_kwh",
                self.distribution_myuan_per_kwh,
                f"has {count} entries instead of {HOURS_PER_DAY}",
                "give one entry per hour from 0 to 23, zeros at night included (the paper's "
                "sunny vector lacks one)",
            )
        for hour, value in enumerate(self.distribution_myuan_per_kwh):
            _require_not_negative(f"distribution_myuan_per_kwh[hour {hour}]", value)
        _require_fraction("clearness_fraction", self.clearness_fraction)


@dataclass(frozen=True, slots=True)
class WeatherMix:
    """Shares of the three kinds of day; they sum to 1.

    Raises:
        TariffInputError: A share is outside 0..1 or the sum is not 1.
    """

    sunny: float
    cloudy: float
    rainy: float

    def __post_init__(self) -> None:
        """Check shares and sum."""
        for weather, share in self.items():
            _require_fraction(f"weather_mix.{weather}", share)
        total = math.fsum((self.sunny, self.cloudy, self.rainy))
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise TariffInputError(
                "weather_mix",
                (self.sunny, self.cloudy, self.rainy),
                f"sums to {total:g}",
                "give three shares that sum to 1",
            )

    @classmethod
    def only(cls, weather: Weather) -> WeatherMix:
        """Every day is of one kind."""
        return cls(*(float(kind is weather) for kind in Weather))

    @classmethod
    def equal(cls) -> WeatherMix:
        """A third of each."""
        return cls(1 / 3, 1 / 3, 1 / 3)

    def items(self) -> tuple[tuple[Weather, float], ...]:
        """Weather and share, sunny first."""
        return (
            (Weather.SUNNY, self.sunny),
            (Weather.CLOUDY, self.cloudy),
            (Weather.RAINY, self.rainy),
        )


ALL_HOURS: Final = tuple(range(HOURS_PER_DAY))
PAIRED_MIX: Final = Sections(*(WeatherMix.only(weather) for weather in Weather))
"""Peak price averaged over sunny days, flat over cloudy, valley over rainy ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeInputs:
    """What Eq. 1-7 need and the paper does not print.

    Attributes:
        incentive_yuan_per_kw: f_s of Eq. 1.
        section_h_per_year: t_c, t_p, t_s of Eq. 5-7.
        energy_index: epsilon_c, epsilon_p, epsilon_s of Eq. 2-4; None takes the clearness index of
            the weather.
        hour_bands: The hours over which each section is averaged for Table V.
        weather_mix: The days over which each section is averaged for Table V.

    Raises:
        TariffInputError: A value is not finite or out of its range.
    """

    section_h_per_year: Sections[float]
    incentive_yuan_per_kw: float = 0.0
    energy_index: Sections[float] | None = None
    hour_bands: Sections[tuple[int, ...]] = field(default_factory=lambda: Sections.same(ALL_HOURS))
    weather_mix: Sections[WeatherMix] = field(
        default_factory=lambda: Sections.same(WeatherMix.equal())
    )

    def __post_init__(self) -> None:
        """Check every value against its range."""
        _require_not_negative("incentive_yuan_per_kw", self.incentive_yuan_per_kw)
        for section, hours in self.section_h_per_year.items():
            _check_hours(f"section_h_per_year.{section}", hours)
        if self.energy_index is not None:
            for section, index in self.energy_index.items():
                _require_fraction(f"energy_index.{section}", index)
        for section, band in self.hour_bands.items():
            if not band or len(set(band)) != len(band) or not set(band) <= set(ALL_HOURS):
                raise TariffInputError(
                    f"hour_bands.{section}",
                    band,
                    "is not a set of hours",
                    "give distinct hours from 0 to 23, at least one",
                )
