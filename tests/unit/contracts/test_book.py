"""What members ask for: agreements, declarations, batches, and the gate."""

from __future__ import annotations

import pytest

from market.deployment import Market
from market.messages import Declaration
from market.packing import decode_positions
from market.types import Options, Position
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    agree_call,
    crowd,
    events,
    factory,
    named,
    offer,
    refused,
    send_at,
    trading,
)
from tests.world import PENG, World


def positions(world: World, period: int, bucket: int = 0) -> list[Position]:
    """Return the positions of a bucket while its book is open."""
    call = world.market.book.functions.positionsOf(period, bucket)
    return decode_positions(world.chain.read(call), bucket)


def test_agree__signed_by_both__adds_to_both_positions_and_locks_their_worst_case(
    world: World,
) -> None:
    period = trading(world)
    receipt = world.agree(offer(period, 1_006, seller_options=Options.OFFER))
    world.agree(offer(period, 4, nonce=1, buyer_options=Options.TAKE))

    (event,) = events(receipt, world.market.book, "Agreed")
    assert (event["period"], event["seller"], event["buyer"]) == (period, 1, 2)
    assert (event["energyWh"], event["priceUyuanPerKwh"]) == (1_006, 437_900)
    money = 1_010 * 437_900
    seller_lock = -(-1_010 * PENG.retail_uyuan_per_kwh // 1000)
    buyer_lock = -(-money // 1000)
    # The lock is rounded once over the whole position, not once per agreement.
    assert buyer_lock < -(-1_006 * 437_900 // 1000) + -(-4 * 437_900 // 1000)
    assert positions(world, period) == [
        Position(1, Options.OFFER, 1_010, 0, money, 0, seller_lock),
        Position(2, Options.TAKE, 0, 1_010, 0, money, buyer_lock),
    ]
    assert world.balance(1) == (FUNDS_UYUAN - seller_lock, seller_lock)
    assert world.balance(2) == (FUNDS_UYUAN - buyer_lock, buyer_lock)


# -- instants


def test_agree__before_prices_are_fixed__is_refused_until_the_very_second(world: World) -> None:
    for node in (0, *world.join(2)):
        world.fund(node, FUNDS_UYUAN)
    period, schedule = world.free_period(), world.market.schedule
    call = agree_call(world, offer(period))
    fixed_at = schedule.price_deadline(period)
    world.warp(fixed_at - 1)
    refused("Oracle.PricesNotFixed", call, world.stranger, period, fixed_at)
    world.warp(fixed_at)
    accepted(call, world.stranger)


def test_agree__in_the_last_second_before_the_gate__is_accepted(world: World) -> None:
    period = trading(world)
    gate = world.market.schedule.gate(period)
    receipt = send_at(world, gate - 1, world.stranger, agree_call(world, offer(period)))
    assert len(events(receipt, world.market.book, "Agreed")) == 1
    late = agree_call(world, offer(period, nonce=1))
    world.warp(gate)
    refused("Book.GateClosed", late, world.stranger, period, gate)


def test_declare__before_the_book_opens__is_refused_until_the_very_second(world: World) -> None:
    world.join(1)
    period = world.free_period(200)
    opens = world.market.schedule.price_opens(period)
    declaration = Declaration(period, 1, Options.OFFER)
    domain = world.market.domain
    call = world.market.book.functions.declare(
        declaration.as_tuple(domain), declaration.sign(world.owner(1), domain)
    )
    world.warp(opens - 1)
    refused("Book.BookNotOpen", call, world.stranger, period, opens)
    world.warp(opens)
    accepted(call, world.stranger)


# -- what is asked for


def test_agree__without_energy__is_refused(world: World) -> None:
    refused("Book.NoEnergy", agree_call(world, offer(trading(world), 0)), world.stranger)


def test_agree__with_oneself__is_refused(world: World) -> None:
    period = trading(world)
    call = agree_call(world, offer(period, buyer=1, buyer_nonce=1))
    refused("Book.SelfTrade", call, world.stranger, 1, 1)
    registry = world.market.registry.functions
    twin = (world.owner(1).address, b"twin".ljust(32), 0, 3, 10**6, 10**6)
    world.chain.send(world.grid, registry.admit([twin]))
    world.members.append(world.owner(1))
    refused("Book.SelfTrade", agree_call(world, offer(period, buyer=3)), world.stranger, 1, 3)


@pytest.mark.parametrize("step", [0, 1])
def test_agree__at_the_ends_of_the_price_band__is_accepted_and_outside_refused(
    world: World, step: int
) -> None:
    period = trading(world)
    low, high = PENG.selling_uyuan_per_kwh, PENG.compensation_uyuan_per_kwh
    for price in (low - step, high + step):
        call = agree_call(world, offer(period, price_uyuan_per_kwh=price))
        if step:
            refused("Book.PriceOutOfBand", call, world.stranger, price, low, high)
        else:
            accepted(call, world.stranger)


@pytest.mark.parametrize(("seller_role", "buyer_role", "barred"), [(2, 2, 1), (1, 1, 2)])
def test_agree__against_the_role__is_refused(
    world: World, seller_role: int, buyer_role: int, barred: int
) -> None:
    world.join(1, role=seller_role)
    world.join(1, role=buyer_role)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    role = (seller_role, buyer_role)[barred - 1]
    refused("Book.RoleForbids", agree_call(world, offer(period)), world.stranger, barred, role)


def test_agree__between_stores__is_allowed_on_both_sides(world: World) -> None:
    for node in (*world.join(1, role=4), *world.join(1, role=4)):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    accepted(agree_call(world, offer(period)), world.stranger)


@pytest.mark.parametrize("node", [1, 2])
def test_agree__suspended__is_refused(world: World, node: int) -> None:
    period = trading(world)
    world.chain.send(world.grid, world.market.registry.functions.suspend(node, "seal broken"))
    refused("Book.NodeSuspended", agree_call(world, offer(period)), world.stranger, node)


def test_agree__unknown_node__is_refused(world: World) -> None:
    domain, agreement = world.market.domain, offer(trading(world), buyer=3)
    call = world.market.book.functions.agree(
        agreement.as_tuple(domain), agreement.sign(world.owner(1), domain), b""
    )
    refused("Registry.UnknownNode", call, world.stranger, 3)


@pytest.mark.parametrize("options", [8, 128, 255])
def test_agree__unknown_options__is_refused(world: World, options: int) -> None:
    period = trading(world)
    values = list(offer(period).as_tuple(world.market.domain))
    values[6] = options
    call = world.market.book.functions.agree(tuple(values), b"", b"")
    refused("Book.UnknownOptions", call, world.stranger, options)


def test_agree__up_to_capacity__is_accepted_and_one_more_refused(world: World) -> None:
    world.join(1, capacity_wh=9_999)
    world.join(1)
    for node in (1, 2):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period, 9_000))
    accepted(agree_call(world, offer(period, 999, nonce=1)), world.stranger)
    over = agree_call(world, offer(period, 1_000, nonce=1))
    refused("Book.OverCapacity", over, world.stranger, 1, 10_000, 9_999)
    bought = offer(period, 10_000, seller=2, buyer=1, nonce=1)
    refused("Book.OverCapacity", agree_call(world, bought), world.stranger, 1, 10_000, 9_999)


# -- batches


def test_agree_batch__with_bad_entries__places_the_good_and_names_the_bad(world: World) -> None:
    period = trading(world)
    domain, book = world.market.domain, world.market.book
    good, expired, replay = offer(period), offer(period, nonce=1, deadline=1), offer(period)
    entries = [
        (a.as_tuple(domain), a.sign(world.owner(1), domain), a.sign(world.owner(2), domain))
        for a in (good, expired, replay)
    ]
    receipt = world.chain.send(world.stranger, book.functions.agreeBatch(entries))
    assert len(events(receipt, book, "Agreed")) == 1
    skipped = events(receipt, book, "Skipped")
    assert [e["index"] for e in skipped] == [1, 2]
    assert named("Book.Expired", skipped[0]["reason"])[0] == 1
    assert named("Book.NonceSpent", skipped[1]["reason"]) == (1, 0)
    assert [p.sold_wh for p in positions(world, period)] == [10_000, 0]


def test_agree_batch__sent_by_a_side__is_no_approval(world: World) -> None:
    domain, agreement = world.market.domain, offer(trading(world))
    entry = (agreement.as_tuple(domain), b"", agreement.sign(world.owner(2), domain))
    receipt = world.chain.send(world.owner(1), world.market.book.functions.agreeBatch([entry]))
    (skipped,) = events(receipt, world.market.book, "Skipped")
    expected = (1, world.owner(1).address.lower())
    assert named("Book.NotSigned", skipped["reason"]) == expected


def test_agree_batch__with_too_little_gas__is_refused_rather_than_dropped(world: World) -> None:
    domain, book = world.market.domain, world.market.book
    period = trading(world)
    agreements = [offer(period, nonce=nonce) for nonce in range(2)]
    entries = [
        (a.as_tuple(domain), a.sign(world.owner(1), domain), a.sign(world.owner(2), domain))
        for a in agreements
    ]
    call = book.functions.agreeBatch(entries)
    needed = world.chain.send(world.stranger, call)["gasUsed"]
    call = book.functions.agreeBatch([entries[0]] * 40)  # refused, each with a reason
    assert len(events(world.chain.send(world.stranger, call), book, "Skipped")) == 40

    fresh = [offer(agreements[0].period, nonce=nonce) for nonce in (2, 3)]
    call = book.functions.agreeBatch(
        [(a.as_tuple(domain), a.sign(world.owner(1), domain), a.sign(world.owner(2), domain))
         for a in fresh]
    )  # fmt: skip
    refused("Book.BatchOutOfGas", call, world.stranger, 1, gas=needed * 6 // 10)


def test_declare_batch__with_a_bad_entry__places_the_good_and_names_the_bad(world: World) -> None:
    period = trading(world)
    domain, book = world.market.domain, world.market.book
    good, forged = Declaration(period, 1, Options.OFFER), Declaration(period, 2, Options.TAKE)
    entries = [(d.as_tuple(domain), d.sign(world.owner(1), domain)) for d in (good, forged)]
    receipt = world.chain.send(world.stranger, book.functions.declareBatch(entries))
    assert [e["node"] for e in events(receipt, book, "Declared")] == [1]
    (skipped,) = events(receipt, book, "Skipped")
    expected = (2, world.owner(2).address.lower())
    assert (skipped["index"], named("Book.NotSigned", skipped["reason"])) == (1, expected)


# -- declarations


def test_declare__again__unites_options_and_locks_nothing(world: World) -> None:
    period = trading(world)
    world.declare(period, 1, Options.OFFER)
    world.declare(period, 1, Options.RESERVE)
    assert positions(world, period) == [Position(1, Options.OFFER | Options.RESERVE)]
    assert world.balance(1) == (FUNDS_UYUAN, 0)


def test_declare__by_own_transaction__needs_no_signature(world: World) -> None:
    period = trading(world)
    values = Declaration(period, 1, Options.OFFER).as_tuple(world.market.domain)
    call = world.market.book.functions.declare(values, b"")
    accepted(call, world.owner(1))
    refused("Book.NotSigned", call, world.owner(2), 1, world.owner(1).address)


def test_declare__suspended__is_refused(world: World) -> None:
    period = trading(world)
    world.chain.send(world.grid, world.market.registry.functions.suspend(1, "seal broken"))
    values = Declaration(period, 1, Options.OFFER).as_tuple(world.market.domain)
    call = world.market.book.functions.declare(values, b"")
    refused("Book.NodeSuspended", call, world.owner(1), 1)


# -- storage


def test_positions_of__nodes_around_a_bucket_boundary__lie_in_their_buckets(world: World) -> None:
    crowd(world, 257)
    for node in (255, 256, 257):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period, 1_000, seller=255, buyer=256))
    world.agree(offer(period, 2_000, nonce=1, seller=257, buyer=256))
    assert [p.node for p in positions(world, period)] == [255]
    upper = positions(world, period, 1)
    assert [(p.node, p.sold_wh, p.bought_wh) for p in upper] == [(256, 0, 3_000), (257, 2_000, 0)]


