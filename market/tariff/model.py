"""Peng Eq. 1-7: from the cost of a plant and the day's weather to three prices per hour.

Floats in yuan; `market.tariff.schedule` turns them into the chain's integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from market.tariff.inputs import (
    ALL_HOURS,
    Annuity,
    FreeInputs,
    Sections,
    TariffInputError,
    TariffInputs,
    Weather,
    WeatherMix,
    WeatherProfile,
)


def conventional_capacity_price(inputs: TariffInputs, annuity: Annuity) -> float:
    """Eq. 1 without the incentive f_s.

    Args:
        inputs: Printed inputs.
        annuity: Multiply by A_0 as printed, or divide by it as textbooks do.

    Returns:
        yuan per kW; per kW and year in the textbook reading.
    """
    years = len(inputs.construction_investments_kyuan)
    # The last construction year is the date the sum is carried to, so its exponent is 0.
    investment_kyuan = math.fsum(
        amount * (1 + inputs.discount_rate_per_year) ** (years - year)
        for year, amount in enumerate(inputs.construction_investments_kyuan, start=1)
    )
    factor = inputs.annuity_factor if annuity is Annuity.AS_PRINTED else 1 / inputs.annuity_factor
    useful_mw = (
        inputs.installed_capacity_mw * (1 + inputs.consumption_fraction) * inputs.available_fraction
    )
    return investment_kyuan * factor * (1 + inputs.maintenance_fraction) / useful_mw


def capacity_price(inputs: TariffInputs, annuity: Annuity, incentive_yuan_per_kw: float) -> float:
    """Eq. 1: the capacity price F_C in yuan per kW (see `conventional_capacity_price`)."""
    return conventional_capacity_price(inputs, annuity) + incentive_yuan_per_kw


def energy_price(
    distribution_myuan_per_kwh: float, energy_index: float, other_variable_cost_fraction: float
) -> float:
    """Eq. 2-4: C = P_0 * epsilon * (1 + eta) / 1000, in yuan/kWh."""
    return distribution_myuan_per_kwh * energy_index * (1 + other_variable_cost_fraction) / 1000


def mixed_energy_price(
    weather: Mapping[Weather, WeatherProfile],
    mix: WeatherMix,
    hour: int,
    energy_index: float | None,
    other_variable_cost_fraction: float,
) -> float:
    """Eq. 2-4 for one hour of a mix of days, in yuan/kWh; index None takes each day's clearness."""
    return math.fsum(
        share
        * energy_price(
            weather[kind].distribution_myuan_per_kwh[hour],
            weather[kind].clearness_fraction if energy_index is None else energy_index,
            other_variable_cost_fraction,
        )
        for kind, share in mix.items()
    )


def capacity_share(capacity_share_fraction: float, weighting_factor: float) -> float:
    """The factor alpha + (1 - alpha) * K that Eq. 5-7 apply to F_C / t."""
    return capacity_share_fraction + (1 - capacity_share_fraction) * weighting_factor


def section_price(
    capacity_price_yuan_per_kw: float,
    section_h_per_year: float,
    capacity_share_fraction: float,
    weighting_factor: float,
    energy_price_yuan_per_kwh: float,
) -> float:
    """Eq. 5-7: the price of one section in yuan/kWh.

    Raises:
        TariffInputError: The hours are not positive.
    """
    if not section_h_per_year > 0:
        raise TariffInputError(
            "section_h_per_year",
            section_h_per_year,
            "is not positive",
            "give the section's hours of use per year",
        )
    fixed_yuan_per_kwh = capacity_price_yuan_per_kw / section_h_per_year
    return (
        fixed_yuan_per_kwh * capacity_share(capacity_share_fraction, weighting_factor)
        + energy_price_yuan_per_kwh
    )


@dataclass(frozen=True)
class Tariff:
    """Eq. 1-7 with every input chosen.

    Attributes:
        inputs: What the paper prints.
        free: What it leaves open.
        weather: P_0 and clearness of each kind of day.
        annuity: The reading of Eq. 1.
    """

    inputs: TariffInputs
    free: FreeInputs
    weather: Mapping[Weather, WeatherProfile]
    annuity: Annuity

    @property
    def capacity_price_yuan_per_kw(self) -> float:
        """F_C of Eq. 1, incentive included."""
        return capacity_price(self.inputs, self.annuity, self.free.incentive_yuan_per_kw)

    def prices_at(self, hour: int, mix: WeatherMix) -> Sections[float]:
        """Eq. 5-7 for one hour of a day, in yuan/kWh.

        Args:
            hour: Local hour, 0 to 23.
            mix: The day's weather; shares weigh the energy price.

        Raises:
            TariffInputError: The hour is not one of a day.
        """
        if hour not in ALL_HOURS:
            raise TariffInputError("hour", hour, "is not an hour of a day", "give 0 to 23")
        return Sections.of(lambda section: self._price(section, hour, mix))

    def curve(self, mix: WeatherMix) -> tuple[Sections[float], ...]:
        """Fig. 3: the three prices of each of the 24 hours, in yuan/kWh."""
        return tuple(self.prices_at(hour, mix) for hour in ALL_HOURS)

    def averages(self) -> Sections[float]:
        """Table V: each section averaged over its own hours and weather mix, in yuan/kWh."""

        def average(section: str) -> float:
            band = self.free.hour_bands.get(section)
            mix = self.free.weather_mix.get(section)
            return math.fsum(self._price(section, hour, mix) for hour in band) / len(band)

        return Sections.of(average)

    def _price(self, section: str, hour: int, mix: WeatherMix) -> float:
        index = None if self.free.energy_index is None else self.free.energy_index.get(section)
        energy_yuan_per_kwh = mixed_energy_price(
            self.weather, mix, hour, index, self.inputs.other_variable_cost_fraction
        )
        return section_price(
            self.capacity_price_yuan_per_kw,
            self.free.section_h_per_year.get(section),
            self.inputs.capacity_share_fraction,
            self.inputs.weighting_factor.get(section),
            energy_yuan_per_kwh,
        )
