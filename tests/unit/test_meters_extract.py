"""The shipped SimBench extract: complete, within capacity, congested where its README says so."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Role, Roster, load_roster
from oracle.meters.source import Reading

DATA = Path(__file__).parents[2] / "data" / "simbench-rural1"
ROWS = 14 * 96
CONGESTED = range(7 * 96, 8 * 96)


@pytest.fixture(scope="module")
def roster() -> Roster:
    return load_roster(DATA / "meters.csv")


@pytest.fixture(scope="module")
def grid() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / "grid.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def readings(roster: Roster) -> list[dict[str, Reading]]:
    source = ProfileSource(DATA / "profiles.csv.gz", roster)
    assert not source.strays
    periods = []
    for period in range(ROWS):
        answers = list(source.read(period))
        good = {answer.meter: answer for answer in answers if isinstance(answer, Reading)}
        assert len(good) == len(answers)
        periods.append(good)
    return periods


def test_extract__has_each_element_of_the_net_once(roster: Roster, grid: dict[str, Any]) -> None:
    roles = [meter.role for meter in roster.values()]
    assert roles == [Role.CONSUMER] * 28 + [Role.GENERATOR] * 8 + [Role.STORAGE] * 5
    assert len({meter.element for meter in roster.values()}) == len(roster)
    assert {meter.bus for meter in roster.values()} <= {bus["bus"] for bus in grid["buses"]}
    assert set(grid["var_per_w"]) == set(roster)


def test_extract__every_meter_reads_in_every_period(
    roster: Roster, readings: list[dict[str, Reading]]
) -> None:
    assert all(list(period) == list(roster) for period in readings)
    for meter in roster:
        assert any(p[meter].import_wh or p[meter].export_wh for p in readings), meter


def test_extract__grid_is_a_tree_below_the_transformer(grid: dict[str, Any]) -> None:
    edges = [(line["from_bus"], line["to_bus"]) for line in grid["lines"]]
    edges.append((grid["trafo"]["hv_bus"], grid["trafo"]["lv_bus"]))
    reached = {grid["feed"]["bus"]}
    for _ in edges:
        reached |= {bus for edge in edges if reached & set(edge) for bus in edge}
    assert reached == {bus["bus"] for bus in grid["buses"]}
    assert len(edges) == len(grid["buses"]) - 1
    assert all(line["limit_w"] > 0 for line in grid["lines"])


def test_extract__congested_day__feeds_back_twice_the_transformer(
    grid: dict[str, Any], readings: list[dict[str, Reading]]
) -> None:
    limit_wh = grid["trafo"]["limit_w"] * 900 // 3600
    back_wh = [sum(r.export_wh - r.import_wh for r in period.values()) for period in readings]
    above = [row for row in CONGESTED if back_wh[row] > limit_wh]
    assert len(above) >= 20
    assert max(back_wh[row] for row in CONGESTED) > 2 * limit_wh
    # Whole days keep to the limit as well, so that a comparison has both.
    assert any(max(back_wh[day * 96 : (day + 1) * 96]) < limit_wh // 2 for day in range(ROWS // 96))


def test_extract__days_begin_in_the_dark_and_see_the_sun(
    readings: list[dict[str, Reading]],
) -> None:
    for day in range(ROWS // 96):
        sun_wh = [p["pv-1"].export_wh for p in readings[day * 96 : (day + 1) * 96]]
        assert sum(sun_wh[: 4 * 4]) == sum(sun_wh[23 * 4 :]) == 0
        assert sum(sun_wh) > 0


def test_extract__is_small_and_carries_its_licence() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 210_000
    readme = (DATA / "README.md").read_text()
    for part in ("opendatacommons.org/licenses/odbl/1.0", "University of Kassel", "same"):
        assert part in readme
    # No time stamp inside: the same rows make the same file.
    assert (DATA / "profiles.csv.gz").read_bytes()[4:8] == bytes(4)
    assert gzip.decompress((DATA / "profiles.csv.gz").read_bytes()).count(b"\n") == 41 * ROWS + 1
