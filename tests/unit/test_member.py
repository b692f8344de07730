"""A member and an operator on a real chain: what is placed, relayed, cancelled and refused."""

import pytest

from market.chain import Reverted
from market.member import Member, Stage, ask, bid
from market.messages import Step
from market.operator import Operator
from market.types import Options
from tests.world import YUAN, World


@pytest.fixture
def members(world: World) -> list[Member]:
    nodes = world.join(3)
    for node in nodes:
        world.fund(node, 1_000 * YUAN)
    return [Member(world.market, world.owner(node), node) for node in nodes]


def live(world: World, period: int) -> dict[int, list[Step]]:
    return {
        node: [Step(r.sells, r.energy_wh, r.limit_uyuan_per_kwh) for r in records]
        for node, records in world.history.book(period).by_node().items()
    }


def test_place__by_own_transaction__stands_in_the_book(world: World, members: list[Member]) -> None:
    period = world.free_period()
    steps = (bid(2_000, 380_000), ask(1_500, 450_000))
    order = members[0].place(period, *steps, options=Options.RESERVE)
    assert live(world, period) == {members[0].node: list(steps)}
    assert {r.options for r in world.history.book(period).live} == {Options.RESERVE}
    assert (order.first_period, order.last_period) == (period, period)
    assert members[0].stage(period) is Stage.OPEN


def test_cancel__of_an_order__frees_the_lock_and_kills_its_signature(
    world: World, members: list[Member]
) -> None:
    period, me = world.free_period(), members[0]
    before = world.balance(me.node)
    signed = me.sign(me.order(period, bid(2_000, 380_000)))
    operator = Operator(world.market, world.stranger)
    assert operator.relay(period, [signed]) == []
    assert world.balance(me.node) != before

    me.cancel(period)

    assert live(world, period) == {}
    assert world.balance(me.node) == before
    (refused,) = operator.relay(period, [signed])
    assert refused.error == "NonceTooLow"
    assert f"node {me.node} was skipped: NonceTooLow" in str(refused)
    # The next order takes a nonce that is good again.
    me.place(period, bid(1_000, 380_000))
    assert live(world, period) == {me.node: [bid(1_000, 380_000)]}


def test_cancel__without_an_order__says_so(world: World, members: list[Member]) -> None:
    with pytest.raises(LookupError, match=f"node {members[0].node} has no live order"):
        members[0].cancel(world.free_period())


def test_place__of_what_the_book_refuses__says_why(world: World, members: list[Member]) -> None:
    with pytest.raises(Reverted, match="StepTooSmall"):
        members[0].place(world.free_period(), bid(9, 380_000))


def test_relay__of_many__places_the_good_and_names_the_bad(
    world: World, members: list[Member]
) -> None:
    period = world.free_period()
    a, b, c = members
    good = [a.sign(a.order(period, ask(500, 400_000))), c.sign(c.order(period, bid(700, 420_000)))]
    bad = b.sign(b.order(period, ask(500, 400_000), bid(500, 400_000)))
    sent: list[int] = []

    refused = Operator(world.market, world.stranger).relay(
        period, [good[0], bad, good[1]], sent.append
    )

    assert live(world, period) == {a.node: [ask(500, 400_000)], c.node: [bid(700, 420_000)]}
    assert [(r.signed, r.error) for r in refused] == [(bad, "CrossesItself")]
    assert sum(sent) == 3


def test_standing_order__signed_once__enters_each_of_its_periods(
    world: World, members: list[Member]
) -> None:
    me, first = members[0], world.free_period()
    signed = me.sign(me.order(first, ask(500, 400_000), last_period=first + 1))
    operator = Operator(world.market, world.stranger)
    for period in (first, first + 1):
        assert operator.relay(period, [signed]) == []
        assert live(world, period) == {me.node: [ask(500, 400_000)]}
    (refused,) = operator.relay(first + 2, [signed])
    assert refused.error == "NotForPeriod"
