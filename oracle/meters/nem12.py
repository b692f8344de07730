"""Back-fill from NEM12 files, the format of interval data of the Australian market.

Times are UTC+10 all year. Channels E count what a customer takes from the grid, channels B what is
fed into it; several of one letter are parts of a sum.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from oracle.meters.sample import (
    UNITS,
    Fidelity,
    Kind,
    ParseError,
    Register,
    Reject,
    Sample,
    energy_wh,
    identifier,
    whole_ms,
)

MARKET_TIME = timezone(timedelta(hours=10))

_REGISTERS = {"E": Register.IMPORT, "B": Register.EXPORT}
_UNITS = {unit.upper(): unit for unit in UNITS}
_LENGTHS_MIN = {5, 15, 30}
_QUALITIES = set("AEFNSV")
_FIELDS_BESIDE = 7
"""Fields of a record 300 beside its values."""
_MS_PER_MIN = 60_000


@dataclass(slots=True)
class _Day:
    """The intervals of a channel and day, until the records that qualify them are read."""

    meter: str
    register: Register
    unit: str
    start_ms: int
    length_ms: int
    values: list[str]
    qualities: list[str]


@dataclass(slots=True)
class _File:
    """What has been read so far: the channel under way, its last day, and the sums."""

    digest: bytes
    source: str
    channel: tuple[str, Register, str, int] | None = None
    day: _Day | None = None
    sums: dict[tuple[str, Register, int, int], tuple[int, Fidelity]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)


def read(raw: bytes, source: str) -> Iterator[Sample | Reject]:
    """Yield the intervals of a file, the channels of one direction added up.

    Args:
        raw: The file.
        source: Name of the source.

    Raises:
        ParseError: If it is no such file; nothing else is raised on any input.
    """
    try:
        rows = list(csv.reader(raw.decode("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ParseError(f"the file is no text of NEM12 ({exc})") from None
    rows = [row for row in rows if any(row)]
    if not rows or rows[0][:2] != ["100", "NEM12"]:
        raise ParseError("the file does not begin with a record 100,NEM12")
    file = _File(hashlib.sha256(raw).digest(), source)
    for number, row in enumerate(rows[1:], start=2):
        try:
            _record(file, row)
        except ParseError as exc:
            meter = exc.meter or (file.channel[0] if file.channel else None)
            file.rejects.append(Reject(exc.kind, source, f"record {number}: {exc}", meter))
    _end_day(file)
    yield from file.rejects
    for (meter, register, since_ms, at_ms), (value_wh, fidelity) in file.sums.items():
        yield Sample(meter, register, value_wh, at_ms, source, file.digest, since_ms, fidelity)


def _record(file: _File, row: list[str]) -> None:
    kind = row[0].strip()
    if kind == "400":
        _qualify(file, row)
        return
    if kind in ("500", "900"):
        return
    _end_day(file)
    if kind == "200":
        file.channel = None
        file.channel = _channel(row)
    elif kind == "300":
        file.day = _day(file, row)
    else:
        raise ParseError(f"{kind[:10]!r} is no record of NEM12")


def _channel(row: list[str]) -> tuple[str, Register, str, int] | None:
    """Return meter, register, unit and length in minutes; None for what is no energy."""
    if len(row) < 9:
        raise ParseError("a record 200 has 9 fields or more")
    register = _REGISTERS.get(row[4].strip()[:1].upper())
    unit = _UNITS.get(row[7].strip().upper())
    if register is None or unit is None:
        return None
    length_min = int(row[8]) if row[8].strip() in map(str, _LENGTHS_MIN) else 0
    if not length_min:
        raise ParseError(f"intervals last 5, 15 or 30 minutes, not {row[8][:10]!r}")
    return identifier(row[1]), register, unit, length_min


def _day(file: _File, row: list[str]) -> _Day | None:
    if file.channel is None:
        return None
    meter, register, unit, length_min = file.channel
    count = 1440 // length_min
    if len(row) < count + 3:
        raise ParseError(f"a day of {length_min} minutes has {count} values and a quality")
    date = row[1].strip()
    try:
        if len(date) != 8 or not date.isascii():
            raise ValueError
        start = datetime.strptime(date, "%Y%m%d").replace(tzinfo=MARKET_TIME)
    except ValueError:
        raise ParseError(f"{date[:20]!r} is no date") from None
    quality = row[count + 2].strip()[:1].upper()
    if quality not in _QUALITIES or any(row[count + _FIELDS_BESIDE :]):
        raise ParseError(f"a day of {length_min} minutes has no quality behind {count} values")
    start_ms, length_ms = whole_ms(start), length_min * _MS_PER_MIN
    values = [value.strip() for value in row[2 : count + 2]]
    return _Day(meter, register, unit, start_ms, length_ms, values, [quality] * count)


def _qualify(file: _File, row: list[str]) -> None:
    if file.channel is None:
        return
    if file.day is None:
        raise ParseError("a record 400 follows no day")
    first, last, *_ = (
        int(text) if text.isdecimal() and len(text) < 5 else 0 for text in (*row[1:3], "", "")
    )
    if len(row) < 4 or not 1 <= first <= last <= len(file.day.values):
        raise ParseError(f"a record 400 is of intervals 1 to {len(file.day.values)}")
    quality = row[3].strip()[:1].upper()
    file.day.qualities[first - 1 : last] = [quality] * (last - first + 1)


def _end_day(file: _File) -> None:
    """Add a day, whose qualities are now known, to the sums."""
    day, file.day = file.day, None
    if day is None:
        return
    for number, (value, quality) in enumerate(zip(day.values, day.qualities, strict=True)):
        if quality == "N":
            continue
        try:
            value_wh = energy_wh(value, day.unit)
        except ParseError as exc:
            why = f"interval {number + 1}: {exc}"
            file.rejects.append(Reject(Kind.MALFORMED, file.source, why, day.meter))
            continue
        since_ms = day.start_ms + number * day.length_ms
        key = (day.meter, day.register, since_ms, since_ms + day.length_ms)
        sum_wh, fidelity = file.sums.get(key, (0, Fidelity.MEASURED))
        own = Fidelity.MEASURED if quality == "A" else Fidelity.ESTIMATED
        file.sums[key] = sum_wh + value_wh, max(fidelity, own)
