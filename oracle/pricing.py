"""What prices a node holds right for a period."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from market.prices import Benchmark, PeriodPrices, TradingPrices, clamp
from market.schedule import Schedule
from oracle.config import ConfigError
from oracle.prices.feed import HttpFeed
from oracle.prices.file import PriceFile
from oracle.prices.formats import FeedError
from oracle.prices.settings import CsvPrices, HttpPrices, PricesConfig, TariffPrices
from oracle.prices.source import CheckedPrices, PriceSource

HOUR_S = 3_600

_PRICES_TYPE = "(uint32,uint32,uint32,uint32,uint32,uint32,uint8,uint8)[]"


class TariffTable(PriceSource):
    """Prices by the hour of the day, from the calibrated tariff."""

    def __init__(self, config: TariffPrices, schedule: Schedule) -> None:
        """Take a forecast and a clock."""
        self._config, self._schedule = config, schedule

    def trading(self, period: int, /) -> TradingPrices:
        """Return the prices of the hour a period begins in."""
        local_s = self._schedule.start(period) + self._config.utc_offset_s
        return self._by_hour[local_s // HOUR_S % 24]

    @cached_property
    def _by_hour(self) -> list[TradingPrices]:
        from market.tariff import WeatherMix, calibrate, trading_prices

        curve = calibrate().tariff.curve(WeatherMix.only(self._config.weather))
        return [trading_prices(prices) for prices in curve]


def price_source(
    config: PricesConfig, schedule: Schedule, journal: Path, now: Callable[[], int]
) -> PriceSource:
    """Return the source a configuration names.

    Args:
        config: The configuration.
        schedule: When periods begin and how long they last.
        journal: The node's journal; what a feed has said is kept beside it.
        now: Tells chain time, Unix seconds.

    Raises:
        ConfigError: If its file or credential cannot be used.
    """
    try:
        if isinstance(config, CsvPrices):
            return CheckedPrices(PriceFile(config.file), config, now)
        if isinstance(config, HttpPrices):
            kept = journal.with_name(journal.name + ".prices")
            return CheckedPrices(HttpFeed(config, schedule, kept, now), config, now)
    except FeedError as exc:
        raise ConfigError(str(exc)) from exc
    return TariffTable(config, schedule) if isinstance(config, TariffPrices) else PriceSource()


def own_prices(source: PriceSource, benchmark: Benchmark, period: int) -> PeriodPrices:
    """Return the prices a node holds right for a period, clamped into the benchmark's band."""
    asked = source.trading(period)
    return PeriodPrices.from_benchmark(benchmark) if asked is None else clamp(asked, benchmark)[0]


def periods_ahead(source: PriceSource, schedule: Schedule, now: int) -> int:
    """Return how many of the coming periods have prices, up to the first that has none."""
    first = max(0, (now - schedule.epoch_s) // schedule.length_s + 1)
    last = (now + schedule.price_horizon_s - schedule.epoch_s) // schedule.length_s
    coming = range(first, last + 1)
    return next((i for i, p in enumerate(coming) if source.trading(p) is None), len(coming))


def price_tuple(p: PeriodPrices) -> tuple[int, ...]:
    """Return the contract's `Prices` of a period; who decided is the contract's to say."""
    return (
        p.feed_in_uyuan_per_kwh,
        p.selling_uyuan_per_kwh,
        p.planned_uyuan_per_kwh,
        p.compensation_uyuan_per_kwh,
        p.retail_uyuan_per_kwh,
        p.fee_uyuan_per_kwh,
        p.clamp_flags,
        0,
    )


def price_digest(prices: Sequence[PeriodPrices]) -> bytes:
    """Return what a committee signs when it agrees on the prices of consecutive periods."""
    return keccak(encode([_PRICES_TYPE], [[price_tuple(p) for p in prices]]))
