"""Whatever arrives in whatever order: energies add up, never fall below zero and stay the same."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from oracle.meters.curve import Curve, Energy, Exchange, Facts, Rule
from oracle.meters.registers import intervals, registers
from oracle.meters.sample import Fidelity, Register, Sample

QUARTER_MS = 900_000
LIMIT_W = 50_000


def sample(at_ms: int, value_wh: int) -> Sample:
    return Sample("m1", Register.IMPORT, value_wh, at_ms, "test", b"")


@st.composite
def steady(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Instants in ms and states in Wh of a meter that works, from an edge to an edge."""
    quarters = draw(st.integers(1, 12))
    end_ms = quarters * QUARTER_MS
    inner = draw(st.sets(st.integers(1, end_ms - 1), max_size=30))
    at, total_wh = 0, draw(st.integers(0, 10**9))
    points = [(0, total_wh)]
    for instant in sorted({*inner, end_ms}):
        most_wh = LIMIT_W * (instant - at) // 3_600_000
        total_wh += draw(st.integers(0, most_wh))
        points.append((instant, total_wh))
        at = instant
    return points


def quarters_of(curve: Curve, end_ms: int) -> list[Energy]:
    found = [curve.energy(at, at + QUARTER_MS, QUARTER_MS) for at in range(0, end_ms, QUARTER_MS)]
    energies = [energy for energy in found if isinstance(energy, Energy)]
    assert len(energies) == len(found), found
    return energies


@given(steady())
def test_energies__of_adjoining_periods__add_up_to_the_difference_of_the_register(
    points: list[tuple[int, int]],
) -> None:
    curve = registers([sample(*p) for p in points], Facts(LIMIT_W))

    energies = quarters_of(curve, points[-1][0])

    assert sum(energy.wh for energy in energies) == points[-1][1] - points[0][1]
    assert all(energy.wh >= 0 for energy in energies)
    read_ms = {at_ms for at_ms, _ in points}
    for number, energy in enumerate(energies):
        edges = {number * QUARTER_MS, (number + 1) * QUARTER_MS}
        assert edges <= read_ms or Rule.INTERPOLATED in energy.rules or _stood_still(points, edges)


def _stood_still(points: list[tuple[int, int]], edges: set[int]) -> bool:
    return all(
        any(
            a[0] <= edge <= b[0] and (a[1] == b[1] or edge in (a[0], b[0]))
            for a, b in pairwise(points)
        )
        for edge in edges
    )


@given(steady(), st.integers(10**4, 10**6), st.data())
def test_energies__of_a_register_that_rolls_over__are_those_of_one_that_does_not(
    points: list[tuple[int, int]], modulus_kwh: int, data: st.DataObject
) -> None:
    modulus_wh = 1_000 * modulus_kwh
    rolled = [sample(at_ms, wh % modulus_wh) for at_ms, wh in points]
    facts = Facts(LIMIT_W, modulus_wh=modulus_wh)

    curve = registers(data.draw(st.permutations(rolled)), facts)

    straight = registers([sample(*p) for p in points], Facts(LIMIT_W))
    end_ms = points[-1][0]
    assert [e.wh for e in quarters_of(curve, end_ms)] == [
        e.wh for e in quarters_of(straight, end_ms)
    ]


@given(steady(), st.integers(0, 10**6), st.data())
def test_energies__across_a_declared_exchange__are_those_of_one_meter(
    points: list[tuple[int, int]], initial_wh: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(points) - 1))
    at_ms, final_wh = points[place]
    swap = Exchange(at_ms, final_wh, initial_wh)
    swapped = [
        sample(at, wh if at < at_ms else wh - final_wh + initial_wh)
        for at, wh in points
        if at != at_ms
    ]

    curve = registers(data.draw(st.permutations(swapped)), Facts(LIMIT_W, exchanges=(swap,)))

    straight = registers([sample(*p) for p in points], Facts(LIMIT_W))
    end_ms = points[-1][0]
    assert [e.wh for e in quarters_of(curve, end_ms)] == [
        e.wh for e in quarters_of(straight, end_ms)
    ]


