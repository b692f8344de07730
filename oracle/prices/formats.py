"""Prices in bytes from outside, hostile until a parser has bounded them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, NoReturn

from market.prices import UINT32_MAX, PriceError, TradingPrices
from market.schedule import Schedule
from oracle.meters.messages import value_at
from oracle.meters.sample import ParseError, instant_ms
from oracle.prices.settings import HttpPrices, SpotPrices

MOST_BYTES = 2 * 1024 * 1024
"""Largest file or answer that is parsed: 35,040 periods, a year of quarter hours, as CSV."""

PRICES = ("selling_uyuan_per_kwh", "planned_uyuan_per_kwh", "compensation_uyuan_per_kwh")
COLUMNS = ("period", *PRICES)

_WHOLE = re.compile(r"-?[0-9]{1,12}")
_NUMBERS = Context(prec=40, traps=[InvalidOperation])
_MOST_DIGITS = 15
_MOST_CHARS = 64


class FeedError(Exception):
    """Prices cannot be got or are none; the message says where and what is expected."""


@dataclass(frozen=True, slots=True)
class PriceData:
    """What a file or an answer holds.

    Attributes:
        prices: The three prices of each period it knows.
        published_s: When it was published, Unix seconds; None if it does not tell.
    """

    prices: Mapping[int, TradingPrices]
    published_s: int | None = None


Parser = Callable[[bytes], PriceData]
"""Reads prices; raises `FeedError`, and nothing else, on any input."""


def parser(config: HttpPrices, schedule: Schedule) -> Parser:
    """Return what reads the answers of a feed."""
    if config.format == "csv":
        return lambda raw: read_csv(raw, "the answer")
    spot = config.spot
    if spot is not None:
        return lambda raw: read_spot(raw, spot, schedule)
    return lambda raw: read_json(raw, schedule)


def read_csv(raw: bytes, name: str) -> PriceData:
    """Read rows of `COLUMNS`.

    Args:
        raw: The bytes.
        name: What to call them.

    Raises:
        FeedError: If anything in them is no price; names line and column.
    """
    table = _Table()
    try:
        text = _bounded(raw, name).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        missing = [c for c in COLUMNS if c not in (rows.fieldnames or ())]
        if missing:
            raise FeedError(f"{name}:1: column {missing[0]!r} is missing; give {COLUMNS}")
        if not text.endswith(("\n", "\r")):
            raise FeedError(f"{name}: the last line has no line end; the file may be cut")
        for row in rows:
            where = f"{name}:{rows.line_num}"
            period, *prices = (_whole(row[column], f"{where}: {column}") for column in COLUMNS)
            table.add(period, prices, where)
    except (UnicodeDecodeError, csv.Error) as exc:
        raise FeedError(f"{name} cannot be read ({exc}); give a CSV file in UTF-8") from exc
    return PriceData(table.prices)


def read_json(raw: bytes, schedule: Schedule) -> PriceData:
    """Read `{"published": time, "prices": [{"period" or "start": ..., the three prices}, ...]}`.

    Raises:
        FeedError: If it is not that; names the entry and the key.
    """
    message = _json(raw)
    entries = message.get("prices") if isinstance(message, dict) else None
    if not isinstance(entries, list):
        raise FeedError("the answer has no list 'prices'; docs/prices.md shows one")
    table = _Table()
    for number, entry in enumerate(entries):
        where = f"prices.{number}"
        if not isinstance(entry, dict):
            raise FeedError(f"{where} is no object; docs/prices.md shows one")
        if ("period" in entry) == ("start" in entry):
            raise FeedError(f"{where}: give one of 'period' and 'start'")
        prices = [entry.get(name) for name in PRICES]
        if "period" in entry:
            table.add(entry["period"], prices, where)
            continue
        away_s = _instant_s(entry["start"], "iso", f"{where}.start") - schedule.epoch_s
        if away_s % schedule.length_s:
            raise FeedError(f"{where}.start is {entry['start']!r}, when no period begins")
        # A feed may begin before the market.
        if away_s >= 0:
            table.add(away_s // schedule.length_s, prices, where)
    published = message.get("published")
    return PriceData(
        table.prices, None if published is None else _instant_s(published, "iso", "published")
    )


def read_spot(raw: bytes, spot: SpotPrices, schedule: Schedule) -> PriceData:
    """Read one price an interval; a period has that of the interval it begins in.

    Raises:
        FeedError: If an interval has no time or no price; names the entry.
    """
    entries = _value(_json(raw), spot.list, "the answer")
    if not isinstance(entries, list):
        raise FeedError(
            f"{spot.list or 'the answer'} is no list of intervals; see prices.spot.list"
        )
    length_s = spot.interval_s or schedule.length_s
    table = _Table()
    for number, entry in enumerate(entries):
        where = f"{spot.list}.{number}".strip(".")
        price = _value(entry, spot.price, where)
        # Some feeds list what they do not know yet.
        if price is None:
            continue
        prices = _by_rule(price, spot, f"{where}.{spot.price}")
        start_s = _instant_s(_value(entry, spot.start, where), spot.start_unit, where)
        since_s = start_s - schedule.epoch_s
        for period in range(
            max(0, -(-since_s // schedule.length_s)), -(-(since_s + length_s) // schedule.length_s)
        ):
            table.add(period, prices, where)
    return PriceData(table.prices)


class _Table:
    """Prices by period, each checked as it comes."""

    def __init__(self) -> None:
        self.prices: dict[int, TradingPrices] = {}

    def add(self, period: object, prices: Sequence[object], where: str) -> None:
        """Take the prices of a period.

        Raises:
            FeedError: If something is no whole number in range, or the period is there twice.
        """
        if type(period) is not int or not 0 <= period <= UINT32_MAX:
            raise FeedError(f"{where}: period is {_short(period)}; give a whole number from 0")
        if period in self.prices:
            raise FeedError(f"{where}: period {period} is there twice; keep one row")
        for name, price in zip(PRICES, prices, strict=True):
            if type(price) is not int:
                raise FeedError(f"{where}: {name} is {_short(price)}; give a whole number")
        try:
            self.prices[period] = TradingPrices(*prices)  # type: ignore[arg-type]
        except PriceError as exc:
            raise FeedError(f"{where}: {exc}") from exc


def _by_rule(price: object, spot: SpotPrices, where: str) -> list[int]:
    """Return the three prices that one price stands for; below 0 nothing is paid."""
    factor = Decimal(str(spot.uyuan_per_unit))
    scaled = (_decimal(price, where) * factor).to_integral_value(ROUND_HALF_EVEN)
    planned = max(0, int(scaled) + spot.offset_uyuan_per_kwh)
    return [
        planned * spot.selling_percent // 100,
        planned,
        planned * spot.compensation_percent // 100,
    ]


def _decimal(value: object, where: str) -> Decimal:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if len(text) <= _MOST_CHARS:
        try:
            number = _NUMBERS.create_decimal(text.strip())
        except InvalidOperation:
            number = Decimal("NaN")
        # A huge exponent is refused before anything is multiplied out.
        if number.is_finite() and number.adjusted() <= _MOST_DIGITS:
            return number
    raise FeedError(f"{where} is {_short(value)}; give a number")


def _whole(text: str | None, where: str) -> int:
    if text is None or not _WHOLE.fullmatch(text.strip()):
        raise FeedError(f"{where} is {_short(text)}; give a whole number")
    return int(text)


def _json(raw: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(_bounded(raw, "the answer"), parse_float=str, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise FeedError("the answer is not JSON") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _bounded(raw: bytes, name: str) -> bytes:
    if len(raw) > MOST_BYTES:
        raise FeedError(
            f"{name} has {len(raw)} bytes, more than {MOST_BYTES}; keep to what is ahead"
        )
    return raw


def _value(message: object, path: str, where: str) -> object:
    try:
        return value_at(message, path)
    except ParseError:
        raise FeedError(f"{where} has no {path!r}") from None


def _instant_s(value: object, unit: str, where: str) -> int:
    try:
        return instant_ms(value, unit) // 1000
    except ParseError as exc:
        raise FeedError(f"{where}: {exc}") from None


def _short(value: object) -> str:
    """Return a value for a message, whatever it is."""
    text = repr(value) if isinstance(value, str | int | None) else type(value).__name__
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."