def test_agreed_of__a_bucket__is_its_positions_with_the_bus_of_each(world: World) -> None:
    *_, node = world.join(4)  # node n at bus n - 1
    for funded in (2, node):
        world.fund(funded, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period, 1_000, seller=node, buyer=2))
    book = world.market.book.functions
    packed, buses = world.chain.read(book.agreedOf(period, 0))
    assert packed == world.chain.read(book.positionsOf(period, 0))
    assert [p.node for p in decode_positions(packed, 0)] == [2, node]
    assert buses == b"\0\1\0\3"
    assert world.chain.read(book.agreedOf(period, 1)) == [b"", b""]


def test_agree__for_a_period_before_the_market__is_refused(world: World) -> None:
    trading(world)
    first = world.chain.read(world.market.master.functions.firstPeriod())
    call = agree_call(world, offer(first - 1))
    refused("Book.BeforeMarket", call, world.stranger, first - 1, first)


def test_agree__where_a_period_nobody_cleared_keeps_its_positions__is_refused(
    world: World,
) -> None:
    period = trading(world)
    world.agree(offer(period))
    schedule = world.market.schedule
    ring = schedule.price_horizon_s // schedule.length_s + 2
    later = period + ring
    world.warp(schedule.price_deadline(later))
    call = agree_call(world, offer(later, nonce=1))
    refused("Book.PeriodUncleared", call, world.stranger, period)
    world.keeper.clear(period)
    world.chain.send(world.stranger, call)
    assert [p.sold_wh for p in positions(world, later)] == [10_000, 0]
    assert positions(world, period) == []


def test_constructor__schedule_out_of_order__is_refused(world: World) -> None:
    at = world.market.deployment.addresses
    schedule = (*_schedule(world.market)[:4], 0, *_schedule(world.market)[5:])
    rooms = [at[name] for name in ("Registry", "Vault", "Oracle", "Master")]
    made = factory(world, "Book").constructor(schedule, *rooms)
    refused("Book.ScheduleOutOfOrder", made, world.stranger, schedule)


def _schedule(market: Market) -> tuple[int, ...]:
    return tuple(market.chain.read(market.master.functions.schedule()))
