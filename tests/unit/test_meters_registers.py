"""Registers to period energies: one test for each rule of `docs/meters.md`."""

from dataclasses import replace

from oracle.meters.curve import Anomaly, Curve, Energy, Exchange, Facts, Rule
from oracle.meters.registers import intervals, registers
from oracle.meters.sample import Fidelity, Register, Sample

QUARTER_MS = 900_000
FACTS = Facts(limit_w=20_000)


def state(at_min: float, value_wh: int, *, device: str = "") -> Sample:
    at_ms = int(at_min * 60_000)
    return Sample("m1", Register.IMPORT, value_wh, at_ms, "test", b"", device=device)


def states(*pairs: tuple[float, int]) -> list[Sample]:
    return [state(at_min, value_wh) for at_min, value_wh in pairs]


def energy(curve: Curve, quarter: int) -> Energy:
    found = curve.energy(quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS, QUARTER_MS)
    assert isinstance(found, Energy), found
    return found


def missing(curve: Curve, quarter: int) -> str:
    found = curve.energy(quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS, QUARTER_MS)
    assert isinstance(found, str), found
    return found


def test_energy__when_read_at_both_edges__is_the_difference_and_assumes_nothing() -> None:
    curve = registers(states((0, 1_000), (15, 1_250), (30, 1_250)), FACTS)

    assert energy(curve, 0) == Energy(250, frozenset(), 0)
    assert energy(curve, 1) == Energy(0, frozenset(), 0)


def test_energy__between_samples__is_interpolated_and_says_so() -> None:
    curve = registers(states((-5, 900), (5, 1_000), (14, 1_090), (17, 1_120)), FACTS)

    assert energy(curve, 0) == Energy(150, frozenset({Rule.INTERPOLATED}), 600_000)


def test_energy__over_a_gap__keeps_the_sum_and_names_the_gap() -> None:
    curve = registers(states((0, 0), (60, 4_000)), FACTS)
    quarters = [energy(curve, quarter) for quarter in range(4)]

    assert [quarter.wh for quarter in quarters] == [1_000] * 4
    assert all(quarter.rules == {Rule.INTERPOLATED, Rule.GAP} for quarter in quarters)
    assert all(quarter.gap_ms == 4 * QUARTER_MS for quarter in quarters)


def test_energy__where_the_register_stood_still__is_certain_over_any_gap() -> None:
    curve = registers(states((0, 70), (600, 70)), FACTS)

    assert energy(curve, 7) == Energy(0, frozenset(), 0)


def test_energy__before_the_next_sample__is_not_guessed() -> None:
    curve = registers(states((0, 0), (14, 100)), FACTS)

    assert "yet" in missing(curve, 0)
    assert "before" in missing(curve, -1)
    assert "after" in missing(curve, 1)
    assert "no sample" in missing(registers([], FACTS), 0)


def test_rollover__with_declared_digits__goes_on_counting() -> None:
    facts = replace(FACTS, modulus_wh=1_000_000)
    curve = registers(states((0, 999_900), (15, 400), (30, 500)), facts)

    assert energy(curve, 0) == Energy(500, frozenset({Rule.ROLLOVER}), 0)
    assert energy(curve, 1) == Energy(100, frozenset(), 0)


def test_rollover__among_faulty_samples__is_still_found() -> None:
    facts = replace(FACTS, modulus_wh=1_000_000)
    curve = registers(
        states((0, 999_000), (5, 999_500), (7, 200_000), (10, 0), (15, 400), (20, 450)), facts
    )

    assert energy(curve, 0).wh == 1_400
    assert [why for _, why in curve.refused] == [Anomaly.BACKWARDS]


def test_register__that_dips__loses_the_dip_alone() -> None:
    curve = registers(states((0, 500), (5, 560), (8, 10), (10, 620), (15, 650)), FACTS)

    assert energy(curve, 0) == Energy(150, frozenset(), 0)
    assert [(s.value_wh, why) for s, why in curve.refused] == [(10, Anomaly.BACKWARDS)]


