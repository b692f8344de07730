"""Orders one by one: when, what and whose they may be, and what they lock."""

from __future__ import annotations

import pytest
from web3.contract.contract import ContractFunction

from market.messages import Order, Step
from market.orders import SignedOrder, encode_entries, lock_uyuan
from market.types import Options
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    ask,
    bid,
    crowd,
    events,
    live,
    measured,
    order,
    ordering,
    place_call,
    refused,
    send_at,
)
from tests.world import EPOCH_S, LIMITS, World, new_world

CAP = LIMITS.price_cap_uyuan_per_kwh
FEE_CAP = LIMITS.fee_cap_uyuan_per_kwh
AHEAD = 96
RING = 128


def head_slot(world: World, period: int) -> int:
    """Find where the book keeps a period's head, by its value."""
    w3, book = world.chain.w3, world.market.book.address
    (orders, cancelled) = world.chain.read(world.market.book.functions.ordersOf(period))
    for mapping in range(32):
        key = (period % RING).to_bytes(32, "big") + mapping.to_bytes(32, "big")
        slot = int.from_bytes(w3.keccak(key), "big")
        word = int.from_bytes(w3.eth.get_storage_at(book, slot), "big")
        if (word >> 96, word >> 64 & 0xFFFFFFFF, word >> 32 & 0xFFFFFFFF) == (
            period,
            orders,
            cancelled,
        ):
            return slot
    raise AssertionError("no head found")


def test_place__a_curve__locks_its_worst_case_and_tells_its_records(world: World) -> None:
    period = ordering(world)
    curve = (bid(1_001, 200_001), bid(2_000, 100_000), ask(3_003, 500_000))
    receipt = world.place(period, order(period, 1, *curve, options=Options.OFFER))
    nyuan = 1_001 * (200_001 + FEE_CAP) + 2_000 * (100_000 + FEE_CAP) + 3_003 * CAP
    lock = -(-nyuan // 1000)
    assert world.balance(1) == (FUNDS_UYUAN - lock, lock)

    (event,) = events(receipt, world.market.book, "OrdersPlaced")
    assert (event["period"], event["bucket"], event["batch"]) == (period, 0, 0)
    book = world.history.book(period)
    assert [(r.seq, r.node, r.bus, r.options) for r in book.records] == [
        (seq, 1, 0, Options.OFFER) for seq in range(3)
    ]
    assert [Step(r.sells, r.energy_wh, r.limit_uyuan_per_kwh) for r in book.records] == list(curve)
    assert book.locks(LIMITS) == {1: lock}


def test_place__by_several_nodes__numbers_the_steps_as_they_are_accepted(world: World) -> None:
    period = ordering(world, 3)
    for node, steps in ((2, 2), (3, 1), (1, 4)):
        world.place(period, order(period, node, *[bid()] * steps))
    records = world.history.book(period).records
    assert [(r.seq, r.node) for r in records] == list(enumerate([2, 2, 3, 1, 1, 1, 1]))
    assert {r.node: r.bus for r in records} == {1: 0, 2: 1, 3: 2}
    assert world.chain.read(world.market.book.functions.ordersOf(period)) == [7, 0]


def test_place__around_a_bucket_boundary__keeps_a_chain_per_bucket(world: World) -> None:
    crowd(world, 257)
    period = world.free_period()
    for node in (257, 255, 256):
        world.fund(node, FUNDS_UYUAN)
        world.place(period, order(period, node))
    book, functions = world.history.book(period), world.market.book.functions
    assert {bucket: count for bucket, (_, count) in book.chains().items()} == {0: 1, 1: 2}
    assert [r.node for r in book.records] == [257, 255, 256]
    assert world.chain.read(functions.chainOf(period, 2)) == [bytes(24), 0]
    assert world.chain.read(functions.chainOf(period + 1, 0)) == [bytes(24), 0]


# -- instants


def test_place__in_the_last_second_before_the_gate__is_accepted(world: World) -> None:
    period = ordering(world)
    gate = world.market.schedule.gate(period)
    send_at(world, gate - 1, world.stranger, place_call(world, period, order(period)))
    assert live(world, period) == [1]
    world.warp(gate)
    late = place_call(world, period, order(period, 2))
    refused("Book.GateClosed", late, world.stranger, period, gate)


def test_place__as_far_ahead_as_the_vault_remembers__is_accepted(world: World) -> None:
    ordering(world)
    schedule = world.market.schedule
    first = next(p for p in range(10**6) if schedule.gate(p) > world.now())
    last = first + AHEAD - 1
    accepted(place_call(world, last, order(last)), world.stranger)
    over = place_call(world, last + 1, order(last + 1))
    refused("Book.TooFarAhead", over, world.stranger, last + 1, last)
    world.warp(schedule.gate(first))
    accepted(over, world.stranger)


def test_place__up_to_its_deadline__is_accepted(world: World) -> None:
    period = ordering(world)
    deadline = world.now() + 100
    call = place_call(world, period, order(period, deadline=deadline))
    world.warp(deadline)
    accepted(call, world.stranger)
    world.warp(deadline + 1)
    refused("Book.Expired", call, world.stranger, deadline, deadline + 1)


@pytest.mark.parametrize("period_off", [-1, 2])
def test_place__standing_order__is_good_for_its_periods_only(world: World, period_off: int) -> None:
    first = ordering(world)
    standing = order(first, last_period=first + 1)
    for period in (first, first + 1):
        world.place(period, standing)
        assert live(world, period) == [1]
    call = place_call(world, first + period_off, standing)
    refused("Book.NotForPeriod", call, world.stranger, first + period_off, first, first + 1)
    # Each entry locks by itself.
    lock = 2 * 10 * (437_900 + FEE_CAP)
    assert world.balance(1) == (FUNDS_UYUAN - lock, lock)


def test_place__for_a_period_before_the_market__is_refused() -> None:
    # Deployed before its epoch, the market begins with period 1, while the gate of 0 is open.
    with new_world(genesis_s=EPOCH_S - 7_200) as world:
        world.join(1)
        refused("Book.BeforeMarket", place_call(world, 0, order(0)), world.stranger, 0, 1)
        world.fund(1, FUNDS_UYUAN)
        accepted(place_call(world, 1, order(1)), world.stranger)


def test_place__while_paused__is_refused_and_cancel_is_not(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period))
    world.chain.send(world.grid, world.market.registry.functions.pause())
    refused("Book.OrdersPaused", place_call(world, period, order(period, 2)), world.stranger)
    world.cancel(period, 1, 1)
    assert live(world, period) == []


