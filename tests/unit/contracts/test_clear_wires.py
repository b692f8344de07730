"""Clearing on a feeder: the fixed headroom binds, and a vote that lowers a line re-games."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from eth_utils.crypto import keccak

from market.clear_calls import FRESH, prove
from market.clearing import Rule
from market.lines import Lines, pack_headroom
from market.messages import Objection, Order, Proposal, Step, Topic
from tests.unit.contracts.support import FUNDS_UYUAN, events, refused
from tests.world import World, new_world, undone

RURAL1 = Path(__file__).resolve().parents[3] / "data" / "simbench-rural1" / "grid.json"
CHECKED, CLEARED = 1, 2
FAR = 3
"""The bus whose line is short of headroom."""


@pytest.fixture(scope="module", params=list(Rule), ids=lambda rule: str(rule.value))
def _wired(request: pytest.FixtureRequest) -> Iterator[World]:
    with new_world(feeder=RURAL1, rule=request.param) as world:
        yield world


@pytest.fixture
def wired(_wired: World) -> Iterator[World]:
    with undone(_wired) as world:
        yield world


def lines(world: World) -> Lines:
    return Lines.unpack(bytes(world.chain.read(world.market.grid.functions.table())))


def fix_headroom(world: World, period: int, up_wh: int) -> bytes:
    """Have the committee leave little room on one line, towards the root."""
    table = lines(world)
    up = np.where(np.arange(len(table.parent)) == FAR, up_wh, table.up_wh)
    headroom = pack_headroom(up[1:], table.down_wh[1:])
    oracle, chain = world.market.oracle, world.chain
    world.warp(world.market.schedule.price_opens(period))
    seat = world.market.schedule.price_primary(period, world.now(), len(world.seats))
    call = oracle.functions.proposeHeadroom(period, [headroom])
    receipt = chain.send(world.seats[seat], call)
    (told,) = events(receipt, oracle, "HeadroomProposed")
    proposal = Proposal(Topic.HEADROOM, period, 0, told["round"], told["digest"])
    world.vote(proposal, (0, 1, 2))
    chain.send(world.stranger, oracle.functions.fixHeadroom(period, [keccak(headroom)]))
    return headroom


def ordered(world: World, up_wh: int) -> tuple[int, bytes]:
    """Return a period at its gate in which a kWh is offered behind the line, wanted at the root."""
    world.join(FAR + 1)  # node n is on bus n - 1
    for node in (0, 1, FAR + 1):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period(200)
    headroom = fix_headroom(world, period, up_wh)
    for node, sells, limit in ((FAR + 1, True, 400_000), (1, False, 450_000)):
        world.place(period, Order(node, period, period, (Step(sells, 1_000, limit),)))
    world.warp(world.market.schedule.gate(period))
    return period, headroom


def sold(world: World, period: int) -> int:
    return sum(p.sold_wh for p in world.history.positions(period))


def test_clear__where_headroom_binds__trades_what_passes(wired: World) -> None:
    period, headroom = ordered(wired, 300)
    assert wired.history.headroom(period) == headroom
    claim = prove(wired.market, wired.history, period).claim
    call = wired.market.master.functions.clear(period, claim, b"", b"", FRESH, [])
    refused("Grid.WrongHeadroom", call, wired.stranger, period, keccak(headroom)[:28])
    wired.keeper.clear(period)
    assert wired.history.state(period).stage == CHECKED
    wired.approve_clearing(period)
    assert sold(wired, period) == 300


def test_clear__where_prices_differ_by_zone__leaves_the_rent_to_the_line(wired: World) -> None:
    period, _ = ordered(wired, 300)
    wired.keeper.clear(period)
    wired.approve_clearing(period)
    positions = wired.history.positions(period)
    rent = sum(p.pay_nyuan - p.receive_nyuan for p in positions)
    assert rent == (300 * 50_000 if wired.market.rule is Rule.UNIFORM else 0)


def test_clear__after_objections_to_a_line__fits_its_lower_limit(wired: World) -> None:
    period, headroom = ordered(wired, 300)
    wired.keeper.clear(period)
    attempt, root, _ = wired.chain.read(wired.market.master.functions.clearingOf(period))
    clearing = Proposal(Topic.CLEARING, period, attempt, 0, bytes(root))
    objection = Objection(clearing, FAR, True, 120)
    signed = [
        objection.as_tuple(seat, objection.sign(wired.seats[seat], wired.market.domain))
        for seat in (0, 1)
    ]
    call = wired.market.oracle.functions.object(clearing.as_tuple(), signed, headroom)
    receipt = wired.chain.send(wired.stranger, call)
    (reopened,) = events(receipt, wired.market.master, "Reopened")
    assert reopened["attempt"] == 1

    wired.keeper.clear(period)
    wired.approve_clearing(period)
    assert wired.history.state(period).stage == CLEARED
    assert sold(wired, period) == 120
