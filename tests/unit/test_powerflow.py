"""The AC check: equal to pandapower, fast, and its remedy for a broken limit mends it."""

import time
from pathlib import Path

import numpy as np
import pytest

from market.grid import GridError, UnknownBus
from market.powerflow import AcCheck, AcResult, Direction, Diverged, Injections, Quantity
from scripts.bench.pandapower_grid import PandapowerGrid
from scripts.bench.powerflow import HOURS, Feeder, bus_loads, load_feeder

README = Path(__file__).parents[2] / "data" / "simbench-rural1" / "README.md"
NOON = 48


@pytest.fixture(scope="module", params=["rural1", "rural3"])
def feeder(request: pytest.FixtureRequest) -> Feeder:
    return load_feeder(request.param)


@pytest.fixture(scope="module")
def rural1() -> Feeder:
    return load_feeder("rural1")


@pytest.fixture(scope="module")
def rural3() -> Feeder:
    return load_feeder("rural3")


def scaled(given: Injections, factor: float) -> Injections:
    energy_wh = (given.net_export_wh * factor).astype(np.int64)
    return Injections(energy_wh, given.buses, given.var_per_w)


def test_run__any_load_or_feed_in__equals_pandapower(feeder: Feeder) -> None:
    night_and_day = feeder.base(range(0, 96, 12))
    cases = len(night_and_day.net_export_wh)
    strained = scaled(feeder.clearing(cases, seed=3), 2.0)
    reference = PandapowerGrid(feeder.grid)
    for injections in ((night_and_day,), (night_and_day, strained)):
        result = AcCheck(feeder.grid).run(*injections)
        load_w, load_var = bus_loads(feeder.grid, *injections)
        for case in range(cases):
            solved = reference.solve(load_w[case], load_var[case])
            np.testing.assert_allclose(result.voltage_pu[case], solved.voltage_pu, 0, 1e-5)
            np.testing.assert_allclose(result.flow_w[case], solved.flow_w, 1e-5, 1.0)
            np.testing.assert_allclose(
                result.loading_percent[case], solved.loading_percent, 1e-5, 1e-3
            )


def test_run__the_congested_day__says_what_simbench_itself_says(rural1: Feeder) -> None:
    # The README's figures come from SimBench's own net, not from the extract.
    row = next(line for line in README.read_text().splitlines() if line.startswith("| 25 |"))
    trafo, over, line, voltages = [cell.strip() for cell in row.split("|")[2:6]]
    lowest, highest = (float(value) for value in voltages.split(" to "))
    result = AcCheck(rural1.grid).run(rural1.base(range(96)))
    assert result.loading_percent[:, 0].max() == pytest.approx(float(trafo), rel=2e-3)
    assert result.loading_percent[:, 1:].max() == pytest.approx(float(line), rel=2e-3)
    assert len(result.violating_cases) == int(over)
    # SimBench's reactive power has a profile, the extract the mean of its year.
    assert result.voltage_pu.min() == pytest.approx(lowest, abs=2e-3)
    assert result.voltage_pu.max() == pytest.approx(highest, abs=2e-3)


def test_run__a_thousand_cases_of_rural3__within_a_second(rural3: Feeder) -> None:
    check, cases = AcCheck(rural3.grid), rural3.clearing(1000, seed=5)
    base = rural3.base(range(NOON, NOON + 1))
    spent_s = []
    for _ in range(3):
        start = time.perf_counter()
        result = check.run(base, cases)
        spent_s.append(time.perf_counter() - start)
    assert result.voltage_pu.shape == (1000, 129)
    assert min(spent_s) <= 1.0


def test_run__a_batch__equals_its_cases_alone(feeder: Feeder) -> None:
    base, clearing = feeder.base(range(NOON, NOON + 1)), feeder.clearing(6, seed=2)
    check = AcCheck(feeder.grid)
    batch = check.run(base, clearing)
    for case in range(6):
        alone = Injections(clearing.net_export_wh[[case]], clearing.buses, clearing.var_per_w)
        single = check.run(base, alone)
        np.testing.assert_allclose(batch.voltage_pu[case], single.voltage_pu[0], 0, 1e-9)
        np.testing.assert_array_equal(batch.linear_flow_wh[case], single.linear_flow_wh[0])


