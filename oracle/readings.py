"""What this node knows of the meters: read, journalled, and completed by profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from market.forecast import DAY_S, periods_per_day
from market.types import MeterReading, Quality
from oracle import log
from oracle.journal import Journal
from oracle.meters.roster import Roster, meter_key
from oracle.meters.source import MeterSource, Reading, Refusal, SourceError

WEEK_S = 7 * DAY_S

SHOWN_REFUSALS = 5
"""Refusals of a period that are spelled out; a broker that is away would otherwise fill the log."""

Energies = tuple[int, int]
"""Import and export, Wh."""


class OwnReadings:
    """The readings of one node's meters."""

    def __init__(
        self, journal: Journal, source: MeterSource, roster: Roster, clock: Callable[[], int]
    ) -> None:
        """Read a source into a journal.

        Args:
            journal: Where readings are kept before anything is made of them.
            source: What the meters tell.
            roster: The meters.
            clock: Tells chain time, Unix seconds.
        """
        self._journal, self._source, self._clock = journal, source, clock
        self._roster = roster
        self._meter_of = {meter_key(meter): meter for meter in roster}
        self._periods_per_week = WEEK_S // roster.period_s
        self._periods_per_day = periods_per_day(roster.period_s)
        self._measured: dict[int, dict[str, Energies]] = {}
        self._opinions: dict[int, tuple[int, Mapping[int, MeterReading]]] = {}
        self._looked_back: set[int] = set()
        self._told: dict[int, set[str]] = {}

    def collect(self, period: int, *, tell: bool = True) -> None:
        """Ask the source for a closed period, and journal what is new or changed.

        Args:
            period: The period.
            tell: Whether to log what is refused.
        """
        known = self.measured(period)
        fresh = [
            reading
            for reading in self._read(period, tell=tell)
            if known.get(reading.meter) != (reading.import_wh, reading.export_wh)
        ]
        if not fresh:
            return
        self._journal.add_readings(fresh, self._clock())
        known.update({r.meter: (r.import_wh, r.export_wh) for r in fresh})
        for changed in (period, period + self._periods_per_week):
            self._opinions.pop(changed, None)
        log.debug("read", period=period, readings=len(fresh))

    def measured(self, period: int) -> dict[str, Energies]:
        """Return the journalled readings of a period by meter."""
        if period not in self._measured:
            self._measured[period] = self._journal.readings(period)
        return self._measured[period]

    def is_complete(self, period: int, meters: Mapping[int, bytes]) -> bool:
        """Return whether every meter of the roster that measures a node has been read."""
        known = self.measured(period)
        return all(self._meter_of[key] in known for key in meters.values() if key in self._meter_of)

    def opinion(self, period: int, meters: Mapping[int, bytes]) -> Mapping[int, MeterReading]:
        """Return what this node would report: readings, profiles for silent meters, or nothing.

        Args:
            period: A closed period.
            meters: The registry's meters by node.
        """
        made_for, made = self._opinions.get(period, (-1, {}))
        if made_for == len(meters):
            return made
        known = self.measured(period)
        opinion = {}
        for node, key in meters.items():
            meter = self._meter_of.get(key)
            if meter is None:
                continue
            if meter in known:
                import_wh, export_wh = known[meter]
                opinion[node] = MeterReading(node, Quality.MEASURED, export_wh, import_wh)
            elif (substitute := self.substitute(period, node, key)) is not None:
                opinion[node] = substitute
        self._opinions[period] = len(meters), opinion
        return opinion

    def substitute(self, period: int, node: int, key: bytes) -> MeterReading | None:
        """Return the profile value of a silent meter: what it read a week before, if anything.

        Args:
            period: A closed period.
            node: The node.
            key: Its meter in the registry.
        """
        meter, earlier = self._meter_of.get(key), period - self._periods_per_week
        if meter is None or earlier < 0:
            return None
        energies = self._past(earlier).get(meter)
        if energies is None:
            return None
        import_wh, export_wh = energies
        return MeterReading(node, Quality.SUBSTITUTED, export_wh, import_wh)

    def day_before(self, period: int) -> Mapping[str, Energies]:
        """Return the persistence forecast of a period: what each meter read a day before.

        A meter without such a reading is left out; nothing is expected of it.
        """
        earlier = period - self._periods_per_day
        return {} if earlier < 0 else self._past(earlier)

    def meter_names(self, meters: Mapping[int, bytes]) -> Mapping[int, str]:
        """Return the roster's meters by node.

        Args:
            meters: The registry's meters by node.
        """
        return {n: self._meter_of[key] for n, key in meters.items() if key in self._meter_of}

    def forget(self, before: int) -> None:
        """Drop periods before one from memory, but for a week before it; the journal keeps them."""
        week = self._periods_per_week
        caches: tuple[dict[int, Any], ...] = (self._measured, self._opinions)
        for cache in caches:
            latest = max(cache, default=before)
            for period in [p for p in cache if p < before - week or latest - week < p < before]:
                del cache[period]
        self._looked_back &= self._measured.keys()
        self._told = {period: told for period, told in self._told.items() if period >= before}

    def _past(self, period: int) -> Mapping[str, Energies]:
        """Return what was read of an earlier period; this node may not have been there then."""
        known = self.measured(period)
        if period not in self._looked_back:
            self._looked_back.add(period)
            if len(known) < len(self._roster):
                self.collect(period, tell=False)
        return known

    def _read(self, period: int, *, tell: bool) -> list[Reading]:
        """Return the source's good readings, and tell what it refuses."""
        readings, refusals = [], []
        try:
            for answer in self._source.read(period):
                if isinstance(answer, Reading):
                    readings.append(answer)
                else:
                    refusals.append(answer)
        except SourceError as exc:
            log.error("meters failed", period=period, problem=exc)
        if tell and refusals:
            self._tell(period, refusals)
        return readings

    def _tell(self, period: int, refusals: list[Refusal]) -> None:
        """Tell the first refusals of a period, each once, and how many more there are, once."""
        told = self._told.setdefault(period, set())
        if len(told) > SHOWN_REFUSALS:
            return
        fresh = [refusal for refusal in refusals if str(refusal) not in told]
        shown = fresh[: SHOWN_REFUSALS - len(told)]
        for refusal in shown:
            told.add(str(refusal))
            log.warning("reading refused", period=refusal.period, problem=refusal)
        if len(fresh) > len(shown):
            told.add("more")
            log.warning("more readings refused", period=period, more=len(fresh) - len(shown))
