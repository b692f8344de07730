"""What an operator writes about prices: `[prices]` of a node's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from market.prices import UINT32_MAX
from market.tariff import Weather
from oracle.meters.settings import Table

Url = Annotated[str, Field(pattern="^https?://")]
Price = Annotated[int, Field(ge=0, le=UINT32_MAX)]


class BenchmarkPrices(Table):
    """The grid company's benchmark is right: propose nothing, oppose everything else.

    Attributes:
        source: Names this kind.
    """

    source: Literal["benchmark"] = "benchmark"


class TariffPrices(Table):
    """Prices from Peng's tariff, calibrated on the paper.

    Attributes:
        source: Names this kind.
        weather: Forecast of every day: sunny, cloudy or rainy.
        utc_offset_s: Local time minus UTC; the tariff's hours are local.
    """

    source: Literal["tariff"]
    weather: Weather
    utc_offset_s: Annotated[int, Field(gt=-86_400, lt=86_400)] = 0


class PriceChecks(Table):
    """What prices from outside must pass; for what fails, the benchmark stands.

    Attributes:
        stale_after_s: Oldest data that is used, counted from its publication.
        floor_uyuan_per_kwh: Lowest price that is believed, F_min of You.
        ceiling_uyuan_per_kwh: Highest price that is believed, F_max of You.
        most_change_percent: How far a price may be from that of the period before.
    """

    stale_after_s: PositiveInt | None = None
    floor_uyuan_per_kwh: Price = 0
    ceiling_uyuan_per_kwh: Price | None = None
    most_change_percent: PositiveInt | None = None

    @model_validator(mode="after")
    def _band(self) -> PriceChecks:
        ceiling = self.ceiling_uyuan_per_kwh
        if ceiling is not None and self.floor_uyuan_per_kwh > ceiling:
            raise ValueError("floor_uyuan_per_kwh is above ceiling_uyuan_per_kwh; swap them")
        return self


class CsvPrices(PriceChecks):
    """Prices from a file, read again whenever it changes.

    Attributes:
        source: Names this kind.
        file: CSV with the columns `period`, `selling_uyuan_per_kwh`, `planned_uyuan_per_kwh` and
            `compensation_uyuan_per_kwh`, whole numbers.
    """

    source: Literal["csv"]
    file: Path


class SpotPrices(Table):
    """How a feed's one price an interval becomes the three of a period.

    Attributes:
        list: Path to the list of intervals in the answer; empty if the answer is the list.
        start: Path to an interval's start.
        start_unit: `s` or `ms` since 1970, or `iso` with an offset from UTC.
        price: Path to an interval's price.
        interval_s: Length of the intervals; a period if not given.
        uyuan_per_unit: Micro-yuan per kWh that one unit of the feed's price is.
        offset_uyuan_per_kwh: What comes on top.
        selling_percent: Selling price in percent of the planned one.
        compensation_percent: Compensation price in percent of the planned one.
    """

    list: str = ""
    start: str
    start_unit: Literal["s", "ms", "iso"] = "iso"
    price: str
    interval_s: PositiveInt | None = None
    uyuan_per_unit: PositiveFloat
    offset_uyuan_per_kwh: Annotated[int, Field(ge=-UINT32_MAX, le=UINT32_MAX)] = 0
    selling_percent: Annotated[int, Field(ge=0, le=100)]
    compensation_percent: Annotated[int, Field(ge=100, le=1_000)]


class HttpPrices(PriceChecks):
    """Prices from a day-ahead feed.

    Attributes:
        source: Names this kind.
        url: Where it is asked for.
        format: `json`, or `csv` with the columns of `CsvPrices`.
        header_env: Name of the environment variable that holds the Authorization header's value.
        poll_s: Pause between two looks.
        timeout_s: Longest wait for a whole answer.
        spot: Given, the JSON has one price an interval and becomes prices by this rule.
    """

    source: Literal["http"]
    url: Url
    format: Literal["json", "csv"] = "json"
    header_env: str | None = None
    poll_s: PositiveFloat = 300.0
    timeout_s: PositiveFloat = 10.0
    stale_after_s: PositiveInt | None = 129_600
    spot: SpotPrices | None = None

    @model_validator(mode="after")
    def _fits(self) -> HttpPrices:
        if "@" in self.url.partition("://")[2].partition("/")[0]:
            raise ValueError("url holds a user; name the variable of the credential in header_env")
        if self.spot is not None and self.format != "json":
            raise ValueError('spot takes format = "json"')
        return self


PricesConfig = Annotated[
    BenchmarkPrices | CsvPrices | HttpPrices | TariffPrices, Field(discriminator="source")
]