def test_register__that_spikes__loses_the_spike_alone() -> None:
    curve = registers(states((0, 500), (5, 560), (8, 10**9), (10, 620), (15, 650)), FACTS)

    assert energy(curve, 0) == Energy(150, frozenset(), 0)
    assert [s.value_wh for s, _ in curve.refused] == [10**9]


def test_register__that_spikes_last__waits_for_what_agrees_with_it() -> None:
    curve = registers(states((0, 500), (5, 560), (10, 620), (16, 10**9)), FACTS)

    assert "yet" in missing(curve, 0)
    assert [why for _, why in curve.refused] == [Anomaly.IMPLAUSIBLE]


def test_register__that_starts_anew_undeclared__has_no_energy_across_the_break() -> None:
    old = states((0, 9_000), (5, 9_010), (15, 9_020))
    new = states((20, 0), (25, 10), (30, 20), (45, 50))
    curve = registers(old + new, FACTS)

    assert energy(curve, 0).wh == 20
    assert "starts anew" in missing(curve, 1)
    assert energy(curve, 2).wh == 30


def test_register__with_another_serial_number__is_another_meter() -> None:
    old = [state(0, 100, device="A"), state(15, 200, device="A")]
    new = [state(16, 210, device="B"), state(45, 300, device="B")]
    curve = registers(old + new, FACTS)

    assert energy(curve, 0).wh == 100
    assert "starts anew" in missing(curve, 1)
    assert energy(curve, 2).wh > 0


def test_exchange__declared_with_both_states__joins_old_and_new() -> None:
    swap = Exchange(at_ms=20 * 60_000, final_wh=9_050, initial_wh=3)
    curve = registers(
        states((0, 9_000), (15, 9_020), (30, 43), (45, 50)), replace(FACTS, exchanges=(swap,))
    )

    assert energy(curve, 1) == Energy(30 + 40, frozenset({Rule.EXCHANGE}), 0)
    assert energy(curve, 2) == Energy(7, frozenset(), 0)


def test_samples__that_contradict_each_other__count_neither() -> None:
    curve = registers(states((0, 100), (15, 150), (15, 160), (20, 200)), FACTS)

    assert energy(curve, 0).rules == {Rule.INTERPOLATED, Rule.GAP}
    assert [why for _, why in curve.refused] == [Anomaly.CONTRADICTION] * 2


def test_estimates__beside_a_measured_value__give_way_and_alone_are_named() -> None:
    guess = replace(state(15, 190), fidelity=Fidelity.ESTIMATED)

    beside = registers([*states((0, 100), (15, 150)), guess], FACTS)
    alone = registers([*states((0, 100), (30, 200)), guess], FACTS)

    assert energy(beside, 0) == Energy(50, frozenset(), 0)
    assert energy(alone, 0) == Energy(90, frozenset({Rule.ESTIMATED}), 0)
    assert energy(alone, 1).rules == {Rule.ESTIMATED}


def interval(start_min: int, end_min: int, wh: int, fidelity: Fidelity) -> Sample:
    end = state(end_min, wh)
    return replace(end, since_ms=start_min * 60_000, fidelity=fidelity)


def test_intervals__finer_and_coarser__count_the_finer() -> None:
    sure, unsure = Fidelity.MEASURED, Fidelity.ESTIMATED
    curve = intervals(
        [
            interval(0, 60, 999, sure),
            interval(0, 15, 40, sure),
            interval(15, 30, 50, unsure),
            interval(60, 120, 400, sure),
        ]
    )

    assert energy(curve, 0) == Energy(40, frozenset(), 0)
    assert energy(curve, 1) == Energy(50, frozenset({Rule.ESTIMATED}), 0)
    assert "starts anew" in missing(curve, 2) or "sample" in missing(curve, 2)
    assert energy(curve, 5) == Energy(100, frozenset({Rule.INTERPOLATED, Rule.GAP}), 4 * QUARTER_MS)
    assert [why for _, why in curve.refused] == [Anomaly.OVERLAP]


def test_hostile_register__that_falls_for_thousands_of_samples__is_refused_in_bounded_work() -> (
    None
):
    saw = [state(n / 10, 10**9 - 100 * (n - n % 3) + n % 3) for n in range(9_000)]

    curve = registers(saw, FACTS)

    assert len(curve.refused) > 8_900
