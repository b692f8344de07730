"""Batches of orders: what a relayer can and cannot do to those in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.messages import Order
from market.orders import SignedOrder, encode_entries
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    ask,
    batch_call,
    bid,
    crowd,
    events,
    live,
    named,
    order,
    ordering,
    refusal,
    refused,
)
from tests.world import World


def entries_of(world: World, *orders: Order) -> list[SignedOrder]:
    """Return orders with their nodes' signatures."""
    return [world.entry(o) for o in orders]


def test_place_batch__of_good_orders__enters_them_in_its_order(world: World) -> None:
    period = ordering(world, 4)
    orders = [order(period, 3), order(period, 1, bid(), ask(10, 500_000)), order(period, 4)]
    receipt = world.place_batch(period, orders)
    assert live(world, period) == [3, 1, 4]
    assert len(events(receipt, world.market.book, "OrdersPlaced")) == 1
    world.place_batch(period, [order(period, 2)])
    book = world.history.book(period)
    assert [p.batch for p in book.batches] == [0, 1]
    assert [r.seq for r in book.records] == [0, 1, 2, 3, 4]
    assert world.balance(1)[1] == 10 * (437_900 + 100_000) + 20_000


def test_place_batch__with_bad_entries__skips_each_for_the_reason_place_would_give(
    world: World,
) -> None:
    period = ordering(world, 4)
    world.join(1)  # node 5 has no money
    world.chain.send(world.grid, world.market.registry.functions.suspend(4, "seal broken"))
    forged = SignedOrder(order(period, 2), world.entry(order(period, 1)).signature)
    entries = [
        *entries_of(world, order(period, 1), order(period, 1, ask(10), nonce=1)),
        forged,
        *entries_of(world, order(period, 4), order(period, 5), order(period, 3, bid(9))),
        SignedOrder(order(period, 9), b""),
        *entries_of(world, order(period, 2, deadline=1), order(period + 1, 2), order(period, 3)),
        *entries_of(world, order(period, 2, *[bid()] * 5)),
    ]
    receipt = world.chain.send(world.stranger, batch_call(world, period, encode_entries(entries)))
    assert live(world, period) == [1, 3]
    skipped = {e["index"]: e["reason"] for e in events(receipt, world.market.book, "Skipped")}
    assert named("Book.AlreadyPlaced", skipped[1]) == (1, period)
    assert named("Book.NotSigned", skipped[2]) == (2, world.owner(2).address.lower())
    assert named("Book.NodeSuspended", skipped[3]) == (4,)
    assert named("Book.NotCovered", skipped[4])[0] == 5
    assert named("Book.StepTooSmall", skipped[5]) == (3, 9, 10)
    assert named("Book.UnknownNode", skipped[6]) == (9,)
    assert named("Book.Expired", skipped[7])[0] == 1
    assert named("Book.NotForPeriod", skipped[8]) == (period, period + 1, period + 1)
    assert named("Book.WrongStepCount", skipped[10]) == (2, 5)
    assert set(skipped) == {1, 2, 3, 4, 5, 6, 7, 8, 10}
    # What was skipped has changed nothing.
    assert world.balance(2) == (FUNDS_UYUAN, 0)


def test_place_batch__of_nothing_but_bad_entries__leaves_no_batch(world: World) -> None:
    period = ordering(world)
    world.place_batch(period, [order(period, 1, bid(1)), order(period, 2, bid(2))])
    assert world.history.book(period).batches == ()
    assert world.chain.read(world.market.book.functions.ordersOf(period)) == [0, 0]
    world.chain.send(world.stranger, batch_call(world, period, b""))
    assert world.history.book(period).batches == ()


