"""A register over time as a curve that never falls, and the energies between its points."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from oracle.meters.sample import Sample


class Rule(StrEnum):
    """How an energy came about where it was not simply read at both edges."""

    INTERPOLATED = "interpolated"
    GAP = "gap"
    ROLLOVER = "rollover"
    EXCHANGE = "exchange"
    ESTIMATED = "estimated at the source"


class Anomaly(StrEnum):
    """Why a sample is not part of the curve."""

    BACKWARDS = "runs backwards"
    IMPLAUSIBLE = "jumps further than the capacity allows"
    CONTRADICTION = "contradicts another value of the same instant"
    OVERLAP = "overlaps a finer interval"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A meter was replaced.

    Attributes:
        at_ms: When.
        final_wh: Last state of the old register.
        initial_wh: First state of the new one.
    """

    at_ms: int
    final_wh: int
    initial_wh: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a register beforehand.

    Attributes:
        limit_w: Power beyond which a step is not believed.
        slack_wh: Step that is always believed: the resolution of the register.
        modulus_wh: State at which the register starts again from 0; None if it never does.
        exchanges: Declared replacements, in order of time.
    """

    limit_w: int
    slack_wh: int = 1_000
    modulus_wh: int | None = None
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the curve: total in Wh at an instant, and the rules that it stands on."""

    at_ms: int
    total_wh: int
    rules: frozenset[Rule] = frozenset()


@dataclass(frozen=True, slots=True)
class Energy:
    """The energy of a period.

    Attributes:
        wh: The energy.
        rules: What had to be assumed; empty if it was read at both edges.
        gap_ms: Longest stretch between two samples with an edge inside.
    """

    wh: int
    rules: frozenset[Rule]
    gap_ms: int


@dataclass(frozen=True, slots=True)
class Curve:
    """What the samples of one register come to.

    Attributes:
        segments: Stretches in order of time, each a curve that never falls; what happened between
            two of them is not known.
        refused: Samples that are part of none, with the reason.
    """

    segments: tuple[tuple[Point, ...], ...]
    refused: tuple[tuple[Sample, Anomaly], ...] = ()

    def energy(self, start_ms: int, end_ms: int, usual_gap_ms: int) -> Energy | str:
        """Return the energy between two instants, or why it is not known.

        Args:
            start_ms: Start of the period.
            end_ms: Its end, after the start.
            usual_gap_ms: Stretch without samples beyond which an edge inside counts as a gap.
        """
        for segment in self.segments:
            if segment[0].at_ms <= start_ms and end_ms <= segment[-1].at_ms:
                return _energy(segment, start_ms, end_ms, usual_gap_ms)
        if not self.segments or self.segments[0][0].at_ms >= end_ms:
            return "has no sample before the end of the period"
        if self.segments[-1][-1].at_ms <= start_ms:
            return "has no sample after the start of the period"
        if self.segments[0][0].at_ms > start_ms:
            return "has no sample at or before the start of the period"
        if self.segments[-1][-1].at_ms < end_ms:
            return "has no sample at or after the end of the period yet"
        return "starts anew inside the period, and no exchange of the meter is declared"


def _energy(segment: Sequence[Point], start_ms: int, end_ms: int, usual_gap_ms: int) -> Energy:
    first = bisect_right(segment, start_ms, key=lambda p: p.at_ms) - 1
    last = bisect_left(segment, end_ms, key=lambda p: p.at_ms)
    rules: set[Rule] = set()
    gaps_ms = [0]
    for left, edge_ms in ((first, start_ms), (last - 1, end_ms)):
        before, behind = segment[left], segment[min(left + 1, len(segment) - 1)]
        # Where the register stood still, it is known at every instant in between.
        if before.at_ms < edge_ms < behind.at_ms and before.total_wh < behind.total_wh:
            rules.add(Rule.INTERPOLATED)
            gaps_ms.append(behind.at_ms - before.at_ms)
    if max(gaps_ms) > usual_gap_ms:
        rules.add(Rule.GAP)
    for point in segment[first + 1 : last + 1]:
        rules |= point.rules
    # An estimated state at the start moves this energy as well as the one before.
    rules |= segment[first].rules & {Rule.ESTIMATED}
    wh = _total(segment, end_ms) - _total(segment, start_ms)
    return Energy(wh, frozenset(rules), max(gaps_ms))


def _total(segment: Sequence[Point], at_ms: int) -> int:
    """Return the curve at an instant inside a segment, rounded down."""
    behind = bisect_left(segment, at_ms, key=lambda p: p.at_ms)
    b = segment[behind]
    if b.at_ms == at_ms:
        return b.total_wh
    a = segment[behind - 1]
    risen_wh, passed_ms = b.total_wh - a.total_wh, at_ms - a.at_ms
    return a.total_wh + risen_wh * passed_ms // (b.at_ms - a.at_ms)
