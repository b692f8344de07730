"""Back-fill from any CSV file, by a declared mapping of its columns."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from oracle.meters.sample import (
    Kind,
    ParseError,
    Register,
    Reject,
    Sample,
    energy_wh,
    identifier,
    instant_ms,
)
from oracle.meters.settings import Direction, Table, Unit


class Column(Table):
    """A column of energies.

    Attributes:
        column: Its title.
        direction: `import` or `export`.
        unit: Its unit.
    """

    column: str
    direction: Direction
    unit: Unit


class CsvMapping(Table):
    """What the columns of a file mean.

    Attributes:
        meter_column: Column with the id of the meter.
        meter: Or the meter that the whole file is of.
        time_column: Column with the time.
        time_unit: `s` or `ms` since 1970, or `iso` with an offset from UTC.
        energies: Columns of energies; empty cells are left out.
        interval_s: Length of the intervals; without one, values are states of registers.
        time_is: Whether the time is the `start` or the `end` of an interval.
        delimiter: Between two cells.
        decimal_comma: Whether numbers have a comma, as in `1,5`.
    """

    meter_column: str | None = None
    meter: str | None = None
    time_column: str
    time_unit: Literal["s", "ms", "iso"] = "iso"
    energies: Annotated[tuple[Column, ...], Field(min_length=1)]
    interval_s: PositiveInt | None = None
    time_is: Literal["start", "end"] = "start"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal_comma: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> CsvMapping:
        if (self.meter is None) == (self.meter_column is None):
            raise ValueError("give either meter or meter_column")
        return self


def read(raw: bytes, source: str, mapping: CsvMapping) -> Iterator[Sample | Reject]:
    """Yield the values of a file.

    Args:
        raw: The file.
        source: Name of the source.
        mapping: What its columns mean.

    Raises:
        ParseError: If the file has not these columns; nothing else is raised on any input.
    """
    digest = hashlib.sha256(raw).digest()
    try:
        text = io.StringIO(raw.decode("utf-8-sig"), newline="")
        rows = csv.DictReader(text, delimiter=mapping.delimiter)
        wanted = [mapping.time_column, *(energy.column for energy in mapping.energies)]
        if mapping.meter_column is not None:
            wanted.append(mapping.meter_column)
        for column in wanted:
            if column not in (rows.fieldnames or ()):
                raise ParseError(f"the file has no column {column!r}; correct the mapping")
        for row in rows:
            try:
                yield from _samples(row, mapping, source, digest)
            except ParseError as exc:
                why = f"line {rows.line_num}: {exc}"
                yield Reject(exc.kind, source, why, exc.meter)
    except UnicodeDecodeError as exc:
        raise ParseError(f"the file is not UTF-8 at byte {exc.start}") from None
    except csv.Error as exc:
        raise ParseError(f"the file is no CSV ({exc})", Kind.MALFORMED) from None


def _samples(
    row: dict[str, str | None], mapping: CsvMapping, source: str, digest: bytes
) -> Iterator[Sample]:
    meter = identifier(row[mapping.meter_column] if mapping.meter_column else mapping.meter)
    since_ms = None
    try:
        at_ms = instant_ms(row[mapping.time_column], mapping.time_unit)
        if mapping.interval_s is not None:
            length_ms = 1000 * mapping.interval_s
            since_ms = at_ms if mapping.time_is == "start" else at_ms - length_ms
            at_ms = since_ms + length_ms
        if since_ms is not None and since_ms < 0:
            raise ParseError("the interval begins before 1970")
        for energy in mapping.energies:
            cell = (row[energy.column] or "").strip()
            if not cell:
                continue
            number = cell.replace(",", ".") if mapping.decimal_comma else cell
            value_wh = energy_wh(number, energy.unit)
            register = Register[energy.direction.upper()]
            yield Sample(meter, register, value_wh, at_ms, source, digest, since_ms)
    except ParseError as exc:
        exc.meter = meter
        raise
