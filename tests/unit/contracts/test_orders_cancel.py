"""Withdrawing an order: by whom, until when, with what proof, and what it frees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from web3.contract.contract import ContractFunction

from market.messages import Cancel
from market.orders import RECORD_BYTES
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    ask,
    bid,
    crowd,
    events,
    live,
    order,
    ordering,
    place_call,
    refused,
    send_at,
)
from tests.world import World


def cancel_call(
    world: World,
    cancel: Cancel,
    where: tuple[int, bytes, int] | None = None,
    signature: bytes | None = None,
) -> ContractFunction:
    """Return a cancel, signed by its node unless a signature is given."""
    domain = world.market.domain
    if where is None:
        where = world.history.book(cancel.period).place_of(cancel.node)
    if signature is None:
        signature = cancel.sign(world.owner(cancel.node), domain)
    return world.market.book.functions.cancel(cancel.as_tuple(domain), signature, *where)


def test_cancel__of_a_curve_in_a_batch__frees_its_lock_and_marks_its_records(
    world: World,
) -> None:
    period = ordering(world, 3)
    curve = order(period, 2, bid(11, 3), ask(1_000, 400_000), bid(33, 7))
    world.place_batch(period, [order(period, 1), curve, order(period, 3)])
    assert world.balance(2)[1] > 0
    receipt = world.cancel(period, 2, 1)
    (event,) = events(receipt, world.market.book, "Cancelled")
    assert (event["period"], event["node"], event["batch"]) == (period, 2, 0)
    assert (event["firstSeq"], event["leastNonce"]) == (1, 1)
    assert world.balance(2) == (FUNDS_UYUAN, 0)

    book = world.history.book(period)
    assert book.cancelled == {1, 2, 3}
    assert list(book.orders().node) == [1, 3]
    functions = world.market.book.functions
    assert world.chain.read(functions.ordersOf(period)) == [5, 3]
    bitmap = world.chain.read(functions.cancelledOf(period))
    assert bitmap == bytes([0b01110000]) + bytes(31)
    assert world.chain.read(functions.cancelledOf(period + 1)) == b""


def test_cancel__then_place_again__makes_a_new_order_at_the_end(world: World) -> None:
    period = ordering(world)
    for node in (1, 2):
        world.place(period, order(period, node))
    world.cancel(period, 1, 1)
    world.place(period, order(period, 1, nonce=1))
    assert live(world, period) == [2, 1]
    world.cancel(period, 1, 2)
    assert live(world, period) == [2]
    assert world.history.book(period).cancelled == {0, 2}


def test_cancel__by_own_transaction__needs_no_signature(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period))
    call = cancel_call(world, Cancel(1, period, 1), signature=b"")
    accepted(call, world.owner(1))
    for who in (world.stranger, world.owner(2), world.grid):
        refused("Book.NotSigned", call, who, 1, world.owner(1).address)
    forged = Cancel(1, period, 1).sign(world.owner(2), world.market.domain)
    call = cancel_call(world, Cancel(1, period, 1), signature=forged)
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


def test_cancel__in_the_gates_last_second__is_accepted_and_at_the_gate_refused(
    world: World,
) -> None:
    period = ordering(world)
    for node in (1, 2):
        world.place(period, order(period, node))
    gate = world.market.schedule.gate(period)
    late = cancel_call(world, Cancel(2, period, 1))
    send_at(world, gate - 1, world.stranger, cancel_call(world, Cancel(1, period, 1)))
    assert live(world, period) == [2]
    world.warp(gate)
    refused("Book.GateClosed", late, world.stranger, period, gate)


def test_cancel__for_another_market_or_expired__is_refused(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period))
    where = world.history.book(period).place_of(1)
    domain = world.market.domain
    foreign = replace(domain, market=b"\1" * 32)
    cancel = Cancel(1, period, 1, deadline=world.now())
    call = world.market.book.functions.cancel(cancel.as_tuple(foreign), b"", *where)
    refused("Book.WrongMarket", call, world.owner(1), foreign.market, domain.market)
    call = cancel_call(world, cancel)
    accepted(call, world.stranger)
    world.warp(cancel.deadline + 1)
    refused("Book.Expired", call, world.stranger, cancel.deadline, cancel.deadline + 1)


def test_cancel__replayed_against_a_later_order__is_refused(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period))
    old = Cancel(1, period, 1)
    world.chain.send(world.stranger, cancel_call(world, old))
    world.place(period, order(period, nonce=1))
    refused("Book.NonceNotRaised", cancel_call(world, old), world.stranger, 1, 1, 1)
    assert live(world, period) == [1]


def test_cancel__of_a_cancelled_order__is_refused(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period, 1, bid(), bid(20)))
    where = world.history.book(period).place_of(1)
    world.cancel(period, 1, 1)
    again = cancel_call(world, Cancel(1, period, 2), where)
    refused("Book.AlreadyCancelled", again, world.stranger, 1, 0)
    # Nor does a new order bring the old one's proof back.
    world.place(period, order(period, 1, nonce=5))
    refused("Book.AlreadyCancelled", again, world.stranger, 1, 0)


@pytest.mark.parametrize("change", ["number", "beyond", "bytes", "bucket", "period"])
def test_cancel__with_other_records__is_refused(world: World, change: str) -> None:
    period = ordering(world)
    world.place(period, order(period, 1))
    world.place(period, order(period, 2))
    batch, records, offset = world.history.book(period).place_of(1)
    cancel = Cancel(1, period, 1)
    if change == "number":
        batch = 1
    elif change == "beyond":
        batch = 2
    elif change == "bytes":
        # A larger energy would free more than was locked.
        records = records[:4] + bytes([1]) + records[5:]
    elif change == "bucket":
        cancel = replace(cancel, node=257)
    else:
        cancel = replace(cancel, period=period + 1)
    if change == "bucket":
        crowd(world, 255)
    call = cancel_call(world, cancel, (batch, records, offset))
    refused("Book.WrongBatch", call, world.stranger, cancel.period, batch)


def test_cancel__where_no_order_of_the_node_begins__is_refused(world: World) -> None:
    period = ordering(world, 3)
    world.place_batch(
        period, [order(period, 1), order(period, 2, bid(), bid(20)), order(period, 3)]
    )
    batch, records, offset = world.history.book(period).place_of(2)
    assert offset == RECORD_BYTES
    # In between records, on a neighbour's, on its own second step, behind the last.
    for wrong in (1, 17, 0, 32, 48, 64, 2**255):
        call = cancel_call(world, Cancel(2, period, 1), (batch, records, wrong))
        refused("Book.NotFirstRecord", call, world.stranger, 2, wrong)
    accepted(cancel_call(world, Cancel(2, period, 1)), world.stranger)


def test_cancel__of_one_of_many__lets_the_place_be_taken_again_for_money(world: World) -> None:
    period = ordering(world)
    all_in = bid(1_000_000, 899_000)
    world.place(period, order(period, 1, all_in))
    other = order(period + 1, 1, all_in)
    lock = 999_000_000
    refused("Book.NotCovered", place_call(world, period + 1, other), world.stranger, 1, lock)
    world.cancel(period, 1, 1)
    accepted(place_call(world, period + 1, other), world.stranger)


def test_cancel__a_fourth_time_in_a_period__is_refused(world: World) -> None:
    period = ordering(world, 1)
    for nonce in range(4):
        world.place(period, replace(order(period, 1), nonce=nonce))
        if nonce < 3:
            world.cancel(period, 1, nonce + 1)
    call = cancel_call(world, Cancel(1, period, 4))
    refused("Book.TooManyCancels", call, world.stranger, 1, period, 3)
    later = period + 1
    world.place(later, replace(order(later, 1), nonce=4))
    accepted(cancel_call(world, Cancel(1, later, 5)), world.stranger)
