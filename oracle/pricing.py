"""What prices a node holds right for a period."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from market.prices import Benchmark, PeriodPrices, PriceError, TradingPrices, clamp
from market.schedule import Schedule
from oracle.config import BenchmarkPrices, ConfigError, CsvPrices, PricesConfig, TariffPrices

HOUR_S = 3_600

_PRICES_TYPE = "(uint32,uint32,uint32,uint32,uint32,uint32,uint8,uint8)[]"

COLUMNS = (
    "period",
    "selling_uyuan_per_kwh",
    "planned_uyuan_per_kwh",
    "compensation_uyuan_per_kwh",
)


class PriceSource(Protocol):
    """Where a node's prices come from."""

    def trading(self, period: int) -> TradingPrices | None:
        """Return the three prices asked for in a period, None if the benchmark is right."""
        ...


class NoPrices:
    """Holds the benchmark right."""

    def trading(self, _period: int, /) -> None:
        """Return None."""


class PriceTable:
    """Prices from a CSV file."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: If it cannot be read or a row is bad; names file, line and column.
        """
        self._prices: dict[int, TradingPrices] = {}
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file, strict=True)
                missing = [c for c in COLUMNS if c not in (rows.fieldnames or ())]
                if missing:
                    raise ConfigError(f"{path}:1: column {missing[0]!r} is missing; give {COLUMNS}")
                for row in rows:
                    self._add(row, f"{path}:{rows.line_num}")
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise ConfigError(f"{path} cannot be read ({exc}); give a CSV file in UTF-8") from exc

    def trading(self, period: int) -> TradingPrices | None:
        """Return the prices of a period, None if the file has none."""
        return self._prices.get(period)

    def _add(self, row: Mapping[str, str | None], where: str) -> None:
        values = []
        for column in COLUMNS:
            try:
                values.append(int(row[column] or ""))
            except ValueError:
                raise ConfigError(
                    f"{where}: {column} is {row[column]!r}; give a whole number"
                ) from None
        period, *prices = values
        if period in self._prices:
            raise ConfigError(f"{where}: period {period} is there twice; keep one row")
        try:
            self._prices[period] = TradingPrices(*prices)
        except PriceError as exc:
            raise ConfigError(f"{where}: {exc}") from exc


class TariffTable:
    """Prices by the hour of the day, from the calibrated tariff."""

    def __init__(self, config: TariffPrices, schedule: Schedule) -> None:
        """Take a forecast and a clock."""
        self._config, self._schedule = config, schedule

    def trading(self, period: int) -> TradingPrices:
        """Return the prices of the hour a period begins in."""
        local_s = self._schedule.start(period) + self._config.utc_offset_s
        return self._by_hour[local_s // HOUR_S % 24]

    @cached_property
    def _by_hour(self) -> list[TradingPrices]:
        from market.tariff import WeatherMix, calibrate, trading_prices

        curve = calibrate().tariff.curve(WeatherMix.only(self._config.weather))
        return [trading_prices(prices) for prices in curve]


def price_source(config: PricesConfig, schedule: Schedule) -> PriceSource:
    """Return the source a configuration names.

    Raises:
        ConfigError: If its file cannot be used.
    """
    if isinstance(config, BenchmarkPrices):
        return NoPrices()
    if isinstance(config, CsvPrices):
        return PriceTable(config.file)
    return TariffTable(config, schedule)


def own_prices(source: PriceSource, benchmark: Benchmark, period: int) -> PeriodPrices:
    """Return the prices a node holds right for a period, clamped into the benchmark's band."""
    asked = source.trading(period)
    return PeriodPrices.from_benchmark(benchmark) if asked is None else clamp(asked, benchmark)[0]


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