@given(steady(), st.data())
def test_energies__with_one_faulty_sample_among_many__stay_as_they_were(
    points: list[tuple[int, int]], data: st.DataObject
) -> None:
    samples = [sample(*p) for p in points]
    clean = registers(samples, Facts(LIMIT_W))
    place = data.draw(st.integers(1, len(points) - 1))
    (left_ms, _), (right_ms, right_wh) = points[place - 1], points[place]
    # Lower than the two before it: else it is as likely that one of those is wrong.
    lowest_wh = points[max(0, place - 2)][1]
    beyond = st.integers(0, lowest_wh - 1) if lowest_wh else st.nothing()
    above = st.integers(right_wh + 1 + 10**6, 10**12)
    stray = sample((left_ms + right_ms) // 2, data.draw(beyond | above))
    assume(stray.at_ms not in {left_ms, right_ms} and 3 <= place <= len(points) - 3)

    curve = registers([*samples, stray], Facts(LIMIT_W))

    assert quarters_of(curve, points[-1][0]) == quarters_of(clean, points[-1][0])
    assert [refused for refused, _ in curve.refused] == [stray]


wild = st.builds(
    lambda minute, wh, device, fidelity: replace(
        sample(minute * 60_000, wh), device=device, fidelity=fidelity
    ),
    st.integers(0, 120),
    st.integers(0, 300) | st.integers(0, 10**6) | st.integers(0, 10**15),
    st.sampled_from(["", "A", "B"]),
    st.sampled_from(Fidelity),
)


@given(
    st.lists(wild, max_size=30),
    st.none() | st.integers(1_000, 10**6),
    st.lists(st.builds(Exchange, *[st.integers(0, 10**6)] * 3), max_size=2),
    st.data(),
)
def test_any_samples__permuted_and_repeated__give_the_same_energies_and_none_below_zero(
    samples: list[Sample],
    modulus_wh: int | None,
    exchanges: list[Exchange],
    data: st.DataObject,
) -> None:
    exchanges.sort(key=lambda e: e.at_ms)
    facts = Facts(LIMIT_W, modulus_wh=modulus_wh, exchanges=tuple(exchanges))
    curve = registers(samples, facts)
    again = data.draw(st.lists(st.sampled_from(samples), max_size=10)) if samples else []

    mixed = registers(data.draw(st.permutations(samples + again)), facts)

    assert mixed.segments == curve.segments
    for at_ms in range(0, 120 * 60_000, QUARTER_MS):
        energy = curve.energy(at_ms, at_ms + QUARTER_MS, QUARTER_MS)
        assert isinstance(energy, str) or energy.wh >= 0
        assert mixed.energy(at_ms, at_ms + QUARTER_MS, QUARTER_MS) == energy


spans = st.builds(
    lambda start, length, wh, fidelity: replace(
        sample((start + length) * 300_000, wh), since_ms=start * 300_000, fidelity=fidelity
    ),
    st.integers(0, 20),
    st.sampled_from([1, 1, 3, 3, 6, 12]),
    st.integers(0, 10_000),
    st.sampled_from(Fidelity),
)


@given(st.lists(spans, max_size=25), st.data())
def test_any_intervals__permuted_and_repeated__give_the_same_energies_and_count_none_twice(
    samples: list[Sample], data: st.DataObject
) -> None:
    curve = intervals(samples)
    again = data.draw(st.lists(st.sampled_from(samples), max_size=10)) if samples else []

    mixed = intervals(data.draw(st.permutations(samples + again)))

    assert mixed.segments == curve.segments
    total_wh = sum(segment[-1].total_wh for segment in curve.segments)
    assert total_wh <= sum({s: s.value_wh for s in samples}.values())
    for before, behind in pairwise(curve.segments):
        assert before[-1].at_ms < behind[0].at_ms
    assert all(a.total_wh <= b.total_wh for s in curve.segments for a, b in pairwise(s))
