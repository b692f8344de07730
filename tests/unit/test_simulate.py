"""Days without a chain: deterministic, zero-sum, within the wires, and congested where promised."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from market.clearing import PoolClearing, Rule
from market.powerflow import Direction
from scripts.simulate.__main__ import app
from scripts.simulate.figures import Run
from scripts.simulate.play import Outcome, Play
from scripts.simulate.scenario import Scenario, load_scenario
from scripts.simulate.world import World

SCENARIOS = Path(__file__).resolve().parents[2] / "data" / "scenarios"


@pytest.fixture(scope="module")
def congested() -> World:
    return World(load_scenario(SCENARIOS / "rural1-congested.toml"))


@pytest.fixture(scope="module")
def days(congested: World) -> dict[Rule, Run]:
    return {rule: Run.of(congested, rule, Play(congested, rule).run()) for rule in Rule}


def noon(scenario: Scenario, rule: Rule = Rule.UNIFORM) -> Outcome:
    play = Play(World(scenario), rule)
    return play.period(scenario.rows[48])


def facts(outcome: Outcome) -> tuple[object, ...]:
    o = outcome.orders
    columns = (o.node, o.is_buy, o.energy_wh, o.limit_uyuan_per_kwh, outcome.clearing.filled_wh)
    return (*(c.tolist() for c in columns), outcome.totals, outcome.settlement.nets_uyuan)


def test_congested_day__binds_lines_and_splits_prices(days: dict[Rule, Run]) -> None:
    uniform = days[Rule.UNIFORM]
    assert uniform.binding_periods >= 8
    assert uniform.split_periods >= 8
    assert uniform.rent_yuan > 0
    assert len(uniform.binding_lines()) >= 2
    for o in uniform.outcomes:
        assert isinstance(o.clearing, PoolClearing)
        assert len(o.clearing.zones) > 1 or not o.binding
    assert days[Rule.PLANNED].binding_periods >= 8
    assert days[Rule.PAIRWISE].binding_periods >= 8


def test_congested_day__makes_the_wires_cost_something(days: dict[Rule, Run]) -> None:
    for run in days.values():
        assert run.cost_yuan >= run.best_cost_yuan > run.unwired_cost_yuan
        assert all(o.cost_nyuan >= o.best.cost_nyuan for o in run.outcomes)


def test_ac_check__of_a_limit_above_the_rating__tightens_the_transformer(
    days: dict[Rule, Run], congested: World
) -> None:
    outcomes = [o for o in days[Rule.UNIFORM].outcomes if o.derates]
    assert outcomes
    for o in outcomes:
        assert not o.unmended
        derate = o.derates[-1]
        assert (derate.line, derate.direction) == (1, Direction.UP)
        assert derate.limit_wh < congested.limits_wh[1]
        assert o.feeder.up_wh[1] == derate.limit_wh >= o.clearing.flow_wh[1]


@pytest.mark.parametrize("rule", Rule)
def test_day__under_each_rule__is_zero_sum_and_keeps_every_line(
    days: dict[Rule, Run], rule: Rule
) -> None:
    for o in days[rule].outcomes:
        nets = sum(o.settlement.nets_uyuan.values())
        assert nets + o.settlement.grid_company.net_uyuan == 0
        assert o.settlement.grid_company.rent_nyuan == o.totals.rent_nyuan
        assert np.all(o.clearing.flow_wh[1:] <= o.feeder.up_wh[1:])
        assert np.all(o.clearing.flow_wh[1:] >= -o.feeder.down_wh[1:])


def test_uniform__of_the_same_orders__has_the_greatest_welfare(days: dict[Rule, Run]) -> None:
    first = {rule: run.outcomes[0] for rule, run in days.items()}
    assert first[Rule.UNIFORM].totals.welfare_nyuan >= max(
        o.totals.welfare_nyuan for o in first.values()
    )
    assert facts(first[Rule.UNIFORM])[:4] == facts(first[Rule.PAIRWISE])[:4]


def test_seed__that_is_the_same__gives_the_same_day(
    congested: World, days: dict[Rule, Run]
) -> None:
    again = Play(World(congested.scenario), Rule.UNIFORM).run()
    for one, other in zip(days[Rule.UNIFORM].outcomes, again, strict=True):
        assert facts(one) == facts(other)


def test_seed__that_is_another__gives_another_book() -> None:
    scenario = load_scenario(SCENARIOS / "rural1-calm.toml")
    other = scenario.model_copy(update={"seed": 2})
    assert facts(noon(scenario)) != facts(noon(other))


def test_outsiders__do_not_order_and_take_their_part_of_the_lines() -> None:
    shares = {"truthful": 50, "zero_intelligence": 0, "outside": 50}
    scenario = Scenario.model_validate({"grid": "rural1", "first_day": 7, "strategies": shares})
    world = World(scenario)
    outside = {m.node for m in world.members if m.strategy is None}
    outcome = noon(scenario)
    assert len(outside) == len(world.members) // 2
    assert not outside & set(outcome.orders.node.tolist())
    assert outside <= outcome.settlement.nets_uyuan.keys()
    assert outcome.feeder.up_wh[1] < world.limits_wh[1] == outcome.feeder.down_wh[1]


def test_meter__that_deviates__is_settled_on_what_it_reads() -> None:
    plain = Scenario.model_validate(
        {
            "grid": "rural1",
            "first_day": 10,
            "forecast": "profile",
            "wires": {"curtail": False},
            "meters": {"pv": 50},
        }
    )
    faults = (
        {"kind": "scale", "meter": "pv-8", "percent": 50, "first_hour": 12, "last_hour": 12},
        {"kind": "silent", "meter": "pv-6"},
    )
    spoilt = Scenario.model_validate({**plain.model_dump(), "deviations": faults})
    node = {m.meter.meter: m.node for m in World(plain).members}
    bills = [{b.node: b for b in noon(s).settlement.bills} for s in (plain, spoilt)]
    exports = [b[node["pv-8"]].deviation.export_wh for b in bills]
    assert exports[1] == exports[0] // 2 > 0
    assert not bills[0][node["pv-6"]].flagged
    assert bills[1][node["pv-6"]].flagged
    full = noon(plain.model_copy(update={"meters": plain.meters.model_copy(update={"pv": 100})}))
    (whole,) = (b for b in full.settlement.bills if b.node == node["pv-8"])
    assert exports[0] == whole.deviation.export_wh // 2


def test_command__of_a_scenario__writes_picture_and_tables(tmp_path: Path) -> None:
    scenario = str(SCENARIOS / "rural1-calm.toml")
    result = CliRunner().invoke(app, [scenario, "--rule", "planned", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "planned" in result.output
    assert "pairwise" not in result.output
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"rural1-calm{end}" for end in ("-members.csv", "-periods.csv", ".png")]
    assert len((tmp_path / "rural1-calm-periods.csv").read_text().splitlines()) == 97
    assert len((tmp_path / "rural1-calm-members.csv").read_text().splitlines()) == 42


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["none.toml"], "none.toml cannot be read"),
        ([str(SCENARIOS / "rural3.toml"), "--rule", "auction"], "--rule auction: give planned"),
    ],
)
def test_command__with_bad_input__says_what_to_do(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert named in " ".join(result.output.split())