def test_run__elements_or_buses_as_columns__make_no_difference(feeder: Feeder) -> None:
    by_element = feeder.clearing(5, seed=4)
    by_element = Injections(by_element.net_export_wh, by_element.buses)
    buses = sorted(set(by_element.buses))
    sums = [by_element.net_export_wh[:, by_element.buses == bus].sum(1) for bus in np.array(buses)]
    by_bus = Injections(np.stack(sums, axis=1), buses)
    check = AcCheck(feeder.grid)
    one, other = check.run(by_element), check.run(by_bus)
    np.testing.assert_allclose(one.voltage_pu, other.voltage_pu, 0, 1e-9)
    np.testing.assert_array_equal(one.linear_flow_wh, other.linear_flow_wh)


def test_run__half_the_period__is_twice_the_power(feeder: Feeder) -> None:
    clearing = feeder.clearing(3, seed=6)
    quarter = AcCheck(feeder.grid, period_s=900).run(scaled(clearing, 2))
    eighth = AcCheck(feeder.grid, period_s=450).run(clearing)
    np.testing.assert_allclose(quarter.voltage_pu, eighth.voltage_pu, 0, 1e-9)


def test_run__losses__are_what_the_linear_flow_leaves_out(feeder: Feeder) -> None:
    grid = feeder.grid
    drawn = Injections(
        -np.abs(feeder.clearing(4, seed=7).net_export_wh), [m.bus for m in feeder.roster.values()]
    )
    result = AcCheck(grid).run(drawn)
    linear_w = result.linear_flow_wh / HOURS
    # Downwards each branch carries what is drawn below it and the losses below it.
    assert (result.flow_w <= linear_w + 1e-3).all()
    # At the transformer's lower end the lines' losses are all that is missing.
    lines = np.zeros(4)
    for branch, element in enumerate(grid.tree.branches[1:], start=1):
        ohm = element.element.r_ohm_per_km * element.element.length_km  # type: ignore[union-attr]
        limit_a = element.element.max_i_a  # type: ignore[union-attr]
        ampere = result.loading_percent[:, branch] / 100 * limit_a
        lines += 3 * ohm * ampere**2
    missing = linear_w[:, 0] - result.flow_w[:, 0]
    np.testing.assert_allclose(missing, lines, 0.02, 1.0)


def test_violations__feed_in_at_noon__name_the_transformer_and_the_flow_it_bears(
    rural1: Feeder,
) -> None:
    check, noon = AcCheck(rural1.grid), rural1.base(range(NOON, NOON + 1))
    result = check.run(noon)
    (found,) = result.violations(0)
    assert found.element == rural1.grid.trafo.name
    assert found.quantity is Quantity.LOADING_PERCENT
    assert found.direction is Direction.UP
    assert found.value > found.limit == check.max_loading_percent
    assert 0 < found.limit_wh < found.flow_wh
    assert_obeyed_until_mended(check, noon, result)
    assert str(round(found.limit)) in str(found)


@pytest.mark.parametrize(("sign", "direction"), [(1, Direction.UP), (-1, Direction.DOWN)])
def test_violations__a_long_branch_strained__name_bus_direction_and_line(
    rural3: Feeder, sign: int, direction: Direction
) -> None:
    tree = rural3.grid.tree
    end = max(range(len(tree.buses)), key=lambda position: len(tree.path(position)))
    check = AcCheck(rural3.grid, max_loading_percent=1000)
    strained = Injections(np.array([[sign * 10_000]]), [tree.buses[end]])
    while not (found := check.run(strained).violations(0)):
        strained = scaled(strained, 1.25)
    flow_wh = abs(int(strained.net_export_wh[0, 0]))
    assert {v.quantity for v in found} == {Quantity.VOLTAGE_PU}
    assert {v.direction for v in found} == {direction}
    names = {rural3.grid.bus(bus).name: at for at, bus in enumerate(tree.buses)}
    for violation in found:
        assert violation.line - 1 in tree.path(names[violation.element])
        assert sign * (violation.value - violation.limit) > 0
        assert 0 <= violation.limit_wh < violation.flow_wh == flow_wh
    # The deepest cut comes first.
    assert found[0].limit_wh == min(v.limit_wh for v in found)
    assert_obeyed_until_mended(check, strained, check.run(strained))


