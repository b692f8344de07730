"""What every meter source has in common: readings, refusals and one question.

The oracle asks a source for a closed period and gets an answer per meter, good or bad. A bad
reading is a `Refusal`, a value and not an exception, so that it never stops the readings of others.
Only a source that cannot answer at all raises `SourceError`.

A profile file, a Modbus register that is polled and an MQTT topic that pushes all fit: whatever
runs behind a source (a subscription, the differencing of a cumulative register) ends in energies
per period, and `read` tells what is known of one period at the time of the call.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Quality(IntEnum):
    """How a reading came about. The values are those of the packed report."""

    MEASURED = 0
    SUBSTITUTED = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """The energy of one meter in one period, checked against the roster.

    `import_wh` is taken from the grid, `export_wh` fed into it; both are at least 0 and at most the
    capacity of the meter. `source` says where the reading comes from (file and line, topic).
    """

    meter: str
    period: int
    import_wh: int
    export_wh: int
    quality: Quality
    source: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reading that was not accepted: where it stood, why it was refused and what to do about it.

    `meter` and `period` are None where the source does not tell them. `kept` says that another,
    good reading of the same meter and period stands.
    """

    meter: str | None
    period: int | None
    where: str
    why: str
    fix: str
    kept: bool = False

    def __str__(self) -> str:
        """Return the refusal as one line for a log."""
        return f"{self.where}: {self.why}. {self.fix}"


class MeterSource(Protocol):
    """A source of meter readings."""

    def read(self, period: int) -> Iterator[Reading | Refusal]:
        """Yield what is known now of a closed period, at most one reading per meter.

        Asking again has no side effect: it yields the same, and what arrived in between. The caller
        journals the readings and tells new ones and corrected ones from those it has.

        Args:
            period: index of the trading interval.

        Raises:
            SourceError: the source as a whole cannot answer; other sources are not affected.
        """
        ...


class SourceError(Exception):
    """A source as a whole cannot be used: says where, what is wrong and what to do."""

    def __init__(self, where: str, why: str, fix: str) -> None:
        """Keep the three parts apart for callers that show them in columns."""
        self.where, self.why, self.fix = where, why, fix
        super().__init__(f"{where}: {why}. {fix}")
