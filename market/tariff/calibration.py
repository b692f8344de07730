"""Table V by calibration: solve open inputs so that the averages are the given ones.

Eq. 1-7 are linear in what is solved, so every solution is a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from market.tariff.inputs import (
    ALL_HOURS,
    HOURS_PER_YEAR,
    Annuity,
    FreeInputs,
    Sections,
    TariffError,
    TariffInputs,
    Weather,
    WeatherMix,
    WeatherProfile,
    require_finite,
)
from market.tariff.model import (
    Tariff,
    capacity_price,
    capacity_share,
    conventional_capacity_price,
    mixed_energy_price,
)
from market.tariff.paper import paper


class CalibrationError(TariffError):
    """No usable input gives the target; the message names the obstacle and a way round."""


class Solve(StrEnum):
    """Which free inputs are solved."""

    HOURS = "hours"
    """t_c, t_p, t_s; f_s is assumed."""
    INCENTIVE_AND_HOURS = "incentive_and_hours"
    """t_c, t_p, t_s and f_s, so that the mean of the hours is the printed 2000 h."""
    ENERGY_INDEX = "energy_index"
    """epsilon_c, epsilon_p, epsilon_s; f_s is assumed and all hours are the printed 2000 h."""


class Origin(StrEnum):
    """Where an input comes from."""

    PRINTED = "printed"
    ASSUMED = "assumed"
    SOLVED = "solved"


@dataclass(frozen=True, slots=True)
class InputRecord:
    """One input of a calibrated tariff and where it comes from."""

    name: str
    symbol: str
    value: str
    unit: str
    origin: Origin


@dataclass(frozen=True)
class Calibration:
    """A tariff whose averages are the target, and how it was found."""

    tariff: Tariff
    target_yuan_per_kwh: Sections[float]
    solve: Solve

    def records(self) -> tuple[InputRecord, ...]:
        """Every input: printed by the paper, assumed here, or solved."""
        tariff = self.tariff
        free = tariff.free
        own = (
            tariff.inputs != paper().inputs_for(tariff.annuity) or tariff.weather != paper().weather
        )
        given = Origin.ASSUMED if own else Origin.PRINTED
        investment = "yuan/kW" if tariff.annuity is Annuity.TEXTBOOK else "kyuan in total"
        records = [_record(*row, given) for row in _input_rows(tariff.inputs)]
        records.append(
            InputRecord(
                "reading of Eq. 1", "", f"{tariff.annuity}, I_j in {investment}", "", Origin.ASSUMED
            )
        )
        incentive = Origin.SOLVED if self.solve is Solve.INCENTIVE_AND_HOURS else Origin.ASSUMED
        records.append(
            _record("incentive", "f_s", free.incentive_yuan_per_kw, "yuan/kW", incentive)
        )
        hours = given if self.solve is Solve.ENERGY_INDEX else Origin.SOLVED
        records += [
            _record(f"hours of use, {section}", f"t_{section[0]}", value, "h/year", hours)
            for section, value in free.section_h_per_year.items()
        ]
        if free.energy_index is None:
            records += [
                _record(
                    f"clearness, {kind}", f"epsilon_{kind}", profile.clearness_fraction, "1", given
                )
                for kind, profile in tariff.weather.items()
            ]
        else:
            records += [
                _record(
                    f"energy index, {section}", f"epsilon_{section[0]}", value, "1", Origin.SOLVED
                )
                for section, value in free.energy_index.items()
            ]
        for section, band in free.hour_bands.items():
            text = "all" if set(band) == set(ALL_HOURS) else " ".join(map(str, band))
            records.append(
                InputRecord(f"averaged hours, {section}", "", text, "hour", Origin.ASSUMED)
            )
        for section, mix in free.weather_mix.items():
            text = " ".join(f"{kind}:{share:.4g}" for kind, share in mix.items())
            records.append(InputRecord(f"weather mix, {section}", "", text, "1", Origin.ASSUMED))
        return tuple(records)


def calibrate(
    target_yuan_per_kwh: Sections[float] | None = None,
    *,
    annuity: Annuity | str = Annuity.AS_PRINTED,
    solve: Solve | str = Solve.INCENTIVE_AND_HOURS,
    incentive_yuan_per_kw: float = 0.0,
    weather_mix: Sections[WeatherMix] | None = None,
    hour_bands: Sections[tuple[int, ...]] | None = None,
    inputs: TariffInputs | None = None,
    weather: Mapping[Weather, WeatherProfile] | None = None,
) -> Calibration:
    """Solve the free inputs for three average prices.

    Args:
        target_yuan_per_kwh: The averages to reach; Table V by default.
        annuity: The reading of Eq. 1.
        solve: Which inputs are solved.
        incentive_yuan_per_kw: f_s, ignored where it is solved.
        weather_mix: Days each section is averaged over; a third of each kind by default.
        hour_bands: Hours each section is averaged over; all by default.
        inputs: Printed inputs; by default the paper's, with the unit of I_j that fits the reading.
        weather: P_0 and clearness by kind of day; the paper's by default.

    Raises:
        CalibrationError: The target cannot be reached with usable inputs.
        TariffInputError: An argument is unusable.
    """
    annuity, solve = Annuity(annuity), Solve(solve)
    target = target_yuan_per_kwh or paper().table_v_yuan_per_kwh
    inputs = inputs or paper().inputs_for(annuity)
    weather = weather or paper().weather
    for section, price in target.items():
        require_finite(f"target.{section}", price)
    start = FreeInputs(
        section_h_per_year=Sections.same(inputs.utilisation_h_per_year),
        incentive_yuan_per_kw=incentive_yuan_per_kw,
        weather_mix=weather_mix or Sections.same(WeatherMix.equal()),
        hour_bands=hour_bands or Sections.same(ALL_HOURS),
    )
    if solve is Solve.ENERGY_INDEX:
        free = _solve_energy_index(target, inputs, start, weather, annuity)
    else:
        free = _solve_hours(target, inputs, start, weather, annuity, solve)
    return Calibration(Tariff(inputs, free, weather, annuity), target, solve)


def _solve_hours(
    target: Sections[float],
    inputs: TariffInputs,
    start: FreeInputs,
    weather: Mapping[Weather, WeatherProfile],
    annuity: Annuity,
    solve: Solve,
) -> FreeInputs:
    """Closed form: t = F_C * share / (target - mean energy price); the mean of t gives f_s."""

    def h_per_yuan_per_kw(section: str) -> float:
        energy = _mean_energy_price(section, inputs, start, weather)
        room = target.get(section) - energy
        if room <= 0:
            raise CalibrationError(
                f"the {section} target {target.get(section):g} yuan/kWh does not exceed the mean "
                f"energy price {energy:g}; raise the target, or average over less sunny days or "
                "hours"
            )
        return _share(section, inputs) / room

    slope = Sections.of(h_per_yuan_per_kw)
    incentive = start.incentive_yuan_per_kw
    conventional = conventional_capacity_price(inputs, annuity)
    if solve is Solve.INCENTIVE_AND_HOURS:
        mean_slope = math.fsum(value for _, value in slope.items()) / 3
        incentive = inputs.utilisation_h_per_year / mean_slope - conventional
        if incentive < 0:
            raise CalibrationError(
                f"the incentive f_s would be {incentive:.2f} yuan/kW, but it adds to Eq. 1 and "
                "cannot be negative; solve only the hours (solve='hours'), or take "
                "annuity='as_printed'"
            )
    hours = slope.map(lambda value: (conventional + incentive) * value)
    for section, value in hours.items():
        if not 0 < value <= HOURS_PER_YEAR:
            raise CalibrationError(
                f"the {section} hours would be {value:.1f} a year, outside 0 to {HOURS_PER_YEAR}; "
                "change the incentive, the weather mix or the target"
            )
    return FreeInputs(
        section_h_per_year=hours,
        incentive_yuan_per_kw=incentive,
        hour_bands=start.hour_bands,
        weather_mix=start.weather_mix,
    )


def _solve_energy_index(
    target: Sections[float],
    inputs: TariffInputs,
    start: FreeInputs,
    weather: Mapping[Weather, WeatherProfile],
    annuity: Annuity,
) -> FreeInputs:
    """Closed form: epsilon = (target - capacity part) / (mean P_0 * (1 + eta) / 1000)."""
    fixed = (
        capacity_price(inputs, annuity, start.incentive_yuan_per_kw) / inputs.utilisation_h_per_year
    )

    def index(section: str) -> float:
        at_full = _mean_energy_price(section, inputs, start, weather, energy_index=1.0)
        room = target.get(section) - fixed * _share(section, inputs)
        if at_full <= 0 or not 0 <= room <= at_full:
            raise CalibrationError(
                f"the {section} energy index would have to turn {at_full:g} yuan/kWh at index 1 "
                f"into {room:g}, which needs an index outside 0 to 1; change the incentive, the "
                "weather mix or the reading of Eq. 1"
            )
        return room / at_full

    return FreeInputs(
        section_h_per_year=start.section_h_per_year,
        incentive_yuan_per_kw=start.incentive_yuan_per_kw,
        energy_index=Sections.of(index),
        hour_bands=start.hour_bands,
        weather_mix=start.weather_mix,
    )


def _share(section: str, inputs: TariffInputs) -> float:
    return capacity_share(inputs.capacity_share_fraction, inputs.weighting_factor.get(section))


def _mean_energy_price(
    section: str,
    inputs: TariffInputs,
    free: FreeInputs,
    weather: Mapping[Weather, WeatherProfile],
    energy_index: float | None = None,
) -> float:
    band = free.hour_bands.get(section)
    mix = free.weather_mix.get(section)
    eta = inputs.other_variable_cost_fraction
    total = math.fsum(mixed_energy_price(weather, mix, hour, energy_index, eta) for hour in band)
    return total / len(band)


def _record(name: str, symbol: str, value: float, unit: str, origin: Origin) -> InputRecord:
    return InputRecord(name, symbol, f"{value:.10g}", unit, origin)


def _input_rows(inputs: TariffInputs) -> list[tuple[str, str, float, str]]:
    """Name, symbol, value and unit of what Tables II-IV and the text print."""
    return [
        *(
            (f"investment, year {year}", f"I_{year}", amount, "kyuan")
            for year, amount in enumerate(inputs.construction_investments_kyuan, start=1)
        ),
        ("installed capacity", "Q", inputs.installed_capacity_mw, "MW"),
        ("annuity factor", "A_0", inputs.annuity_factor, "1"),
        ("discount rate", "i_0", inputs.discount_rate_per_year, "1/year"),
        ("maintenance", "r", inputs.maintenance_fraction, "1"),
        ("consumption", "lambda", inputs.consumption_fraction, "1"),
        ("availability", "beta", inputs.available_fraction, "1"),
        ("other variable cost", "eta", inputs.other_variable_cost_fraction, "1"),
        ("capacity share", "alpha", inputs.capacity_share_fraction, "1"),
        ("hours of use", "t", inputs.utilisation_h_per_year, "h/year"),
        *(
            (f"weight, {section}", f"K_{section[0]}", value, "1")
            for section, value in inputs.weighting_factor.items()
        ),
    ]
