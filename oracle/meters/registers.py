"""Cumulative registers become energies of periods: pure, and the same for any order of arrival.

The samples of a register are made one curve that never falls, in Wh over time, and the energy of a
period is the difference of the curve at its two edges. So the energies of adjoining periods always
add up to the difference of the register, whatever was estimated. `docs/meters.md` has the rules.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from oracle.meters.curve import Anomaly, Curve, Exchange, Facts, Point, Rule
from oracle.meters.sample import Fidelity, Sample

MIN_RUN = 3
"""Readings that must agree before they count against others that contradict them."""

MAX_DEPTH = 4
"""How often what lies beside a stretch is searched for further ones: hostile meters end here."""

_MS_PER_H = 3_600_000


_SURE: frozenset[Rule] = frozenset()
_GUESSED = frozenset({Rule.ESTIMATED})


class _State(NamedTuple):
    """A state of a register as read, or with its rollovers undone."""

    at_ms: int
    value_wh: int
    rules: frozenset[Rule]


def registers(samples: Iterable[Sample], facts: Facts) -> Curve:
    """Return the curve of a cumulative register.

    Args:
        samples: States of one register of one meter, in any order, repeated or not.
        facts: What is known of the register.
    """
    samples = sorted(samples, key=lambda s: s.at_ms)
    if not facts.exchanges and _is_plain(samples, facts):
        plain = tuple(Point(s.at_ms, s.value_wh, _rules(s)) for s in samples)
        return Curve((plain,) if plain else ())
    kept, refused = _unique(samples)
    segments: list[list[Point]] = []
    for begun, group, ended in _eras(kept, facts.exchanges):
        fresh: list[list[Point]] = []
        for of_device in _by_device(group):
            states = _with_ends(of_device, begun, ended)
            runs, bad = _runs(states, facts)
            fresh += runs
            refused += [(s, bad[s.at_ms]) for s in of_device if s.at_ms in bad]
        _join(segments, sorted(fresh, key=lambda run: run[0].at_ms), begun)
    return Curve(tuple(map(tuple, segments)), tuple(refused))


def intervals(samples: Iterable[Sample]) -> Curve:
    """Return the curve of energies of intervals, the finest of which count.

    Args:
        samples: Values of one register of one meter with `since_ms` before `at_ms`, in any order,
            repeated or not.
    """
    kept, refused = _unique(samples)
    chosen: list[tuple[int, int, Sample]] = []
    for since_ms, at_ms, sample in sorted(
        ((s.since_ms or 0, s.at_ms, s) for s in kept), key=lambda i: (i[1] - i[0], i[0])
    ):
        place = bisect_right(chosen, since_ms, key=lambda known: known[0])
        clear_before = place == 0 or chosen[place - 1][1] <= since_ms
        clear_behind = place == len(chosen) or at_ms <= chosen[place][0]
        if clear_before and clear_behind:
            chosen.insert(place, (since_ms, at_ms, sample))
        else:
            refused.append((sample, Anomaly.OVERLAP))
    segments: list[list[Point]] = []
    for since_ms, at_ms, sample in chosen:
        if not segments or segments[-1][-1].at_ms != since_ms:
            segments.append([Point(since_ms, 0)])
        total_wh = segments[-1][-1].total_wh + sample.value_wh
        segments[-1].append(Point(at_ms, total_wh, _rules(sample)))
    return Curve(tuple(map(tuple, segments)), tuple(refused))


def _unique(samples: Iterable[Sample]) -> tuple[list[Sample], list[tuple[Sample, Anomaly]]]:
    """Return one sample for each instant; if values differ, measured ones outweigh estimates."""
    by_place: dict[tuple[str, int, int], dict[int, Sample]] = {}
    for sample in samples:
        same = by_place.setdefault((sample.device, sample.at_ms, sample.since_ms or 0), {})
        known = same.get(sample.value_wh)
        if known is None or sample.fidelity < known.fidelity:
            same[sample.value_wh] = sample
    kept, refused = [], []
    for same in by_place.values():
        best = min(sample.fidelity for sample in same.values())
        candidates = [sample for sample in same.values() if sample.fidelity == best]
        kept += candidates if len(candidates) == 1 else []
        for sample in same.values():
            if len(candidates) > 1 or sample.fidelity > best:
                refused.append((sample, Anomaly.CONTRADICTION))
    return sorted(kept, key=lambda s: (s.at_ms, s.device)), refused


def _is_plain(samples: Sequence[Sample], facts: Facts) -> bool:
    """Return whether samples in order of time need no rule: almost all of them, so look first."""
    for before, s in pairwise(samples):
        passed_ms, risen_wh = s.at_ms - before.at_ms, s.value_wh - before.value_wh
        most_wh = facts.limit_w * passed_ms // _MS_PER_H + facts.slack_wh
        if passed_ms == 0 or not 0 <= risen_wh <= most_wh or s.device != before.device:
            return False
    return True


def _eras(
    samples: Sequence[Sample], exchanges: Sequence[Exchange]
) -> Iterator[tuple[Exchange | None, Sequence[Sample], Exchange | None]]:
    """Yield the samples between declared exchanges, whose own states stand at the edges."""
    bounds: list[Exchange | None] = [None, *sorted(exchanges, key=lambda e: e.at_ms), None]
    for begun, ended in pairwise(bounds):
        yield (
            begun,
            [
                s
                for s in samples
                if (begun is None or begun.at_ms < s.at_ms)
                and (ended is None or s.at_ms < ended.at_ms)
            ],
            ended,
        )


def _by_device(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Return the samples of each device; those without a serial number are of the only one."""
    devices = {s.device for s in samples if s.device}
    if len(devices) < 2:
        return [list(samples)]
    return [[s for s in samples if s.device == device] for device in sorted(devices)]


