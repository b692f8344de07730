"""Scenario files: what ships is good, what is wrong is named."""

from pathlib import Path

import pytest

from scripts.simulate.scenario import GridName, Scenario, ScenarioError, load_scenario
from scripts.simulate.world import World

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "data" / "scenarios").glob("*.toml"))
LEAST = 'grid = "rural1"\nfirst_day = 7\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenario__fits_its_grid(path: Path) -> None:
    world = World(load_scenario(path))
    assert len(world.expected(world.scenario.rows[-1])) == len(world.members)


def test_scenario__with_the_least__takes_the_defaults(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, LEAST))
    assert scenario == Scenario(grid=GridName.RURAL1, first_day=7)
    assert scenario.rows == range(672, 768)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('grid = "rural2"\nfirst_day = 7', "grid = 'rural2'"),
        ('grid = "rural1"', "first_day: is needed"),
        (LEAST + "day = 3", "day = 3: is not a key"),
        (LEAST + "days = 0", "days = 0"),
        (LEAST + 'rule = "auction"', "rule = 'auction'"),
        (LEAST + "seed = -1", "seed = -1"),
        ('grid = "rural1"\nfirst_day = 0', "no yesterday"),
        (LEAST + "[strategies]\ntruthful = 70", "strategies: the shares add up to 120"),
        (LEAST + "[values]\nload = [50, 40]", "values: load = .50, 40."),
        (LEAST + "[batteries]\nefficiency = 0", "batteries.efficiency = 0"),
        (LEAST + "[wires]\ntransformer = -1", "wires.transformer = -1"),
        (LEAST + "[trader]\nbid = 80", "trader: bid = 80 is not below ask = 80"),
        (LEAST + "[prices.benchmark]\nplanned = 1", "prices.benchmark: selling_uyuan_per_kwh"),
        (LEAST + '[[deviations]]\nkind = "late"', "deviations.0.kind = 'late'"),
        (LEAST + '[[deviations]]\nkind = "scale"', "deviations.0: scale takes percent"),
        (
            LEAST + '[[deviations]]\nkind = "silent"\nfirst_hour = 9\nlast_hour = 8',
            "deviations.0: first_hour = 9",
        ),
        (LEAST + "trader = 3", "trader = 3: is no table"),
        ("grid =", "is not TOML"),
    ],
)
def test_scenario__with_a_bad_key__is_refused_by_name(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(ScenarioError, match=named):
        load_scenario(written(tmp_path, text))


def test_scenario__that_is_not_there__says_where_examples_are(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="data/scenarios"):
        load_scenario(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (LEAST + '[wires.line]\n"Line 99" = 5', "wires.line.'Line 99': rural1 has no such line"),
        (LEAST + '[[deviations]]\nkind = "silent"\nmeter = "x"', "deviations.0.meter = 'x'"),
        (LEAST + "days = 8", "rural1 has no day 14"),
    ],
)
def test_scenario__that_does_not_fit_its_grid__is_refused_by_name(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(ScenarioError, match=named):
        World(load_scenario(written(tmp_path, text)))
