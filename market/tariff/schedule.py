"""From the tariff's float prices to the integer prices of a day's periods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from market.prices import Benchmark, Limits, PeriodPrices, TradingPrices, clamp, to_uyuan_per_kwh
from market.tariff.inputs import (
    HOURS_PER_DAY,
    Sections,
    TariffError,
    TariffInputError,
    Weather,
    WeatherMix,
)
from market.tariff.model import Tariff

DEFAULT_PERIODS: Final = 96
"""Quarter hours of a day."""


def trading_prices(prices_yuan_per_kwh: Sections[float]) -> TradingPrices:
    """Round the three section prices to micro-yuan per kWh, ties to the even integer.

    Raises:
        PriceValueError: A price is NaN, infinite, negative, or does not fit 32 bits.
    """
    return TradingPrices(
        selling_uyuan_per_kwh=to_uyuan_per_kwh(prices_yuan_per_kwh.selling),
        planned_uyuan_per_kwh=to_uyuan_per_kwh(prices_yuan_per_kwh.planned),
        compensation_uyuan_per_kwh=to_uyuan_per_kwh(prices_yuan_per_kwh.compensation),
    )


def day_ahead(
    tariff: Tariff,
    weather: Weather | WeatherMix,
    benchmark: Benchmark | Sequence[Benchmark],
    *,
    limits: Limits | None = None,
    periods: int = DEFAULT_PERIODS,
    first_hour: int = 0,
) -> list[PeriodPrices]:
    """The clamped prices of a day's periods.

    Every period has all three prices of the hour it lies in: P_c from the peak parameters, P_p
    from the flat, P_s from the valley ones, with P_0 of that hour.

    Args:
        tariff: A calibrated tariff.
        weather: The day's forecast: one kind of day, or shares.
        benchmark: The grid company's prices: one for all periods, or one for each.
        limits: Caps to check every period against.
        periods: Periods a day; a multiple of 24.
        first_hour: Local hour in which the first period begins; a period's key is UTC, P_0 is
            local time.

    Returns:
        `periods` entries in order of time, in uyuan/kWh, each with its clamp flags.

    Raises:
        TariffInputError: The periods do not divide the hours, or the first hour is not one of a
            day.
        TariffError: The number of benchmarks is not the number of periods.
        PriceOrderError: A benchmark is above the limits.
        PriceValueError: A price does not fit the chain's type.
    """
    if periods < HOURS_PER_DAY or periods % HOURS_PER_DAY:
        raise TariffInputError(
            "periods", periods, "is not a multiple of 24", "give 96 for quarter hours, 24 for hours"
        )
    if not 0 <= first_hour < HOURS_PER_DAY:
        raise TariffInputError("first_hour", first_hour, "is not an hour of a day", "give 0 to 23")
    benchmarks = [benchmark] * periods if isinstance(benchmark, Benchmark) else list(benchmark)
    if len(benchmarks) != periods:
        raise TariffError(
            f"{len(benchmarks)} benchmarks for {periods} periods; give one, or one for each period"
        )
    mix = WeatherMix.only(weather) if isinstance(weather, Weather) else weather
    by_hour = [trading_prices(prices) for prices in tariff.curve(mix)]
    per_hour = periods // HOURS_PER_DAY
    day: list[PeriodPrices] = []
    for period, published in enumerate(benchmarks):
        if limits is not None:
            limits.check(published)
        prices, _ = clamp(by_hour[(first_hour + period // per_hour) % HOURS_PER_DAY], published)
        day.append(prices)
    return day