def _with_ends(
    samples: Sequence[Sample], begun: Exchange | None, ended: Exchange | None
) -> list[_State]:
    states = [_State(s.at_ms, s.value_wh, _rules(s)) for s in samples]
    if begun is not None:
        states.insert(0, _State(begun.at_ms, begun.initial_wh, frozenset()))
    if ended is not None:
        states.append(_State(ended.at_ms, ended.final_wh, frozenset({Rule.EXCHANGE})))
    return states


def _runs(states: Sequence[_State], facts: Facts) -> tuple[list[list[Point]], dict[int, Anomaly]]:
    """Return the stretches of states that can be true together, and why the others cannot."""
    whole = _unrolled(states, facts)
    if whole is not None:
        return ([whole] if whole else []), {}
    runs: list[list[_State]] = []
    bad: dict[int, Anomaly] = {}
    for rising in _rising(states, facts.modulus_wh, bad):
        runs += _cut(rising, facts)
    longest = max(map(len, runs))
    good: list[list[Point]] = []
    for run in runs:
        if len(run) < min(MIN_RUN, longest):
            bad |= {state.at_ms: Anomaly.IMPLAUSIBLE for state in run}
        else:
            good.append([Point(*state) for state in run])
    return good, bad


def _unrolled(states: Sequence[_State], facts: Facts) -> list[Point] | None:
    """Return the states with rollovers undone, or None if a step is neither that nor plausible."""
    points: list[Point] = []
    rolled_wh = 0
    for before, state in pairwise([None, *states]):
        assert state is not None
        rules = state.rules
        if before is not None:
            allowed_wh = _allowed_wh(before, state, facts)
            step_wh = state.value_wh - before.value_wh
            if step_wh < 0 and facts.modulus_wh is not None:
                step_wh += facts.modulus_wh
                rolled_wh += facts.modulus_wh
                rules |= {Rule.ROLLOVER}
            if not 0 <= step_wh <= allowed_wh:
                return None
        points.append(Point(state.at_ms, state.value_wh + rolled_wh, rules))
    return points


def _allowed_wh(before: _State, behind: _State, facts: Facts) -> int:
    return facts.limit_w * (behind.at_ms - before.at_ms) // _MS_PER_H + facts.slack_wh


def _rising(
    states: Sequence[_State], modulus_wh: int | None, bad: dict[int, Anomaly], depth: int = 0
) -> Iterator[list[_State]]:
    """Yield stretches that never fall, and note what lies inside them and would fall.

    The longest choice of states that never falls is held true, and those before and behind it are
    judged by themselves: a register that was reset goes on as a stretch of its own.
    """
    chosen = _longest_rising([state.value_wh for state in states])
    if depth and (len(chosen) < MIN_RUN or depth > MAX_DEPTH):
        bad |= {state.at_ms: Anomaly.BACKWARDS for state in states}
        return
    lifted: Sequence[_State] = states
    if modulus_wh is not None:
        over = [_lifted(state, modulus_wh) for state in states]
        longer = _longest_rising([state.value_wh for state in over])
        if len(longer) > len(chosen):
            chosen, lifted = longer, over
    first, last = chosen[0], chosen[-1]
    for place in set(range(first, last)) - set(chosen):
        bad[states[place].at_ms] = Anomaly.BACKWARDS
    yield [lifted[place] for place in chosen]
    yield from _rising(states[:first], modulus_wh, bad, depth + 1)
    yield from _rising(states[last + 1 :], modulus_wh, bad, depth + 1)


def _lifted(state: _State, modulus_wh: int) -> _State:
    """Return a state as it stands if the register has rolled over once before it."""
    if state.value_wh >= modulus_wh // 2:
        return state
    rolled = state.value_wh + modulus_wh
    return _State(state.at_ms, rolled, state.rules | {Rule.ROLLOVER})


def _longest_rising(values: Sequence[int]) -> list[int]:
    """Return the places of a longest choice of values that never falls."""
    tails: list[int] = []
    tail_places: list[int] = []
    before: list[int | None] = []
    for place, value in enumerate(values):
        length = bisect_right(tails, value)
        before.append(tail_places[length - 1] if length else None)
        tails[length : length + 1] = [value]
        tail_places[length : length + 1] = [place]
    chosen: list[int] = []
    at = tail_places[-1] if tail_places else None
    while at is not None:
        chosen.append(at)
        at = before[at]
    return chosen[::-1]


def _cut(states: Sequence[_State], facts: Facts) -> list[list[_State]]:
    """Return rising states cut where they jump further than is plausible."""
    runs = [[states[0]]]
    for before, state in pairwise(states):
        if state.value_wh - before.value_wh > _allowed_wh(before, state, facts):
            runs.append([])
        runs[-1].append(state)
    return runs


def _join(
    segments: list[list[Point]], fresh: Sequence[list[Point]], begun: Exchange | None
) -> None:
    """Add the runs of an era; the first goes on where a declared exchange ended the last."""
    for number, run in enumerate(fresh):
        joins = begun is not None and number == 0 and segments
        if joins and segments[-1][-1].at_ms == run[0].at_ms:
            offset_wh = segments[-1][-1].total_wh - run[0].total_wh
            segments[-1] += [Point(p.at_ms, p.total_wh + offset_wh, p.rules) for p in run[1:]]
        else:
            segments.append(run)


def _rules(sample: Sample) -> frozenset[Rule]:
    return _GUESSED if sample.fidelity is Fidelity.ESTIMATED else _SURE
