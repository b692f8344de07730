"""The grid file: what it describes is a tree, and what it should not describe is refused."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from market.grid import Grid, GridError, GridFileError, UnknownBus

DATA = Path(__file__).parents[2] / "data"
FILES = [DATA / "simbench-rural1" / "grid.json", DATA / "simbench-rural3" / "grid.json.gz"]


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.parent.name)
def grid(request: pytest.FixtureRequest) -> Grid:
    return Grid.load(request.param)


def test_tree__has_parents_first_and_each_bus_once(grid: Grid) -> None:
    tree = grid.tree
    assert sorted(tree.buses) == sorted(bus.bus for bus in grid.buses)
    assert tree.buses[0] == grid.feed.bus
    assert tree.branches[0].element is grid.trafo
    assert tree.parents[0] == 0
    for k, branch in enumerate(tree.branches):
        assert branch.parent == tree.parents[k + 1] <= k
        assert (branch.upper, branch.lower) == (tree.buses[branch.parent], tree.buses[k + 1])


def test_limits__are_energy_of_a_period_rounded_down(grid: Grid) -> None:
    tree = grid.tree
    for seconds in (900, 7):
        for branch, limit_wh in zip(tree.branches, tree.limits_wh(seconds), strict=True):
            watt_seconds = branch.limit_w * seconds
            assert limit_wh * 3600 <= watt_seconds < (limit_wh + 1) * 3600


def test_limits__in_ampere_and_in_watt_agree(grid: Grid) -> None:
    for line in grid.lines:
        full_w = 3**0.5 * grid.bus(line.from_bus).vn_v * line.max_i_a
        assert line.limit_w <= full_w < line.limit_w + 1
    assert grid.trafo.limit_w == pytest.approx(1e6 * grid.trafo.sn_mva)


def test_flows__are_the_sum_of_what_the_buses_below_export(grid: Grid) -> None:
    tree = grid.tree
    net_export_wh = np.random.default_rng(1).integers(-9_000, 9_000, (7, len(tree.buses)))
    before = net_export_wh.copy()
    below = np.zeros((len(tree.buses), len(tree.branches)), dtype=np.int64)
    for position in range(len(tree.buses)):
        below[position, list(tree.path(position))] = 1
    flows_wh = tree.flows_wh(net_export_wh)
    np.testing.assert_array_equal(flows_wh, net_export_wh @ below)
    np.testing.assert_array_equal(flows_wh[:, 0], net_export_wh[:, 1:].sum(axis=1))
    np.testing.assert_array_equal(net_export_wh, before)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 2, 2)])
def test_flows__of_another_shape__are_refused(grid: Grid, shape: tuple[int, ...]) -> None:
    with pytest.raises(GridError, match="a column for each bus"):
        grid.tree.flows_wh(np.zeros(shape, dtype=np.int64))


def test_columns__find_each_bus_and_name_the_unknown(grid: Grid) -> None:
    tree = grid.tree
    assert tree.columns(tree.buses[::-1]).tolist() == list(range(len(tree.buses)))[::-1]
    with pytest.raises(UnknownBus, match="bus 5000, 6000 is not"):
        tree.columns([6000, tree.buses[0], 5000])
    with pytest.raises(UnknownBus, match="bus 5000 is not"):
        grid.bus(5000)


def cut(raw: dict[str, Any]) -> None:
    del raw["lines"][-1]


def ring(raw: dict[str, Any]) -> None:
    raw["lines"][-1] |= {"from_bus": raw["lines"][0]["from_bus"], "to_bus": 1}


def stranger(raw: dict[str, Any]) -> None:
    raw["lines"][0]["to_bus"] = 4711


def twin(raw: dict[str, Any]) -> None:
    raw["buses"].append(raw["buses"][-1])


def low_feed(raw: dict[str, Any]) -> None:
    raw["feed"]["bus"] = raw["trafo"]["lv_bus"]


def high_feed(raw: dict[str, Any]) -> None:
    raw["feed"]["vm_pu"] = 2.0


def no_rating(raw: dict[str, Any]) -> None:
    del raw["lines"][2]["max_i_a"]


def text_for_number(raw: dict[str, Any]) -> None:
    raw["lines"][0]["length_km"] = "0.1"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut, "one way to each bus"),
        (ring, "one way to each bus"),
        (stranger, "4711"),
        (twin, "twice"),
        (low_feed, "not above the transformer"),
        (high_feed, "outside the band"),
        (no_rating, "lines.2.max_i_a"),
        (text_for_number, "lines.0.length_km"),
    ],
)
def test_load__a_grid_that_is_no_feeder__is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], says: str
) -> None:
    raw = json.loads(FILES[0].read_text())
    spoil(raw)
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(GridFileError, match=says) as caught:
        Grid.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grid.json", b"{"),
        ("grid.json", b"\xff\xfe"),
        ("grid.json.gz", b"{}"),
        ("grid.json.gz", gzip.compress(b"{}" * 99, mtime=0)[:20]),
    ],
)
def test_load__a_broken_file__is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    with pytest.raises(GridFileError, match="cannot be read"):
        Grid.load(path)
    path.write_bytes(content)
    with pytest.raises(GridFileError) as caught:
        Grid.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["simbench-rural1", "simbench-rural3"])
def test_extract__carries_its_licence_and_repeats(name: str) -> None:
    readme = (DATA / name / "README.md").read_text()
    for part in ("opendatacommons.org/licenses/odbl/1.0", "University of Kassel", "same"):
        assert part in readme
    for path in (DATA / name).glob("*.gz"):
        # No time stamp inside: the same rows make the same file.
        assert path.read_bytes()[4:8] == bytes(4)
