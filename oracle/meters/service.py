"""Live meters as the oracle asks for them: the reading of a meter in a period, from its samples."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from oracle import log
from oracle.meters.curve import Curve, Energy, Facts
from oracle.meters.gate import Gate
from oracle.meters.intake import RETRY_S, Intake
from oracle.meters.registers import intervals, registers
from oracle.meters.roster import Roster
from oracle.meters.sample import Register, Source
from oracle.meters.settings import LiveConfig
from oracle.meters.source import Quality, Reading, Refusal, SourceError
from oracle.meters.store import SampleStore

KEPT_PERIODS = 16
KEPT_ANSWERS = 100_000
"""Periods whose answers are kept at least, and how many answers: asking again costs little."""

MARGIN = 2
"""A register may outrun the capacity in the roster this many times before a step is refused."""

Answer = Reading | Refusal


@dataclass(slots=True)
class _Known:
    """What was answered for a period, and how many samples there were then."""

    until: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)


class MeterService:
    """Runs sources into a store and reckons readings from it; a `MeterSource` of the oracle."""

    def __init__(
        self,
        config: LiveConfig,
        roster: Roster,
        epoch_s: int,
        sources: Callable[[LiveConfig, Gate], Sequence[Source]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the store.

        Args:
            config: The live meters.
            roster: The meters that may read.
            epoch_s: Start of period 0, Unix seconds.
            sources: Makes the sources of the configuration.
            clock: Tells Unix seconds.

        Raises:
            SourceError: If store, sources or meters cannot be used.
        """
        self._config, self._roster, self._epoch_ms = config, roster, 1000 * epoch_s
        self._length_ms = 1000 * roster.period_s
        try:
            facts = config.facts()
            self.gate = Gate(roster, facts, clock, 1000 * config.clock_tolerance_s)
        except ValueError as exc:
            fix = "Correct it under [meters.live]"
            raise SourceError("meters.live", str(exc), fix) from exc
        self._sources = sources(config, self.gate)
        self._store = SampleStore(config.store)
        self.intake = Intake(SampleStore(config.store), self.gate, clock)
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._kept = max(KEPT_PERIODS, KEPT_ANSWERS // max(1, len(roster)))
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(source,), name=source.name, daemon=True)
            for source in self._sources
        ]

    def start(self) -> None:
        """Begin to take samples."""
        self.intake.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Hang up and make durable what has arrived."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.intake.stop()

    def read(self, period: int) -> Iterator[Answer]:
        """Yield a reading or refusal of each meter that has ever sent something near a period."""
        known = self._known.setdefault(period, _Known())
        self._known.move_to_end(period)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)
        last = self._store.last()
        start_ms = self._epoch_ms + period * self._length_ms
        if known.until == 0:
            affected = list(self._roster)
        else:
            # A new sample moves edges as far away as a gap is bridged.
            reach_ms = 1000 * self._config.bridge_s + self._length_ms
            affected = [
                change.meter
                for change in self._store.changes(known.until, last)
                if change.first_ms <= start_ms + self._length_ms + reach_ms
                and change.last_ms >= start_ms - reach_ms
                and change.meter in self._roster
            ]
        for meter in affected:
            known.answers[meter] = self._answer(meter, period, start_ms)
        known.until = last
        yield from known.answers.values()

    def _answer(self, meter: str, period: int, start_ms: int) -> Answer:
        """Return the reading of a meter, or why there is none."""
        energies: dict[Register, Energy] = {}
        for register in Register:
            found = self._energy(meter, register, start_ms)
            if isinstance(found, str):
                why = f"register {register.obis} of meter {meter!r} {found}"
                fix = "It is read as soon as its samples are there"
                return Refusal(meter, period, str(self._config.store), why, fix)
            energies[register] = found
        rules = sorted(set().union(*(energy.rules for energy in energies.values())))
        where = "; ".join(["samples", *rules])
        return self._roster.admit(
            meter,
            period,
            energies[Register.IMPORT].wh,
            energies[Register.EXPORT].wh,
            where,
            Quality.MEASURED,
        )

    def _energy(self, meter: str, register: Register, start_ms: int) -> Energy | str:
        end_ms = start_ms + self._length_ms
        limit_w = (
            self._roster[meter].import_capacity_w
            if register is Register.IMPORT
            else self._roster[meter].export_capacity_w
        )
        declared = self.gate.facts.get(meter)
        facts = Facts(
            MARGIN * limit_w,
            modulus_wh=declared.modulus_wh if declared else None,
            exchanges=(declared.exchanges or {}).get(register, ()) if declared else (),
        )
        curve = registers(
            self._store.window(meter, register, start_ms, end_ms, cumulative=True), facts
        )
        found = self._judged(curve, start_ms, end_ms)
        if not isinstance(found, str):
            return found
        filled = intervals(self._store.window(meter, register, start_ms, end_ms, cumulative=False))
        if filled.segments:
            return self._judged(filled, start_ms, end_ms)
        if not curve.segments and limit_w == 0:
            return Energy(0, frozenset(), 0)
        return found

    def _judged(self, curve: Curve, start_ms: int, end_ms: int) -> Energy | str:
        usual_s = self._config.usual_gap_s or self._roster.period_s
        found = curve.energy(start_ms, end_ms, 1000 * usual_s)
        if isinstance(found, Energy) and found.gap_ms > 1000 * self._config.bridge_s:
            return (
                f"has a gap of {found.gap_ms // 1000} s at an edge, more than the "
                f"{self._config.bridge_s} s that are bridged"
            )
        return found

    def _run(self, source: Source) -> None:
        """Run a source; one that fails in a way nobody expected is run again."""
        while not self._stop.is_set():
            try:
                source.run(self.intake, self._stop)
            except Exception as exc:  # one source must not end the others
                log.trace("source failed", source=source.name, problem=exc)
                self._stop.wait(RETRY_S)
