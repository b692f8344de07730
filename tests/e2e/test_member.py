"""A period as its members live it: ordered, cleared behind a full line, settled, explained."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from market.clearing import Why
from market.member import Member, Stage, ask, bid
from market.messages import Proposal, Topic
from market.operator import Operator
from market.types import MeterReading, Options, Quality
from tests.world import YUAN, World, new_world

RURAL1 = Path(__file__).resolve().parents[2] / "data" / "simbench-rural1" / "grid.json"
TRAFO_WH = 40_000
"""What the transformer, line 1, carries in a period."""


@pytest.fixture(scope="module")
def wired() -> Iterator[World]:
    with new_world(feeder=RURAL1) as world:
        yield world


def test_period__from_order_to_bill__is_followed_and_explained(wired: World) -> None:
    world = wired
    # One above the transformer, one at it, one below.
    near, idle, far = (Member(world.market, world.owner(n), n) for n in world.join(3))
    for member in (far, near, idle):
        world.fund(member.node, 1_000 * YUAN)
    operator = Operator(world.market, world.stranger)
    period = world.free_period()
    seen = far.follow(period, poll_s=0)

    assert next(seen) is Stage.OPEN
    far.place(period, ask(60_000, 350_000), options=Options.OFFER)
    signed = near.sign(near.order(period, bid(45_000, 500_000), bid(500, 400_000)))
    assert operator.relay(period, [signed]) == []
    assert far.explain(period).steps == ()

    world.warp(world.market.schedule.gate(period))
    assert next(seen) is Stage.CLOSED
    operator.clear(period)
    assert next(seen) is Stage.CHECKED

    (sold,) = far.explain(period).steps
    assert (sold.filled_wh, sold.why, sold.line) == (TRAFO_WH, Why.BEHIND_LINE, 1)
    first, second = near.explain(period).steps
    assert (first.filled_wh, first.why, first.line) == (TRAFO_WH, Why.BEHIND_LINE, 1)
    assert (second.filled_wh, second.line) == (0, 1)
    assert idle.explain(period).steps == ()

    attempt = world.chain.read(world.market.master.functions.clearingOf(period))[0]
    root = bytes(world.chain.read(world.market.master.functions.positionsRoot(period)))
    world.vote(Proposal(Topic.CLEARING, period, attempt, 0, root), (0, 1, 2))
    assert next(seen) is Stage.CLEARED

    world.warp(world.market.schedule.close(period))
    readings = [
        MeterReading(idle.node, Quality.MEASURED, 0, 0),
        MeterReading(near.node, Quality.MEASURED, 0, 45_000),
        MeterReading(far.node, Quality.MEASURED, 41_000, 0),
    ]
    world.report(period, readings)
    assert next(seen) is Stage.REPORTED
    assert operator.settle(period)
    assert list(seen) == [Stage.SETTLED]

    told = far.explain(period)
    assert told.bill is not None
    assert told.bill.plan.sold_wh == TRAFO_WH
    assert told.bill.deviation.over_wh == 1_000
    text = str(told).splitlines()
    assert text[0] == f"period {period}: settled"
    assert "line 1 is at its limit" in text[1]
    assert text[2].startswith("plan: sold 40000 Wh, bought 0 Wh, +")
    assert text[-1] == f"net {told.bill.net_uyuan:+d} uyuan"
    paid = near.explain(period).bill
    assert paid is not None
    assert -paid.plan.net_uyuan > told.bill.plan.net_uyuan


def test_period__without_a_clearing_in_time__is_void(wired: World) -> None:
    world = wired
    (node,) = world.join(1)
    world.fund(node, 1_000 * YUAN)
    me, period = Member(world.market, world.owner(node), node), world.free_period()
    me.place(period, ask(3_000, 350_000))
    world.warp(world.market.schedule.last_call(period))

    assert me.stage(period) is Stage.VOID
    assert me.explain(period).steps == ()
    Operator(world.market, world.stranger).clear(period)
    assert me.stage(period) is Stage.VOID
