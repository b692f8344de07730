"""Eq. 1-7 against values worked out by hand in exact fractions."""

import dataclasses
import math
from fractions import Fraction

import pytest

from market.tariff import (
    Annuity,
    FreeInputs,
    Sections,
    Tariff,
    TariffInputError,
    Weather,
    WeatherMix,
    WeatherProfile,
    capacity_price,
    conventional_capacity_price,
    energy_price,
    paper,
    section_price,
)

USEFUL_MW = 100 * Fraction("1.04") * Fraction("0.8")
AS_PRINTED_YUAN_PER_KW = 5000 * Fraction("6.002") * Fraction("1.03") / USEFUL_MW
TEXTBOOK_YUAN_PER_KW = 500_000 / Fraction("6.002") * Fraction("1.03") / USEFUL_MW


def exactly(value: Fraction) -> object:
    return pytest.approx(float(value), rel=1e-13)


def create_tariff(**free: object) -> Tariff:
    chosen = FreeInputs(section_h_per_year=Sections(1500.0, 1800.0, 2500.0))
    return Tariff(
        paper().inputs,
        dataclasses.replace(chosen, **free),  # type: ignore[arg-type]
        paper().weather,
        Annuity.AS_PRINTED,
    )


def test_eq_1__as_printed__multiplies_by_the_annuity_factor() -> None:
    price = conventional_capacity_price(paper().inputs, Annuity.AS_PRINTED)

    assert price == exactly(AS_PRINTED_YUAN_PER_KW)
    assert round(price / 2000, 3) == 0.186


def test_eq_1__textbook__divides_by_the_annuity_factor() -> None:
    price = conventional_capacity_price(paper().inputs.with_investment_per_kw(), Annuity.TEXTBOOK)

    assert price == exactly(TEXTBOOK_YUAN_PER_KW)
    assert round(price / 2000, 3) == 0.516


def test_eq_1__annuity_factor__is_14_years_at_14_percent() -> None:
    rate = Fraction("0.14")
    pvifa = (1 - 1 / (1 + rate) ** 14) / rate

    assert round(float(pvifa), 3) == paper().inputs.annuity_factor


def test_eq_1__three_construction_years__carries_each_to_the_last() -> None:
    inputs = dataclasses.replace(
        paper().inputs, construction_investments_kyuan=(1000.0, 2000.0, 3000.0)
    )
    carried = 1000 * Fraction("1.12") ** 2 + 2000 * Fraction("1.12") + 3000
    expected = carried * Fraction("6.002") * Fraction("1.03") / USEFUL_MW

    assert conventional_capacity_price(inputs, Annuity.AS_PRINTED) == exactly(expected)


def test_eq_1__incentive__is_added() -> None:
    expected = AS_PRINTED_YUAN_PER_KW + Fraction("12.5")

    assert capacity_price(paper().inputs, Annuity.AS_PRINTED, 12.5) == exactly(expected)


@pytest.mark.parametrize(
    ("distribution", "index", "expected"),
    [
        (800.0, 0.7, Fraction("0.616")),
        (610.0, 0.5, Fraction("0.3355")),
        (650.0, 0.2, Fraction("0.143")),
        (0.0, 0.7, Fraction(0)),
    ],
)
def test_eq_2_to_4__energy_price(distribution: float, index: float, expected: Fraction) -> None:
    assert energy_price(distribution, index, 0.1) == exactly(expected)


@pytest.mark.parametrize(
    ("section", "hours", "weight", "distribution"),
    [
        ("compensation", 1500, Fraction("0.438"), 810),
        ("planned", 1800, Fraction("0.328"), 810),
        ("selling", 2500, Fraction("0.234"), 810),
    ],
)
def test_eq_5_to_7__sunny_noon(
    section: str, hours: int, weight: Fraction, distribution: int
) -> None:
    alpha = Fraction("0.475")
    energy = distribution * Fraction("0.7") * Fraction("1.1") / 1000
    expected = (
        AS_PRINTED_YUAN_PER_KW * alpha / hours
        + AS_PRINTED_YUAN_PER_KW * (1 - alpha) * weight / hours
        + energy
    )

    prices = create_tariff().prices_at(12, WeatherMix.only(Weather.SUNNY))

    assert prices.get(section) == exactly(expected)


def test_eq_2_to_4__own_energy_index__replaces_the_clearness() -> None:
    tariff = create_tariff(energy_index=Sections(0.6, 0.4, 0.1))
    noon = tariff.prices_at(12, WeatherMix.only(Weather.SUNNY))
    night = tariff.prices_at(0, WeatherMix.only(Weather.SUNNY))

    for section, index in (("compensation", "0.6"), ("planned", "0.4"), ("selling", "0.1")):
        risen = 810 * Fraction(index) * Fraction("1.1") / 1000
        assert noon.get(section) - night.get(section) == pytest.approx(float(risen), abs=1e-15)


