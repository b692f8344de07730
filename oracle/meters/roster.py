"""Which meters exist and what they may read: here alone a raw value becomes a `Reading`."""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from eth_utils.crypto import keccak

from oracle.meters.source import Quality, Reading, Refusal, SourceError

MAX_ENERGY_WH = 2**40 - 1
"""The largest energy that fits a packed reading."""

COLUMNS = ("meter", "element", "bus", "role", "import_capacity_w", "export_capacity_w")

# ASCII digits only, and few enough that no text is worth a big-number conversion.
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0{0,18})?")


def capacity_wh_per_period(capacity_w: int, period_s: int) -> int:
    """Return the most energy a capacity can move in a period, in whole Wh rounded down.

    Args:
        capacity_w: capacity in W, at least 0.
        period_s: length of the period in seconds, at least 1.

    Raises:
        ValueError: an argument is out of range.
    """
    if capacity_w < 0 or period_s < 1:
        raise ValueError(
            f"capacity of {capacity_w} W over {period_s} s: give 0 W or more and 1 s or more"
        )
    return capacity_w * period_s // 3600


def meter_key(meter: str) -> bytes:
    """Return what the registry calls a meter: its id in UTF-8, or a hash if that is too long.

    Args:
        meter: id of the meter.

    Returns:
        32 bytes; a short id is padded with zeros, so that it can be read on chain.
    """
    text = meter.encode()
    return text.ljust(32, b"\0") if len(text) <= 32 else keccak(text)


class Role(StrEnum):
    """What stands behind a meter. Its capacities, not its role, bound its readings."""

    GENERATOR = "generator"
    CONSUMER = "consumer"
    PROSUMER = "prosumer"
    STORAGE = "storage"


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter: the grid element behind it, its bus, its role and its capacities in W."""

    meter: str
    element: str
    bus: int
    role: Role
    import_capacity_w: int
    export_capacity_w: int


class Roster(Mapping[str, Meter]):
    """The known meters by id, in the order of their file, for one length of period."""

    def __init__(self, meters: Iterable[Meter], period_s: int = 900) -> None:
        """Index the meters.

        Args:
            meters: the meters, ids unique.
            period_s: length of a period in seconds.

        Raises:
            ValueError: an id is there twice, or a capacity is negative or moves more than
                `MAX_ENERGY_WH` in a period.
        """
        self.period_s = period_s
        self._meters: dict[str, Meter] = {}
        self._limits_wh: dict[str, tuple[int, int]] = {}
        for meter in meters:
            if meter.meter in self._meters:
                raise ValueError(f"meter {meter.meter!r} is there twice: keep one of each id")
            limits_wh = (
                capacity_wh_per_period(meter.import_capacity_w, period_s),
                capacity_wh_per_period(meter.export_capacity_w, period_s),
            )
            if max(limits_wh) > MAX_ENERGY_WH:
                raise ValueError(
                    f"meter {meter.meter!r} can move {max(limits_wh)} Wh in a period, "
                    f"a report holds at most {MAX_ENERGY_WH} Wh"
                )
            self._meters[meter.meter] = meter
            self._limits_wh[meter.meter] = limits_wh

    def __getitem__(self, meter: str) -> Meter:
        """Return a meter by its id."""
        return self._meters[meter]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids in the order of the roster."""
        return iter(self._meters)

    def __len__(self) -> int:
        """Return the number of meters."""
        return len(self._meters)

    def admit(
        self,
        meter: str,
        period: int,
        import_wh: object,
        export_wh: object,
        where: str,
        quality: Quality = Quality.MEASURED,
    ) -> Reading | Refusal:
        """Check raw values and make them a reading, or a refusal that says why not.

        Args:
            meter: id of the meter as the source has it.
            period: index of the trading interval.
            import_wh: energy taken from the grid: a whole number as int, float or text.
            export_wh: energy fed into the grid, likewise.
            where: file and line, topic or register, for provenance.
            quality: how the values came about.
        """
        if meter not in self._meters:
            why = f"meter {meter!r} is not in the roster"
            return Refusal(meter, period, where, why, "Correct the id or admit the meter")
        energies_wh: list[int] = []
        for name, value, limit_wh in zip(
            ("import_wh", "export_wh"), (import_wh, export_wh), self._limits_wh[meter], strict=True
        ):
            energy_wh = whole_number(value)
            if isinstance(energy_wh, str):
                why = f"{name} of meter {meter!r} {energy_wh}"
                fix = "Give the energy of the period in whole Wh"
            elif energy_wh < 0:
                why = f"{name} of meter {meter!r} is negative: {energy_wh}"
                fix = "Both directions count upwards from 0; put the energy into the other column"
            elif energy_wh > limit_wh:
                why = (
                    f"{name} of meter {meter!r} is {energy_wh} Wh, "
                    f"its capacity allows {limit_wh} Wh in {self.period_s} s"
                )
                fix = "Check the unit (Wh, not W or mWh) or correct the capacity in the roster"
            else:
                energies_wh.append(energy_wh)
                continue
            return Refusal(meter, period, where, why, fix)
        return Reading(meter, period, energies_wh[0], energies_wh[1], quality, where)


