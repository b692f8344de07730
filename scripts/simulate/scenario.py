"""A scenario: one TOML file, every key checked before anything runs (docs/scenarios.md)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from market.clearing import Rule
from market.prices import Benchmark, PriceError
from market.tariff import Weather

PERIODS_PER_DAY = 96

Percent = Annotated[int, Field(ge=0, le=100)]
Scaling = Annotated[int, Field(ge=0, le=1_000)]
Watts = Annotated[int, Field(ge=0, le=10**9)]
Price = Annotated[int, Field(ge=0, lt=2**32)]


class ScenarioError(Exception):
    """A scenario cannot be used; the message names file, key, value and what is expected."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GridName(StrEnum):
    """The shipped grids."""

    RURAL1 = "rural1"
    RURAL3 = "rural3"


class BenchmarkConfig(_Table):
    """The grid company's prices, micro-yuan per kWh, not decreasing from feed-in to retail.

    Attributes:
        feed_in: What it pays for surplus.
        selling: P_s, low end of the band.
        planned: P_p.
        compensation: P_c, high end of the band.
        retail: What it takes for need.
        fee: Network fee of what is bought.
    """

    feed_in: Price = 150_000
    selling: Price = 250_000
    planned: Price = 437_900
    compensation: Price = 650_000
    retail: Price = 1_100_000
    fee: Price = 20_000

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        try:
            self.prices()
        except PriceError as exc:
            raise ValueError(str(exc)) from exc
        return self

    def prices(self) -> Benchmark:
        """Return them as the market's type."""
        return Benchmark(
            self.feed_in,
            self.selling,
            self.planned,
            self.compensation,
            self.retail,
            self.fee,
        )


class PricesConfig(_Table):
    """What the periods' prices are.

    Attributes:
        source: `benchmark` for the same prices all day, `tariff` for Peng's by the hour.
        weather: Kind of day of the tariff: sunny, cloudy or rainy.
        benchmark: The prices that stand, or that bound the tariff.
    """

    source: Literal["benchmark", "tariff"] = "benchmark"
    weather: Weather = Weather.SUNNY
    benchmark: BenchmarkConfig = BenchmarkConfig()


class StrategiesConfig(_Table):
    """Who orders how, in percent of the members; drawn by the seed. They add up to 100.

    Attributes:
        truthful: Bid their value, ask their cost.
        zero_intelligence: Draw a price without loss.
        outside: Do not trade; base load that the wires carry first.
    """

    truthful: Percent = 50
    zero_intelligence: Percent = 50
    outside: Percent = 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.truthful + self.zero_intelligence + self.outside
        if total != 100:
            raise ValueError(f"the shares add up to {total}; make them 100")
        return self


class ValuesConfig(_Table):
    """What a kWh is worth, in percent of the way through the band; drawn once for each member.

    Attributes:
        load: Least and most that a kWh drawn is worth.
        generation: Least and most that a kWh fed in costs.
    """

    load: tuple[Percent, Percent] = (40, 100)
    generation: tuple[Percent, Percent] = (0, 30)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for name in ("load", "generation"):
            least, most = getattr(self, name)
            if least > most:
                raise ValueError(f"{name} = [{least}, {most}]: give the lower first")
        return self


class BatteriesConfig(_Table):
    """Batteries behind the meters of storages; their members order by arbitrage.

    Attributes:
        storages: How many of the grid's storages have one, in percent; drawn by the seed.
        capacity_wh: What one holds.
        power_w: Most it draws or gives.
        efficiency: What comes back, in percent.
        stored: What it holds at the beginning, in percent.
        margin: How far its bid and ask lie from the day's mean planned price, in percent.
    """

    storages: Percent = 100
    capacity_wh: Watts = 20_000
    power_w: Watts = 5_000
    efficiency: Annotated[int, Field(ge=1, le=100)] = 90
    stored: Percent = 50
    margin: Percent = 10


class MetersConfig(_Table):
    """What the profiles are multiplied with, in percent.

    Attributes:
        pv: Feed-in of plants and storages.
        load: Draw of loads.
    """

    pv: Scaling = 100
    load: Scaling = 100


class WiresConfig(_Table):
    """What the lines may carry, in percent of their rating.

    Attributes:
        transformer: The transformer.
        lines: Every line that is not named.
        line: Lines by their name in the grid file.
        line_uyuan_per_kwh: Cost of a kWh on a line, beta of Peng Eq. 8.
        derates: Most times that the AC check may tighten a line before the result stands as it is.
        curtail: Whether plants below a line that is full upwards feed in only what they sold.
    """

    transformer: Scaling = 100
    lines: Scaling = 100
    line: dict[str, Scaling] = Field(default_factory=dict)
    line_uyuan_per_kwh: Price = 0
    derates: Annotated[int, Field(ge=0, le=100)] = 10
    curtail: bool = True