def assert_obeyed_until_mended(check: AcCheck, given: Injections, result: AcResult) -> None:
    attempts = 0
    while result.violating_cases:
        worst = result.violations(0)[0]
        given = scaled(given, worst.limit_wh / worst.flow_wh)
        result = check.run(given)
        attempts += 1
        assert attempts <= 2


def test_violations__a_base_load_that_alone_breaks_the_band__ask_for_no_flow(
    rural3: Feeder,
) -> None:
    # A band above what the feed holds: no flow is to blame, none is blamed for more than it has.
    buses = [bus.model_copy(update={"max_vm_pu": 1.04}) for bus in rural3.grid.buses]
    grid = rural3.grid.model_copy(update={"buses": tuple(buses)})
    grid.__dict__.pop("_by_number", None)
    nothing = Injections(np.zeros((1, 1), dtype=np.int64), [grid.tree.buses[1]])
    found = AcCheck(grid).run(nothing).violations(0)
    assert len(found) == len(grid.tree.buses) - 1
    assert all(v.limit_wh == v.flow_wh == 0 for v in found)


def test_run__unknown_bus__is_named(rural1: Feeder) -> None:
    with pytest.raises(UnknownBus, match="bus 77, 99 is not in grid '1-LV-rural1"):
        AcCheck(rural1.grid).run(Injections(np.zeros((1, 3), dtype=np.int64), [99, 1, 77]))


def test_run__a_case_beyond_what_a_cable_can_carry__is_named(rural3: Feeder) -> None:
    energy_wh = np.zeros((4, 1), dtype=np.int64)
    energy_wh[[1, 3]] = -1_000_000
    far = rural3.grid.tree.buses[-1]
    with pytest.raises(Diverged, match="case 1, 3 does not converge") as caught:
        AcCheck(rural3.grid).run(Injections(energy_wh, [far]))
    assert caught.value.cases == (1, 3)


@pytest.mark.parametrize(
    ("shape", "dtype", "buses", "var_per_w", "says"),
    [
        ((3,), np.int64, 3, None, "shape"),
        ((0, 3), np.int64, 3, None, "at least one case"),
        ((2, 3), np.int64, 4, None, "4 buses"),
        ((2, 3), np.float64, 3, None, "whole Wh"),
        ((2, 3), np.uint64, 3, None, "signed"),
        ((2, 3), np.int64, 3, [0.1, 0.2], "var_per_w"),
    ],
)
def test_injections__that_do_not_fit__are_refused(
    shape: tuple[int, ...],
    dtype: type[np.generic],
    buses: int,
    var_per_w: list[float] | None,
    says: str,
) -> None:
    with pytest.raises(GridError, match=says):
        Injections(np.zeros(shape, dtype), [1] * buses, var_per_w)


def test_run__numbers_of_cases_that_differ__are_refused(rural1: Feeder) -> None:
    two, three = (Injections(np.zeros((n, 1), dtype=np.int64), [1]) for n in (2, 3))
    with pytest.raises(GridError, match=r"\[2, 3\] cases"):
        AcCheck(rural1.grid).run(two, three)
    with pytest.raises(GridError, match="cases"):
        AcCheck(rural1.grid).run()


def test_check__without_a_period__is_refused(rural1: Feeder) -> None:
    with pytest.raises(GridError, match="0 s"):
        AcCheck(rural1.grid, period_s=0)


def test_check__a_transformer_between_clock_hours__is_refused(rural1: Feeder) -> None:
    trafo = rural1.grid.trafo.model_copy(update={"shift_degree": 40.0})
    with pytest.raises(GridError, match="multiple of 30"):
        AcCheck(rural1.grid.model_copy(update={"trafo": trafo}))