# -- who


def test_place__naming_another_market__is_refused(world: World) -> None:
    period = ordering(world)
    domain = world.market.domain
    values = (b"\1" * 32, *order(period).as_tuple(domain)[1:])
    call = world.market.book.functions.place(period, values, b"")
    refused("Book.WrongMarket", call, world.owner(1), b"\1" * 32, domain.market)


def test_place__unknown_node__is_refused(world: World) -> None:
    period = ordering(world)
    for node in (0, 3, 700):
        call = place_call(world, period, order(period, node), b"")
        refused("Book.UnknownNode", call, world.stranger, node)


def test_place__suspended__is_refused(world: World) -> None:
    period = ordering(world)
    world.chain.send(world.grid, world.market.registry.functions.suspend(1, "seal broken"))
    refused("Book.NodeSuspended", place_call(world, period, order(period)), world.stranger, 1)


@pytest.mark.parametrize(("role", "step"), [(1, bid()), (2, ask())])
def test_place__against_the_role__is_refused(world: World, role: int, step: Step) -> None:
    world.join(1, role=role)
    period = world.free_period()
    call = place_call(world, period, order(period, 1, step))
    refused("Book.RoleForbids", call, world.stranger, 1, role)


def test_place__by_a_store__may_bid_and_ask_at_once(world: World) -> None:
    (node,) = world.join(1, role=4)
    world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.place(period, order(period, node, bid(100, 1), ask(100, 2)))
    assert live(world, period) == [node]


# -- what


@pytest.mark.parametrize("options", [8, 128, 255])
def test_place__unknown_options__is_refused(world: World, options: int) -> None:
    period = ordering(world)
    values = list(order(period).as_tuple(world.market.domain))
    values[4] = options
    call = world.market.book.functions.place(period, tuple(values), b"")
    refused("Book.UnknownOptions", call, world.owner(1), options)


@pytest.mark.parametrize("count", [0, 5, 255])
def test_place__more_than_four_steps_or_none__is_refused(world: World, count: int) -> None:
    period = ordering(world)
    wanted = Order(1, period, period, (bid(),) * count)
    call = place_call(world, period, wanted)
    refused("Book.WrongStepCount", call, world.stranger, 1, count)


def test_place__what_no_entry_holds__is_refused(world: World) -> None:
    period = ordering(world)
    steps = place_call(world, period, Order(1, period, period, (bid(),) * 256))
    refused("Book.MalformedEntry", steps, world.stranger, 0)
    signature = place_call(world, period, order(period), bytes(65_536))
    refused("Book.MalformedEntry", signature, world.stranger, 0)


@pytest.mark.parametrize("small", [0, 9])
def test_place__dust__is_refused(world: World, small: int) -> None:
    period = ordering(world)
    call = place_call(world, period, order(period, 1, bid(), ask(small, 500_000)))
    refused("Book.StepTooSmall", call, world.stranger, 1, small, 10)
    accepted(place_call(world, period, order(period, 1, bid(10))), world.stranger)


def test_place__limit_above_the_cap__is_refused(world: World) -> None:
    period = ordering(world)
    for step in (bid, ask):
        call = place_call(world, period, order(period, 1, step(10, CAP + 1)))
        refused("Book.LimitAboveCap", call, world.stranger, 1, CAP + 1, CAP)
        accepted(place_call(world, period, order(period, 1, step(10, CAP))), world.stranger)


