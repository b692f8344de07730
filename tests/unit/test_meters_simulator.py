"""The meter simulator: each fault, where it acts and what it leaves alone."""

from collections.abc import Iterator

import pytest

from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.simulator import Fault, Late, Lie, Scale, Scatter, Scope, Silent, Simulator
from oracle.meters.source import Quality, Reading, Refusal

REFUSAL = Refusal("shed", 0, "table", "has no row", "Complete the table")


class Table:
    """A source with two meters whose readings follow from the period."""

    def read(self, period: int) -> Iterator[Reading | Refusal]:
        yield Reading("house", period, 100 + period, 0, Quality.SUBSTITUTED, "table")
        yield Reading("roof", period, 0, 1000, Quality.MEASURED, "table")
        yield REFUSAL


@pytest.fixture
def roster() -> Roster:
    return Roster(
        [
            Meter("house", "Load 1", 3, Role.CONSUMER, 4000, 0),
            Meter("roof", "SGen 1", 4, Role.GENERATOR, 0, 8000),
        ]
    )


def energies(roster: Roster, *faults: Fault, period: int = 0) -> dict[str, tuple[int, int]]:
    answers = Simulator(Table(), roster, faults).read(period)
    return {a.meter: (a.import_wh, a.export_wh) for a in answers if isinstance(a, Reading)}


def test_simulator__without_faults__passes_everything_on(roster: Roster) -> None:
    assert list(Simulator(Table(), roster).read(3)) == list(Table().read(3))


def test_scale__rounds_down_and_keeps_quality_and_provenance(roster: Roster) -> None:
    faults = [Scale(Scope("house"), 55)]
    house, *others = Simulator(Table(), roster, faults).read(1)
    assert house == Reading("house", 1, 55, 0, Quality.SUBSTITUTED, "table after scale")
    assert others == list(Table().read(1))[1:]


def test_scope__bounds_meter_and_periods(roster: Roster) -> None:
    fault = Silent(Scope("roof", first=2, last=3))
    there = ["roof" in energies(roster, fault, period=period) for period in range(5)]
    assert there == [True, True, False, False, True]
    assert energies(roster, Silent(Scope())) == {}


def test_silent__leaves_the_refusals_of_the_base(roster: Roster) -> None:
    assert list(Simulator(Table(), roster, [Silent(Scope())]).read(0)) == [REFUSAL]


def test_late__gives_the_true_reading_from_its_instant_on(roster: Roster) -> None:
    now_s = 99.0
    simulator = Simulator(Table(), roster, [Late(Scope("roof"), 100.0, clock=lambda: now_s)])
    assert [a.meter for a in simulator.read(0)] == ["house", "shed"]
    now_s = 100.0
    assert list(simulator.read(0)) == list(Table().read(0))


def test_lie__replaces_the_energies(roster: Roster) -> None:
    assert energies(roster, Lie(Scope("roof"), 0, 7)) == {"house": (100, 0), "roof": (0, 7)}


def test_faults__act_in_their_order(roster: Roster) -> None:
    lie, half = Lie(Scope("house"), 80, 0), Scale(Scope("house"), 50)
    assert energies(roster, lie, half)["house"] == (40, 0)
    assert energies(roster, half, lie)["house"] == (80, 0)


@pytest.mark.parametrize("fault", [Lie(Scope("roof"), 0, 2001), Scale(Scope("roof"), 201)])
def test_fault__beyond_the_capacity__is_refused_as_from_any_source(
    roster: Roster, fault: Fault
) -> None:
    answers = list(Simulator(Table(), roster, [fault]).read(0))
    assert isinstance(answers[1], Refusal)
    assert answers[1].meter == "roof"
    assert "capacity allows 2000 Wh" in answers[1].why
    assert isinstance(answers[0], Reading)


def test_scatter__depends_on_seed_meter_and_period_only(roster: Roster) -> None:
    def run(seed: int) -> list[dict[str, tuple[int, int]]]:
        return [energies(roster, Scatter(Scope(), seed, 20), period=p) for p in range(50)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    exports = [step["roof"][1] for step in run(1)]
    assert len(set(exports)) > 10
    assert all(800 <= export <= 1200 for export in exports)
