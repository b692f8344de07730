"""Readings from a profile file: one row for each meter and step.

CSV, gzipped CSV or Parquet with the columns `meter`, `row` (0, 1, ... one for each period),
`import_wh` and `export_wh` (energy of that period in whole Wh); others are ignored. Steps are
counted, not dated: rows do not jump with the clock twice a year.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oracle.meters.roster import Roster, whole_number
from oracle.meters.source import Reading, Refusal, SourceError
from oracle.meters.tables import Row, read_table

COLUMNS = ("meter", "row", "import_wh", "export_wh")


@dataclass(frozen=True, slots=True)
class _Record:
    """A row whose meter and step are known; `spoilt` says what is wrong with the rest."""

    where: str
    meter: str
    import_wh: object
    export_wh: object
    spoilt: str | None


class ProfileSource:
    """Plays a profile file: its row `first_row` is period `first_period`, and so on."""

    def __init__(
        self, path: Path, roster: Roster, *, first_period: int = 0, first_row: int = 0
    ) -> None:
        """Read the whole file.

        Args:
            path: a file ending in `.csv`, `.csv.gz` or `.parquet`.
            roster: the meters that may read.
            first_period: period whose readings are those of `first_row`.
            first_row: row to start at; rows before it are never read.

        Raises:
            SourceError: the file cannot be read, is damaged, has no usable row, or a column is
                missing or in another unit.
        """
        self._path = path
        self._roster = roster
        self._first_period = first_period
        self._first_row = first_row
        self._steps: dict[int, list[_Record]] = {}
        self._strays: list[Refusal] = []
        for row in read_table(path, COLUMNS):
            self._sort(row)
        if not self._steps:
            why = f"has no usable row; {self._strays[0]}" if self._strays else "has no rows"
            raise SourceError(str(path), why, "Give a row for each meter and step")
        self._last_row = max(self._steps)
        # The meters this file speaks for; others of the roster belong to other sources.
        records = (record for step in self._steps.values() for record in step)
        self._meters = tuple(dict.fromkeys(r.meter for r in records if r.meter in roster))

    @property
    def strays(self) -> Sequence[Refusal]:
        """Rows that belong to no period, for they lack a usable meter or row."""
        return tuple(self._strays)

    def read(self, period: int) -> Iterator[Reading | Refusal]:
        """Yield the readings and refusals of a period; a meter without a row is a refusal too."""
        row = period - self._first_period + self._first_row
        records: dict[str, list[_Record]] = {meter: [] for meter in self._meters}
        if row >= self._first_row:
            for record in self._steps.get(row, ()):
                records.setdefault(record.meter, []).append(record)
        for meter, same in records.items():
            yield from self._judge(same, period, row) if same else [self._gap(meter, period, row)]

    def _sort(self, row: Row) -> None:
        """File a row under its step, or with the strays if it has none."""
        meter, step = row.cells.get("meter"), whole_number(row.cells.get("row"))
        if isinstance(meter, str) and meter and isinstance(step, int) and step >= 0:
            energies = row.cells.get("import_wh"), row.cells.get("export_wh")
            record = _Record(row.where, meter, *energies, row.spoilt)
            self._steps.setdefault(step, []).append(record)
            return
        if row.spoilt:
            why, fix = row.spoilt, "Restore the file or complete the row"
        elif not isinstance(meter, str) or not meter:
            why, fix = f"meter is {meter!r}, not an id", "Give the id of the meter as text"
        else:
            wrong = step if isinstance(step, str) else f"is negative: {step}"
            why, fix = f"row of meter {meter!r} {wrong}", "Count the rows of a meter 0, 1, 2, ..."
        self._strays.append(
            Refusal(meter if isinstance(meter, str) else None, None, row.where, why, fix)
        )

    def _gap(self, meter: str, period: int, row: int) -> Refusal:
        """Say that a meter has no row for a period, and what may have become of it."""
        last_period = self._first_period + self._last_row - self._first_row
        why = f"meter {meter!r} has no row {row} for period {period}"
        if self._strays:
            why += (
                f"; the file has {len(self._strays)} unusable rows, the first at {self._strays[0]}"
            )
        fix = f"Complete the file, it covers the periods {self._first_period} to {last_period}"
        return Refusal(meter, period, str(self._path), why, fix)

    def _judge(
        self, records: Sequence[_Record], period: int, row: int
    ) -> Iterator[Reading | Refusal]:
        """Yield what the rows of one meter and step come to."""
        meter = records[0].meter
        readings: list[Reading] = []
        for record in records:
            answer: Reading | Refusal
            if record.spoilt:
                why = f"meter {meter!r}, row {row}: {record.spoilt}"
                fix = "Restore the file or complete the row"
                answer = Refusal(meter, period, record.where, why, fix)
            else:
                answer = self._roster.admit(
                    meter, period, record.import_wh, record.export_wh, record.where
                )
            if isinstance(answer, Refusal):
                yield answer
            else:
                readings.append(answer)

        agree = len({(reading.import_wh, reading.export_wh) for reading in readings}) == 1
        if agree and len(readings) == len(records):
            first, *others = readings
            yield first
            for other in others:
                why = f"meter {meter!r} repeats its row {row} of {first.source}"
                fix = "Remove the repetition"
                yield Refusal(meter, period, other.source, why, fix, kept=True)
            return
        for reading in readings:
            why = f"meter {meter!r} has {len(records)} rows {row} that contradict each other"
            yield Refusal(meter, period, reading.source, why, "Keep the one that is true")