@pytest.mark.parametrize("step", [bid, ask])
def test_place__more_than_capacity_over_its_steps__is_refused(world: World, step: object) -> None:
    assert callable(step)
    period = ordering(world, capacity_wh=9_999)
    over = order(period, 1, step(5_000, 1), step(5_000, 2))
    refused("Book.OverCapacity", place_call(world, period, over), world.stranger, 1, 10_000, 9_999)
    fits = order(period, 1, step(5_000, 1), step(4_999, 2))
    accepted(place_call(world, period, fits), world.stranger)


def test_place__a_bid_that_meets_its_own_ask__is_refused(world: World) -> None:
    period = ordering(world)
    crossing = order(period, 1, ask(10, 300), bid(10, 100), bid(10, 200), ask(10, 200))
    refused("Book.CrossesItself", place_call(world, period, crossing), world.stranger, 1, 200, 200)
    apart = order(period, 1, ask(10, 300), bid(10, 100), bid(10, 200), ask(10, 201))
    accepted(place_call(world, period, apart), world.stranger)


# -- money


def test_place__without_enough_free__is_refused(world: World) -> None:
    (node,) = world.join(1)
    period = world.free_period()
    lock = 10 * (437_900 + FEE_CAP)
    world.fund(node, lock - 1)
    call = place_call(world, period, order(period))
    refused("Book.NotCovered", call, world.stranger, 1, lock)
    world.fund(node, 1)
    accepted(call, world.stranger)


def test_place__a_second_order__is_refused(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period))
    second = place_call(world, period, order(period, 1, ask(10), nonce=7))
    refused("Book.AlreadyPlaced", second, world.stranger, 1, period)


def test_place__in_debt__is_refused(world: World) -> None:
    world.join(2)
    world.fund(0, FUNDS_UYUAN)
    period = world.free_period(2)
    schedule = world.market.schedule
    world.warp(schedule.gate(period))
    world.keeper.clear(period)
    world.warp(schedule.close(period))
    world.report(period, [measured(1, import_wh=1_000)])
    assert world.keeper.settle(period)
    assert world.chain.read(world.market.vault.functions.debtOf(1)) > 0
    later = world.free_period()
    refused("Book.NodeInDebt", place_call(world, later, order(later)), world.stranger, 1)


# -- storage


def test_place__where_a_period_nobody_cleared_keeps_its_orders__is_refused(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period))
    later, schedule = period + RING, world.market.schedule
    world.warp(schedule.gate(later - AHEAD))
    call = place_call(world, later, order(later))
    refused("Book.PeriodUncleared", call, world.stranger, period)
    world.keeper.clear(period)
    world.chain.send(world.stranger, call)
    assert live(world, later) == [1]
    assert world.chain.read(world.market.book.functions.ordersOf(later)) == [1, 0]
    # What the storage held for the earlier period is gone, and nothing takes it for that period's.
    assert world.chain.read(world.market.book.functions.ordersOf(period)) == [0, 0]
    assert world.chain.read(world.market.book.functions.chainOf(period, 0)) == [bytes(24), 0]


def test_place__into_a_full_book__is_refused(world: World) -> None:
    period = ordering(world)
    world.place(period, order(period))
    slot, most = head_slot(world, period), 2**24
    for records in (most - 1, most - 2):
        word = period << 96 | records << 64 | 1
        world.chain.raw(
            "anvil_setStorageAt",
            world.market.book.address,
            hex(slot),
            "0x" + word.to_bytes(32, "big").hex(),
        )
        call = place_call(world, period, order(period, 2, bid(), bid()))
        if records == most - 1:
            refused("Book.BookFull", call, world.stranger, period, 2)
        else:
            accepted(call, world.stranger)


def own_call(world: World, period: int, *orders: Order) -> ContractFunction:
    """Return the placing of orders by their account's own transaction."""
    entries = encode_entries([SignedOrder(o, b"") for o in orders])
    return world.market.book.functions.placeOwn(period, 0, entries)


def test_place_own__without_a_signature__is_accepted_from_its_account(world: World) -> None:
    period = ordering(world)

    world.chain.send(world.owner(1), own_call(world, period, order(period, 1)))

    assert live(world, period) == [1]
    assert world.balance(1)[1] == lock_uyuan(order(period, 1).steps, LIMITS)


def test_place_own__for_another_account__is_refused(world: World) -> None:
    period = ordering(world)

    call = own_call(world, period, order(period, 1))
    refused("Book.NotSigned", call, world.owner(2), 1, world.owner(1).address)


def test_place_own__with_one_bad_order__places_none(world: World) -> None:
    period = ordering(world)
    good, foreign = order(period, 1), order(period, 2)

    call = own_call(world, period, good, foreign)
    refused("Book.NotSigned", call, world.owner(1), 2, world.owner(2).address)

    assert live(world, period) == []