def load_roster(path: Path, period_s: int = 900) -> Roster:
    """Read a roster from a CSV file with the columns `COLUMNS`.

    Args:
        path: the file.
        period_s: length of a period in seconds.

    Raises:
        SourceError: the file cannot be read, lacks a column or has a bad row; names file, line
            and column.
    """
    meters: dict[str, Meter] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            for column in COLUMNS:
                if column not in (rows.fieldnames or ()):
                    fix = f"A roster has the columns {', '.join(COLUMNS)}"
                    raise SourceError(f"{path}:1", f"column {column!r} is missing", fix)
            for row in rows:
                where = f"{path}:{rows.line_num}"
                meter = _meter(row, where)
                if meter.meter in meters:
                    why = f"meter {meter.meter!r} is there twice"
                    raise SourceError(where, why, "Keep one row for each meter")
                meters[meter.meter] = meter
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fix = "Give a CSV file in UTF-8"
        raise SourceError(str(path), f"cannot be read ({error})", fix) from error
    if not meters:
        raise SourceError(str(path), "has no meters", "Give a row for each meter")
    try:
        return Roster(meters.values(), period_s)
    except ValueError as error:
        raise SourceError(str(path), str(error), "Correct the capacity") from error


def _meter(row: dict[str | None, str | None], where: str) -> Meter:
    """Return the meter of one CSV row; a short row has None where cells are missing."""
    numbers: dict[str, int] = {}
    for column in ("bus", "import_capacity_w", "export_capacity_w"):
        value = whole_number(row[column])
        if isinstance(value, str) or value < 0:
            said = value if isinstance(value, str) else f"is negative: {value}"
            raise SourceError(where, f"{column} {said}", "Give a whole number of 0 or more")
        numbers[column] = value
    if not row["meter"]:
        raise SourceError(where, "meter is empty", "Give the id of the meter")
    try:
        role = Role(row["role"] or "")
    except ValueError as error:
        why = f"role {row['role']!r} is unknown"
        raise SourceError(where, why, f"Use one of {', '.join(Role)}") from error
    return Meter(row["meter"], row["element"] or "", role=role, **numbers)


def whole_number(value: object) -> int | str:
    """Return a raw value as an int, or what is wrong with it as the rest of a sentence."""
    if isinstance(value, str):
        text = value.strip()
        if _WHOLE.fullmatch(text):
            return int(text.partition(".")[0])
        if text.lower() == "nan":
            return "is NaN"
        return f"is {text[:40]!r}, not a whole number" if text else "is empty"
    if value is None:
        return "is empty"
    if isinstance(value, float):
        if math.isnan(value):
            return "is NaN"
        # Beyond 2^53 a float has lost whole numbers.
        if math.isinf(value) or not value.is_integer() or abs(value) > 2**53:
            return f"is {value!r}, not a whole number"
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return f"is of type {type(value).__name__}, not a number"