def test_place_batch__reordered_or_thinned_by_the_relayer__leaves_the_others_as_they_are(
    world: World,
) -> None:
    period = ordering(world, 3)
    one, two, three = entries_of(world, *(order(period, node) for node in (1, 2, 3)))
    kept = batch_call(world, period, encode_entries([three, one]))
    world.chain.send(world.stranger, kept)
    assert live(world, period) == [3, 1]
    # Whom one relayer drops, any other can bring.
    later = batch_call(world, period, encode_entries([one, two, three]))
    receipt = world.chain.send(world.deployer, later)
    assert live(world, period) == [3, 1, 2]
    assert [e["index"] for e in events(receipt, world.market.book, "Skipped")] == [0, 2]


@pytest.mark.parametrize("cut", [1, 20, 63, 64, 65, 66, 75, 95])
def test_place_batch__cut_off__is_refused_whole_and_names_the_entry(world: World, cut: int) -> None:
    period = ordering(world)
    data = encode_entries(entries_of(world, order(period, 1), order(period, 2)))
    assert len(data) == 2 * 96
    refused("Book.MalformedEntry", batch_call(world, period, data[:-cut]), world.stranger, 1)
    world.chain.send(world.stranger, batch_call(world, period, data))
    assert live(world, period) == [1, 2]


@pytest.mark.parametrize(
    ("at", "byte", "index"),
    [(19, 255, 0), (30, 255, 0), (31, 65, 1), (96 + 19, 2, 1), (96 + 31, 255, 1), (96 + 30, 1, 1)],
    ids=["steps", "length", "one more", "a step more", "length of the last", "far out"],
)
def test_place_batch__with_a_count_that_points_outside__is_refused_whole(
    world: World, at: int, byte: int, index: int
) -> None:
    period = ordering(world)
    data = bytearray(encode_entries(entries_of(world, order(period, 1), order(period, 2))))
    data[at] = byte
    data_refused = refusal(batch_call(world, period, bytes(data)), world.stranger)
    assert data_refused is not None
    assert named("Book.MalformedEntry", data_refused)[0] >= index
    assert world.balance(1) == (FUNDS_UYUAN, 0)


def test_place_batch__with_trailing_bytes__is_refused_whole(world: World) -> None:
    period = ordering(world)
    data = encode_entries(entries_of(world, order(period, 1)))
    for tail in (b"\0", bytes(21)):
        call = batch_call(world, period, data + tail)
        refused("Book.MalformedEntry", call, world.stranger, 1)


def test_place_batch__for_another_bucket__finds_other_nodes(world: World) -> None:
    crowd(world, 257)
    world.fund(1, FUNDS_UYUAN)
    period = world.free_period()
    data = encode_entries(entries_of(world, order(period, 1)))
    call = batch_call(world, period, data, bucket=1)
    receipt = world.chain.send(world.stranger, call)
    (skipped,) = events(receipt, world.market.book, "Skipped")
    # The signature names node 1, so it is not that of node 257.
    expected = (257, world.owner(257).address.lower())
    assert named("Book.NotSigned", skipped["reason"]) == expected


def test_place_batch__sent_by_the_node_itself__is_no_approval(world: World) -> None:
    period = ordering(world)
    unsigned = replace(world.entry(order(period, 1)), signature=b"")
    call = batch_call(world, period, encode_entries([unsigned]))
    receipt = world.chain.send(world.owner(1), call)
    (skipped,) = events(receipt, world.market.book, "Skipped")
    assert named("Book.NotSigned", skipped["reason"]) == (1, world.owner(1).address.lower())

    digest = world.market.book.functions.orderDigest(
        order(period, 1).as_tuple(world.market.domain)
    ).call()
    world.chain.send(world.owner(1), world.market.book.functions.approve(1, digest))
    world.chain.send(world.stranger, call)
    assert live(world, period) == [1]


def test_place_batch__at_the_gate__is_refused_whole(world: World) -> None:
    period = ordering(world)
    gate = world.market.schedule.gate(period)
    call = batch_call(world, period, encode_entries(entries_of(world, order(period, 1))))
    world.warp(gate - 1)
    accepted(call, world.stranger)
    world.warp(gate)
    refused("Book.GateClosed", call, world.stranger, period, gate)
