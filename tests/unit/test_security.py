"""The committee's word on a clearing: what it lets stand, and which line it names otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from market.grid import Grid
from market.lines import Derate, Lines, table_of
from market.powerflow import AcCheck, Load, judge

DATA = Path(__file__).parents[2] / "data"
VAR_PER_W = 0.4
FAR = 14
"""A bus at the end of a branch of rural1."""
FULL_WH = 46_000
"""What the linear flow lets pass and the cables do not, with some reactive power."""


@pytest.fixture(scope="module")
def check() -> AcCheck:
    return AcCheck(Grid.load(DATA / "simbench-rural1" / "grid.json"))


@pytest.fixture(scope="module")
def lines(check: AcCheck) -> Lines:
    return Lines.unpack(table_of(check.grid.tree, check.period_s))


def trade(wh: int, seller: int = 1, buyer: int = FAR) -> list[Load]:
    """Trade between two buses of which nothing is forecast."""
    return [
        Load(seller, 0, 0, sold_wh=wh),
        Load(buyer, 0, 0, bought_wh=wh, var_per_w=VAR_PER_W),
    ]


def test_judge__what_fits__may_stand(check: AcCheck, lines: Lines) -> None:
    verdict = judge(check, lines, trade(20_000))
    assert (verdict.derate, verdict.reason) == (None, "within all limits")


def test_judge__overloaded_line__names_it_and_a_limit_that_mends(
    check: AcCheck, lines: Lines
) -> None:
    derate = judge(check, lines, trade(FULL_WH)).derate
    assert derate is not None
    path = [branch + 1 for branch in check.grid.tree.path(FAR)]
    assert derate.line in path[:-1]
    assert not derate.up
    assert derate.limit_wh < min(FULL_WH, lines.limit_wh(derate.line, up=False))
    assert judge(check, lines.derated([derate]), trade(derate.limit_wh)).derate is None


def test_judge__sellers_far_out__raise_the_voltage_and_are_cut_on_their_way_up(
    check: AcCheck, lines: Lines
) -> None:
    raw = check.grid.model_dump()
    for bus in raw["buses"]:
        bus["max_vm_pu"] = max(1.03, raw["feed"]["vm_pu"])
    grid = Grid.model_validate(raw)
    narrow = AcCheck(grid)
    loads = trade(40_000, seller=FAR, buyer=1)
    held = lines
    for _ in range(4):
        derate = judge(narrow, held, loads).derate
        if derate is None:
            break
        assert derate.up
        assert derate.line - 1 in grid.tree.path(FAR)
        held = held.derated([derate])
        loads = trade(derate.limit_wh, seller=FAR, buyer=1)
    assert derate is None
    assert 0 < loads[0].sold_wh < 40_000


def test_judge__what_is_overloaded_anyhow__is_not_the_markets(check: AcCheck, lines: Lines) -> None:
    drawn = [Load(FAR, FULL_WH, 0, var_per_w=VAR_PER_W), Load(1, 0, FULL_WH)]
    relabelled = [
        Load(FAR, FULL_WH, 0, bought_wh=30_000, var_per_w=VAR_PER_W),
        Load(1, 0, FULL_WH, sold_wh=30_000),
    ]
    assert judge(check, lines, drawn).reason == "nothing flows for the market"
    verdict = judge(check, lines, relabelled)
    assert verdict.derate is None
    assert verdict.reason.startswith("not the market's")


@pytest.mark.parametrize("static_wh", [None, 30_000, 0])
def test_judge__what_agreements_overload__is_opposed_until_no_order_adds_to_it(
    check: AcCheck, lines: Lines, static_wh: int | None
) -> None:
    held = lines
    if static_wh is not None:
        limits = np.full_like(lines.up_wh, static_wh)
        held = Lines(lines.parent, limits, limits)
    agreed = trade(FULL_WH)
    for _ in check.grid.tree.path(FAR):
        derate = judge(check, held, agreed).derate
        if derate is None:
            break
        assert derate.limit_wh < held.limit_wh(derate.line, up=derate.up)
        held = held.derated([derate])
    assert judge(check, held, agreed).reason.startswith("not the market's")


def test_judge__agreements_without_a_solution__are_not_the_markets(
    check: AcCheck, lines: Lines
) -> None:
    verdict = judge(check, lines, trade(1_000_000))
    assert verdict.derate is None
    assert verdict.reason == "the power flow does not converge with the agreements"


def test_judge__beyond_forecast__cuts_no_more_than_the_market_adds(
    check: AcCheck, lines: Lines
) -> None:
    more = [
        Load(FAR, 44_000, 0, bought_wh=46_000, var_per_w=VAR_PER_W),
        Load(1, 0, 44_000, sold_wh=46_000),
    ]
    derate = judge(check, lines, more).derate
    assert derate is not None
    assert derate.limit_wh == 44_000


def test_judge__no_solution_with_the_trades__halves_the_fullest_line(check: AcCheck) -> None:
    tree = check.grid.tree
    huge = np.full(len(tree.buses), 4_000_000_000)
    huge[0] = 0
    lines = Lines(np.array(tree.parents), huge, huge)
    verdict = judge(check, lines, trade(1_000_000))
    assert verdict.derate == Derate(verdict.derate.line, False, 500_000)  # type: ignore[union-attr]
    forecast = [Load(1, 0, 1_000_000, sold_wh=5), Load(FAR, 1_000_000, 0, bought_wh=5)]
    assert judge(check, lines, forecast).derate is None


def test_judge__bus_off_the_feeder__counts_at_the_root(check: AcCheck, lines: Lines) -> None:
    for wh in (20_000, FULL_WH):
        there = judge(check, lines, trade(wh, seller=0))
        off = judge(check, lines, trade(wh, seller=9_999))
        assert off == there