def test_mix__of_two_days__lies_between_them_by_its_shares() -> None:
    tariff = create_tariff()
    mixed = tariff.prices_at(9, WeatherMix(0.25, 0.0, 0.75)).planned
    sunny = tariff.prices_at(9, WeatherMix.only(Weather.SUNNY)).planned
    rainy = tariff.prices_at(9, WeatherMix.only(Weather.RAINY)).planned

    assert mixed == pytest.approx(0.25 * sunny + 0.75 * rainy, rel=1e-14)


def test_averages__over_a_band__use_only_its_hours() -> None:
    band = (8, 9, 17)
    tariff = create_tariff(
        hour_bands=Sections.same(band),
        weather_mix=Sections.same(WeatherMix.only(Weather.CLOUDY)),
    )
    curve = tariff.curve(WeatherMix.only(Weather.CLOUDY))

    expected = math.fsum(curve[hour].selling for hour in band) / 3
    assert tariff.averages().selling == pytest.approx(expected, rel=1e-14)


def test_paper__weather__has_the_printed_sums_and_lengths() -> None:
    sums = {kind: sum(day.distribution_myuan_per_kwh) for kind, day in paper().weather.items()}

    assert sums == {Weather.SUNNY: 7500, Weather.CLOUDY: 6360, Weather.RAINY: 4408}
    assert {len(day.distribution_myuan_per_kwh) for day in paper().weather.values()} == {24}


def test_paper__sunny_zero_at_the_end__lines_up_with_the_cloudy_morning() -> None:
    sunny = paper().weather[Weather.SUNNY].distribution_myuan_per_kwh
    cloudy = paper().weather[Weather.CLOUDY].distribution_myuan_per_kwh

    assert sunny[9:12] == cloudy[9:12] == (600, 700, 800)
    assert sunny[21:] == cloudy[21:] == (0, 0, 0)


@pytest.mark.parametrize("hours", [0.0, -1.0, math.nan])
def test_section_price__without_hours__raises(hours: float) -> None:
    with pytest.raises(TariffInputError, match=r"section_h_per_year.*not positive"):
        section_price(371.0, hours, 0.475, 0.438, 0.0)


@pytest.mark.parametrize("hour", [-1, 24])
def test_prices_at__hour_outside_the_day__raises(hour: int) -> None:
    with pytest.raises(TariffInputError, match="not an hour of a day"):
        create_tariff().prices_at(hour, WeatherMix.equal())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("installed_capacity_mw", -100.0, "installed_capacity_mw = -100.0 is not positive"),
        ("installed_capacity_mw", 0.0, "is not positive"),
        ("installed_capacity_mw", math.nan, "is not finite"),
        ("installed_capacity_mw", "100", "is not a number"),
        ("annuity_factor", math.inf, "is not finite"),
        ("available_fraction", 0.0, "is not positive"),
        ("consumption_fraction", 4.0, "4 % is 0.04"),
        ("discount_rate_per_year", -0.1, "is negative"),
        ("utilisation_h_per_year", 0.0, "is not positive"),
        ("utilisation_h_per_year", 9000.0, "longer than a year"),
        ("construction_investments_kyuan", (), "is empty"),
        ("construction_investments_kyuan", (1.0, -5.0), r"\[year 2\] = -5.0 is negative"),
        ("weighting_factor", Sections(0.4, math.nan, 0.2), "weighting_factor.planned"),
    ],
)
def test_inputs__unusable__raise_and_name_the_field(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(TariffInputError, match=message):
        dataclasses.replace(paper().inputs, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("section_h_per_year", Sections(1500.0, 0.0, 2500.0), "planned = 0.0 is not positive"),
        ("incentive_yuan_per_kw", -1.0, "is negative"),
        ("incentive_yuan_per_kw", math.inf, "is not finite"),
        ("energy_index", Sections(0.1, 0.2, 1.2), "energy_index.selling"),
        ("hour_bands", Sections.same(()), "is not a set of hours"),
        ("hour_bands", Sections.same((8, 8)), "is not a set of hours"),
        ("hour_bands", Sections.same((24,)), "distinct hours from 0 to 23"),
    ],
)
def test_free_inputs__unusable__raise_and_name_the_field(
    field: str, value: object, message: str
) -> None:
    with pytest.raises(TariffInputError, match=message):
        create_tariff(**{field: value})


def test_profile__with_23_entries__raises_and_recalls_the_missing_zero() -> None:
    with pytest.raises(TariffInputError, match=r"23 entries instead of 24.*sunny vector"):
        WeatherProfile((1.0,) * 23, 0.5)


@pytest.mark.parametrize("entry", [-1.0, math.nan, math.inf])
def test_profile__with_an_unusable_entry__raises_and_names_the_hour(entry: float) -> None:
    with pytest.raises(TariffInputError, match="hour 23"):
        WeatherProfile((*(1.0,) * 23, entry), 0.5)


def test_profile__clearness_in_percent__raises() -> None:
    with pytest.raises(TariffInputError, match="not between 0 and 1"):
        WeatherProfile((1.0,) * 24, 70.0)


def test_mix__not_summing_to_one__raises() -> None:
    with pytest.raises(TariffInputError, match=r"sums to 0.9"):
        WeatherMix(0.3, 0.3, 0.3)
