"""What is believed of what arrives: known meters, signed where a key is registered, in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from oracle.meters.curve import Exchange
from oracle.meters.roster import Roster
from oracle.meters.sample import Delivery, Kind, Register, Reject, Sample

CLOCK_TOLERANCE_MS = 120_000
"""How far a meter's clock may be ahead of ours by default."""


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """What the operator declares of a meter beyond the roster.

    Attributes:
        meter: Its id in the roster.
        ids: Other names that sources give it, such as serial numbers.
        key: Public key in hex; with one only signed samples are believed.
        modulus_wh: State at which its registers start again from 0.
        exchanges: Replacements of the device by register.
    """

    meter: str
    ids: tuple[str, ...] = ()
    key: str | None = None
    modulus_wh: int | None = None
    exchanges: Mapping[Register, tuple[Exchange, ...]] | None = None


class Gate:
    """Names samples by the roster and refuses those that must not be believed."""

    def __init__(
        self,
        roster: Roster,
        facts: Iterable[MeterFacts],
        clock: Callable[[], float],
        tolerance_ms: int = CLOCK_TOLERANCE_MS,
    ) -> None:
        """Index the meters.

        Args:
            roster: The meters that may read.
            facts: What is declared of some of them.
            clock: Tells Unix seconds; not the chain's, which may stand still.
            tolerance_ms: How far a sample may be ahead of it.

        Raises:
            ValueError: If facts name an unknown meter, or one name stands for two meters.
        """
        self.roster = roster
        self.facts = {fact.meter: fact for fact in facts}
        self._clock, self._tolerance_ms = clock, tolerance_ms
        self._names = {meter: meter for meter in roster}
        for fact in self.facts.values():
            if fact.meter not in roster:
                raise ValueError(f"meter {fact.meter!r} is not in the roster; correct its id")
            for name in fact.ids:
                if self._names.setdefault(name, fact.meter) != fact.meter:
                    raise ValueError(
                        f"{name!r} names both {self._names[name]!r} and {fact.meter!r}; "
                        "give it to one of them"
                    )

    def meter(self, name: str) -> str | None:
        """Return the meter that a source calls by a name, if there is one."""
        return self._names.get(name)

    def key(self, name: str) -> str | None:
        """Return the registered key of the meter that a source calls by a name."""
        fact = self.facts.get(self._names.get(name, ""))
        return fact.key if fact else None

    def judge(self, delivery: Delivery) -> tuple[list[Sample], list[Reject]]:
        """Return what of a delivery is believed, named by the roster, and what is not."""
        believed, rejects = [], list(delivery.rejects)
        for sample in delivery.samples:
            verdict = self._judge(sample)
            if isinstance(verdict, Sample):
                believed.append(verdict)
            else:
                rejects.append(verdict)
        return believed, rejects

    def bounded(self, reject: Reject) -> Reject:
        """Return a refusal without a meter of the sender's invention: there is no end of those."""
        why = reject.why.encode(errors="backslashreplace").decode()
        meter = self.meter(reject.meter) if reject.meter else None
        return replace(reject, why=why, meter=meter)

    def _judge(self, sample: Sample) -> Sample | Reject:
        meter = self._names.get(sample.meter)
        if meter is None:
            why = f"meter {sample.meter!r} is not in the roster; admit it or declare it as an id"
            return Reject(Kind.UNREGISTERED, sample.source, why, sample.meter)
        if sample.proof is None and (fact := self.facts.get(meter)) and fact.key:
            why = "the meter has a registered key, but the reading is not signed"
            return Reject(Kind.UNSIGNED, sample.source, why, meter)
        ahead_ms = sample.at_ms - int(self._clock() * 1000)
        if ahead_ms > self._tolerance_ms:
            why = f"the reading is {ahead_ms // 1000} s ahead of our clock; set the meter's or ours"
            return Reject(Kind.CLOCK, sample.source, why, meter)
        return sample if meter == sample.meter else replace(sample, meter=meter)