class TraderConfig(_Table):
    """A member above the transformer, such as a neighbouring micro-grid; delivers what it trades.

    Attributes:
        buys_w: What it bids for.
        bid: Its bid, in percent of the way through the band.
        sells_w: What it asks for.
        ask: Its ask, likewise; above the bid.
    """

    buys_w: Watts = 0
    bid: Percent = 20
    sells_w: Watts = 0
    ask: Percent = 80

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.bid >= self.ask:
            raise ValueError(f"bid = {self.bid} is not below ask = {self.ask}")
        return self


class DeviationConfig(_Table):
    """How meters differ from their profile, see `oracle.meters.simulator`.

    Attributes:
        kind: `scale`, `scatter` or `silent`.
        meter: The meter; all if not given.
        first_hour: First hour of each day it acts in.
        last_hour: Last hour of each day it acts in.
        percent: For `scale`: energy in percent of the profile.
        spread: For `scatter`: most percent up or down, drawn by the seed.
    """

    kind: Literal["scale", "scatter", "silent"]
    meter: str | None = None
    first_hour: Annotated[int, Field(ge=0, le=23)] = 0
    last_hour: Annotated[int, Field(ge=0, le=23)] = 23
    percent: Scaling | None = None
    spread: Percent | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"scale": {"percent"}, "scatter": {"spread"}, "silent": set()}[self.kind]
        given = self.model_fields_set & {"percent", "spread"}
        if given != needed:
            raise ValueError(
                f"{self.kind} takes {', '.join(needed) or 'neither percent nor spread'}, this one "
                f"has {', '.join(sorted(given)) or 'none'}"
            )
        if self.first_hour > self.last_hour:
            raise ValueError(f"first_hour = {self.first_hour} is after last_hour")
        return self


class Scenario(_Table):
    """A market, who trades in it, and what happens.

    Attributes:
        grid: `rural1` or `rural3`.
        first_day: Day of the profiles to begin with, from 0.
        days: How many days.
        rule: How the market matches: `planned`, `uniform` or `pairwise`.
        seed: Decides every chance.
        forecast: `yesterday` for the same quarter hour a day before, `profile` for the profile.
        prices: The periods' prices.
        strategies: Who orders how.
        values: What a kWh is worth to whom.
        batteries: Batteries of the storages; none if left out.
        meters: Scaling of the profiles.
        wires: What the lines may carry.
        trader: A member above the transformer; none if left out.
        deviations: What the meters measure instead, one after the other.
    """

    grid: GridName
    first_day: Annotated[int, Field(ge=0)]
    days: Annotated[int, Field(ge=1)] = 1
    rule: Rule = Rule.UNIFORM
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    forecast: Literal["yesterday", "profile"] = "yesterday"
    prices: PricesConfig = PricesConfig()
    strategies: StrategiesConfig = StrategiesConfig()
    values: ValuesConfig = ValuesConfig()
    batteries: BatteriesConfig | None = None
    meters: MetersConfig = MetersConfig()
    wires: WiresConfig = WiresConfig()
    trader: TraderConfig | None = None
    deviations: tuple[DeviationConfig, ...] = ()

    @model_validator(mode="after")
    def _has_a_yesterday(self) -> Self:
        if self.forecast == "yesterday" and self.first_day == 0:
            raise ValueError(
                'first_day = 0 has no yesterday; begin later or set forecast = "profile"'
            )
        return self

    @property
    def rows(self) -> range:
        """Rows of the profiles that it plays, one a period."""
        first = self.first_day * PERIODS_PER_DAY
        return range(first, first + self.days * PERIODS_PER_DAY)


def load_scenario(path: Path, changes: Mapping[str, object] | None = None) -> Scenario:
    """Read a scenario.

    Args:
        path: The file.
        changes: Top-level keys that replace the file's.

    Raises:
        ScenarioError: If it cannot be read, or a key is missing, unknown or has a bad value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ScenarioError(
            f"{path} cannot be read ({exc.strerror}); data/scenarios has examples"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path} is not TOML: {exc}") from exc
    try:
        return Scenario.model_validate({**raw, **(changes or {})})
    except ValidationError as exc:
        raise ScenarioError(_explain(path, exc)) from exc


def _explain(path: Path, exc: ValidationError) -> str:
    """Write one line for each bad key."""
    lines = []
    for error in exc.errors():
        key = ".".join(str(part) for part in error["loc"]) or "the file"
        whole = isinstance(error["input"], dict)
        given = "" if whole or error["type"] == "missing" else f" = {error['input']!r}"
        what = _HINTS.get(error["type"], error["msg"].removeprefix("Value error, "))
        lines.append(f"{path}: {key}{given}: {what}")
    return "\n".join(lines)


_HINTS = {
    "missing": "is needed but missing; docs/scenarios.md has every key",
    "extra_forbidden": "is not a key of this table; docs/scenarios.md has every key",
    "model_type": "is no table; its keys stand under a heading of its own in brackets",
}
"""Kinds of bad keys that pydantic explains in words of its own."""
