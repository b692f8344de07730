"""Meters that misbehave on purpose, for demos and tests.

A `Simulator` stands between a source and its reader and lets faults act on the readings. What comes
out is checked against the roster again, as the readings of every source are. Script or seed decide
everything, so that two processes with the same faults see the same readings.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from oracle.meters.roster import Roster
from oracle.meters.source import MeterSource, Reading, Refusal


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a fault acts: a meter (None: all), periods from `first` to `last` (None: open)."""

    meter: str | None = None
    first: int | None = None
    last: int | None = None

    def holds(self, reading: Reading) -> bool:
        """Return whether the reading is in the scope."""
        return (
            self.meter in (None, reading.meter)
            and (self.first is None or self.first <= reading.period)
            and (self.last is None or reading.period <= self.last)
        )


class Fault(Protocol):
    """What can happen to a reading."""

    @property
    def scope(self) -> Scope:
        """Where the fault acts."""
        ...

    def apply(self, reading: Reading, /) -> tuple[int, int] | None:
        """Return import and export in Wh as the meter gives them now, None for silence."""
        ...


@dataclass(frozen=True, slots=True)
class Scale:
    """The meter moves `percent` of its energy, rounded down to the Wh."""

    scope: Scope
    percent: int

    def apply(self, reading: Reading, /) -> tuple[int, int]:
        """Return the scaled energies."""
        return reading.import_wh * self.percent // 100, reading.export_wh * self.percent // 100


@dataclass(frozen=True, slots=True)
class Scatter:
    """The meter moves 100 percent more or less a spread, drawn for each meter and period."""

    scope: Scope
    seed: int
    spread_percent: int

    def apply(self, reading: Reading, /) -> tuple[int, int]:
        """Return the energies by a factor that depends on seed, meter and period only."""
        # Seeding with text is the same in every process, unlike a hash.
        draw = random.Random(f"{self.seed}/{reading.meter}/{reading.period}")
        percent = 100 + draw.randint(-self.spread_percent, self.spread_percent)
        return Scale(self.scope, max(0, percent)).apply(reading)


@dataclass(frozen=True, slots=True)
class Silent:
    """The meter gives nothing."""

    scope: Scope

    def apply(self, _reading: Reading, /) -> None:
        """Return nothing."""


@dataclass(frozen=True, slots=True)
class Late:
    """The meter gives nothing before the UNIX time `available_at_s`, as `clock` tells it."""

    scope: Scope
    available_at_s: float
    clock: Callable[[], float] = time.time

    def apply(self, reading: Reading, /) -> tuple[int, int] | None:
        """Return the true energies once they are there."""
        late = self.clock() < self.available_at_s
        return None if late else (reading.import_wh, reading.export_wh)


@dataclass(frozen=True, slots=True)
class Lie:
    """The reader is told these energies instead of the true ones."""

    scope: Scope
    import_wh: int
    export_wh: int

    def apply(self, _reading: Reading, /) -> tuple[int, int]:
        """Return the untrue energies."""
        return self.import_wh, self.export_wh


class Simulator:
    """A meter source whose readings are those of another, after the faults in their order."""

    def __init__(
        self,
        base: MeterSource,
        roster: Roster,
        faults: Sequence[Fault] = (),
    ) -> None:
        """Wrap a source.

        Args:
            base: the source of the true readings.
            roster: the meters that may read.
            faults: applied one after the other where their scope holds.
        """
        self._base, self._roster, self._faults = base, roster, faults

    def read(self, period: int) -> Iterator[Reading | Refusal]:
        """Yield what is left of the base's answers; its refusals pass unchanged."""
        for answer in self._base.read(period):
            if isinstance(answer, Refusal):
                yield answer
            else:
                yield from self._through_faults(answer)

    def _through_faults(self, reading: Reading) -> Iterator[Reading | Refusal]:
        for fault in self._faults:
            if not fault.scope.holds(reading):
                continue
            energies = fault.apply(reading)
            if energies is None:
                return
            if energies == (reading.import_wh, reading.export_wh):
                continue
            where = f"{reading.source} after {type(fault).__name__.lower()}"
            answer = self._roster.admit(
                reading.meter, reading.period, *energies, where, reading.quality
            )
            if isinstance(answer, Refusal):
                yield answer
                return
            reading = answer
        yield reading
