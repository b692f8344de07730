"""What an attacker may try with orders: shared storage, ids that wrap, members put out."""

from __future__ import annotations

from market.messages import Cancel
from market.orders import encode_entries
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    ask,
    batch_call,
    bid,
    cleared,
    events,
    live,
    named,
    order,
    ordering,
    refused,
)
from tests.world import World

RING = 128
WRAP = 1 << 24
"""A bucket this far on has the node ids of another one, if ids are cut to 32 bits."""


def test_cancel__with_a_batch_left_in_storage_by_an_earlier_period__is_refused(
    world: World,
) -> None:
    period = ordering(world)
    world.place(period, order(period, 2))
    world.place(period, order(period, 1))
    stale = world.history.book(period).place_of(1)
    cleared(world, period)

    later = period + RING
    world.warp(world.market.schedule.gate(later - 3))
    world.place(later, order(later, 2))
    before = world.balance(1)
    domain, book = world.market.domain, world.market.book.functions
    cancel = Cancel(1, later, 1).as_tuple(domain)
    for batch in (0, stale[0]):
        call = book.cancel(cancel, b"", batch, *stale[1:])
        refused("Book.WrongBatch", call, world.owner(1), later, batch)
    assert world.balance(1) == before


def test_place_batch__for_a_bucket_whose_ids_wrap__finds_nobody(world: World) -> None:
    period = ordering(world)
    entries = encode_entries([world.entry(order(period, 1))])
    receipt = world.chain.send(world.stranger, batch_call(world, period, entries, WRAP))
    (skipped,) = events(receipt, world.market.book, "Skipped")
    assert named("Book.UnknownNode", skipped["reason"]) == (1,)
    assert world.balance(1) == (FUNDS_UYUAN, 0)


def test_clear__of_a_member_suspended_since__trades_what_it_ordered(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period, 1, ask(10_000, 430_000)))
    world.place(period, order(period, 2, bid(10_000, 440_000)))
    suspend = world.market.registry.functions.suspend(1, "an audit")
    world.chain.send(world.grid, suspend)
    assert live(world, period) == [1, 2]
    cleared(world, period)
    positions = {p.node: p for p in world.history.positions(period)}
    assert (positions[1].sold_wh, positions[2].bought_wh) == (10_000, 10_000)
