"""The packed lines of a feeder: what fits them, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from market.clearing import Feeder
from market.grid import Branch, Grid, GridError, Tree
from market.lines import MOST_BUSES, SINGLE_BUS, Derate, Lines, pack_headroom, table_of

FILE = Path(__file__).parents[2] / "data" / "simbench-rural1" / "grid.json"
GRID = Grid.load(FILE)
LINES = Lines.unpack(table_of(GRID.tree, 900))


def test_lines__unpacked__pack_to_the_same_bytes() -> None:
    assert LINES.pack() == table_of(GRID.tree, 900)
    assert Lines.unpack(SINGLE_BUS).pack() == SINGLE_BUS


@pytest.mark.parametrize("packed", [b"", bytes(9), bytes(21)])
def test_lines__of_no_whole_records__are_refused(packed: bytes) -> None:
    with pytest.raises(GridError, match="records of 10"):
        Lines.unpack(packed)


def test_lines__derated__only_ever_lower_one_side() -> None:
    limit_wh = LINES.limit_wh(3, up=True)
    lower = LINES.derated([Derate(3, True, 7), Derate(3, True, 9), Derate(4, False, 2**32 - 1)])
    assert lower.limit_wh(3, up=True) == 7
    assert lower.limit_wh(3, up=False) == limit_wh
    assert lower.limit_wh(4, up=False) == LINES.limit_wh(4, up=False)
    assert LINES.limit_wh(3, up=True) == limit_wh


def test_lines__with_headroom__keep_the_tree_and_the_root() -> None:
    count = len(LINES.parent) - 1
    changed = LINES.with_headroom(pack_headroom(range(count), range(100, 100 + count)))
    assert changed.parent.tolist() == LINES.parent.tolist()
    assert changed.up_wh.tolist() == [0, *range(count)]
    assert changed.down_wh.tolist() == [0, *range(100, 100 + count)]
    with pytest.raises(GridError, match="not for 15 buses"):
        LINES.with_headroom(bytes(8))


def test_lines__as_a_feeder__are_what_a_clearing_takes() -> None:
    feeder = LINES.feeder()
    assert isinstance(feeder, Feeder)
    assert feeder.parent.tolist() == list(GRID.tree.parents)
    assert feeder.up_wh[1:].tolist() == list(GRID.tree.limits_wh(900))


@pytest.mark.parametrize("value", [-1, 2**32])
def test_headroom__beyond_its_field__is_refused(value: int) -> None:
    with pytest.raises(GridError, match="give 0 to"):
        pack_headroom([1, 2], [3, value])
    assert pack_headroom([], []) == b""


def test_table__that_no_contract_holds__is_refused() -> None:
    with pytest.raises(GridError, match="period too long"):
        table_of(GRID.tree, 100_000_000)
    branch = GRID.tree.branches[1]
    buses = tuple(range(MOST_BUSES + 1))
    star = tuple(Branch(branch.element, 0, 0, bus) for bus in buses[1:])
    with pytest.raises(GridError, match=f"a market holds {MOST_BUSES}"):
        table_of(Tree("wide", buses, star), 900)
    assert len(table_of(Tree("fits", buses[:-1], star[:-1]), 900)) == 10 * MOST_BUSES
    half_hour = Lines.unpack(table_of(GRID.tree, 1800))
    assert tuple(half_hour.up_wh[1:]) == GRID.tree.limits_wh(1800)
