"""Whose word an order is: keys, wallets, replays, approvals and dead nonces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_utils.crypto import keccak

from market.messages import Domain, compact
from market.orders import SignedOrder, encode_entries
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    batch_call,
    create,
    events,
    live,
    malleable,
    named,
    order,
    ordering,
    place_call,
    refusal,
    refused,
)
from tests.world import World

FOREIGN = "0x" + "11" * 20


def join_wallet(world: World, account: str) -> int:
    """Admit and fund an account with code; return its node."""
    registry = world.market.registry.functions
    admission = (account, keccak(text=account), 0, 3, 10**6, 10**6)
    world.chain.send(world.grid, registry.admit([admission]))
    node = int(world.chain.read(registry.nodeCount()))
    world.fund(node, FUNDS_UYUAN)
    return node


# -- keys


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(malleable, id="high s"),
        pytest.param(lambda s: compact(s)[:32] + malleable(s)[32:64], id="high s, compact"),
        pytest.param(lambda s: s[:64] + bytes([s[64] ^ 7]), id="other parity"),
        pytest.param(lambda s: s[:64] + bytes([s[64] - 27]), id="parity without 27"),
        pytest.param(lambda s: s + b"\0", id="66 bytes"),
        pytest.param(lambda s: s[:63], id="63 bytes"),
        pytest.param(lambda _: bytes(65), id="zeros"),
        pytest.param(lambda _: bytes(64), id="compact zeros"),
        pytest.param(lambda s: bytes([s[0] ^ 1]) + s[1:], id="one bit"),
        pytest.param(lambda _: b"", id="nothing"),
    ],
)
def test_place__with_damaged_signature__is_refused(
    world: World, change: Callable[[bytes], bytes]
) -> None:
    period = ordering(world)
    signature = order(period).sign(world.owner(1), world.market.domain)
    call = place_call(world, period, order(period), change(signature))
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)
    for good in (signature, compact(signature)):
        accepted(place_call(world, period, order(period), good), world.stranger)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: replace(d, chain_id=d.chain_id + 1), id="other chain"),
        pytest.param(lambda d: replace(d, book=FOREIGN), id="other contract"),
        pytest.param(lambda d: replace(d, market=b"\1" * 32), id="chain before its reset"),
    ],
)
def test_place__signed_for_elsewhere__is_refused(
    world: World, change: Callable[[Domain], Domain]
) -> None:
    period = ordering(world)
    signature = order(period).sign(world.owner(1), change(world.market.domain))
    call = place_call(world, period, order(period), signature)
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


def test_place__by_own_transaction__needs_no_signature(world: World) -> None:
    period = ordering(world)
    call = place_call(world, period, order(period), b"")
    accepted(call, world.owner(1))
    refused("Book.NotSigned", call, world.owner(2), 1, world.owner(1).address)


def test_place__every_field__is_signed(world: World) -> None:
    period = ordering(world)
    wanted = order(period, last_period=period + 1)
    signature = wanted.sign(world.owner(1), world.market.domain)
    step = wanted.steps[0]
    for changed in (
        replace(wanted, first_period=period - 1),
        replace(wanted, last_period=period + 2),
        replace(wanted, nonce=1),
        replace(wanted, deadline=wanted.deadline - 1),
        replace(wanted, options=1),  # type: ignore[arg-type]
        replace(wanted, steps=(replace(step, sells=True),)),
        replace(wanted, steps=(replace(step, energy_wh=11),)),
        replace(wanted, steps=(replace(step, limit_uyuan_per_kwh=1),)),
        replace(wanted, steps=(step, step)),
    ):
        call = place_call(world, period, changed, signature)
        refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


# -- replays


def test_place__replayed_in_the_same_period__is_refused(world: World) -> None:
    period = ordering(world)
    standing = order(period, last_period=period + 5)
    world.place(period, standing)
    again = place_call(world, period, standing)
    refused("Book.AlreadyPlaced", again, world.stranger, 1, period)


def test_place__replayed_after_its_cancel__is_refused(world: World) -> None:
    period = ordering(world)
    standing = order(period, nonce=4, last_period=period + 1)
    world.place(period, standing)
    world.cancel(period, 1, least_nonce=5)
    refused("Book.NonceTooLow", place_call(world, period, standing), world.stranger, 1, 4, 5)
    # The cancel was for one period; in the next one the standing order is as good as before.
    accepted(place_call(world, period + 1, standing), world.stranger)
    world.place(period, order(period, nonce=5))
    assert live(world, period) == [1]


def test_revoke__of_one_period_or_all__kills_lower_nonces(world: World) -> None:
    period = ordering(world)
    book = world.market.book.functions
    receipt = world.chain.send(world.owner(1), book.revoke(1, period, 3))
    (event,) = events(receipt, world.market.book, "Revoked")
    assert (event["node"], event["period"], event["leastNonce"]) == (1, period, 3)
    low = place_call(world, period, order(period, nonce=2))
    refused("Book.NonceTooLow", low, world.stranger, 1, 2, 3)
    accepted(place_call(world, period, order(period, nonce=3)), world.stranger)
    accepted(place_call(world, period + 1, order(period + 1, nonce=2)), world.stranger)

    world.chain.send(world.owner(1), book.revoke(1, 0, 9))
    for p in (period, period + 1):
        dead = place_call(world, p, order(p, nonce=8))
        refused("Book.NonceTooLow", dead, world.stranger, 1, 8, 9)
        assert world.chain.read(book.leastNonceOf(1, p)) == 9
        accepted(place_call(world, p, order(p, nonce=9)), world.stranger)
    # A neighbour in the bucket has revoked nothing.
    accepted(place_call(world, period, order(period, 2)), world.stranger)
    # One's own transaction is no signature that could have been revoked.
    accepted(place_call(world, period, order(period, nonce=0), b""), world.owner(1))


def test_revoke__not_higher__is_refused(world: World) -> None:
    period = ordering(world)
    book = world.market.book.functions
    refused("Book.NonceNotRaised", book.revoke(1, period, 0), world.owner(1), 1, 0, 0)
    world.chain.send(world.owner(1), book.revoke(1, 0, 3))
    refused("Book.NonceNotRaised", book.revoke(1, period, 3), world.owner(1), 1, 3, 3)
    accepted(book.revoke(1, period, 4), world.owner(1))


def test_place__approved_by_transaction__needs_no_signature(world: World) -> None:
    period = ordering(world)
    book = world.market.book.functions
    digest = world.chain.read(book.orderDigest(order(period).as_tuple(world.market.domain)))
    call = place_call(world, period, order(period), b"")
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)
    world.chain.send(world.owner(1), book.approve(1, digest))
    accepted(call, world.stranger)


# -- accounts with code


def test_place__signed_by_a_wallets_owner__is_accepted(world: World) -> None:
    period = ordering(world)
    wallet = create(world, "Wallet", world.owner(1).address)
    node = join_wallet(world, wallet.address)
    wanted = order(period, node)
    signature = wanted.sign(world.owner(1), world.market.domain)
    foreign = wanted.sign(world.owner(2), world.market.domain)
    call = place_call(world, period, wanted, foreign)
    refused("Book.NotSigned", call, world.stranger, node, wallet.address)
    entries = encode_entries([SignedOrder(wanted, signature)])
    world.chain.send(world.stranger, batch_call(world, period, entries))
    assert live(world, period) == [node]


@pytest.mark.parametrize("name", ["RefusingWallet", "BurningWallet", "BombingWallet", "CurtWallet"])
def test_place_batch__with_a_hostile_wallet__skips_it_for_a_bounded_price(
    world: World, name: str
) -> None:
    period = ordering(world)
    node = join_wallet(world, create(world, name).address)
    good = world.entry(order(period, 1))
    alone = world.chain.estimate(batch_call(world, period, encode_entries([good])))
    entries = [SignedOrder(order(period, node), b"any" * 30), good]
    call = batch_call(world, period, encode_entries(entries))
    receipt = world.chain.send(world.stranger, call, gas=1_000_000)
    assert live(world, period) == [1]
    (skipped,) = events(receipt, world.market.book, "Skipped")
    assert named("Book.NotSigned", skipped["reason"])[0] == node
    assert alone is not None
    assert receipt["gasUsed"] < alone + 130_000


def test_place_batch__with_a_wallet_without_code__skips_it(world: World) -> None:
    period = ordering(world)
    node = join_wallet(world, FOREIGN)
    entries = [SignedOrder(order(period, node), b"any"), world.entry(order(period, 1))]
    call = batch_call(world, period, encode_entries(entries))
    receipt = world.chain.send(world.stranger, call)
    assert live(world, period) == [1]
    (skipped,) = events(receipt, world.market.book, "Skipped")
    assert named("Book.NotSigned", skipped["reason"])[0] == node


def test_place_batch__with_too_little_gas_for_a_wallet__is_refused_rather_than_dropped(
    world: World,
) -> None:
    period = ordering(world)
    node = join_wallet(world, create(world, "ThirstyWallet").address)
    entries = [world.entry(order(period, 1)), SignedOrder(order(period, node), b"any")]
    call = batch_call(world, period, encode_entries(entries))
    outcomes = []
    for gas in range(60_000, 330_000, 6_000):
        data = refusal(call, world.stranger, gas=gas)
        if data:
            assert named("Book.BatchOutOfGas", data) == (1,)
        outcomes.append(data)
    assert outcomes[-1] is None
    assert any(outcomes)
    # Whatever gas lets the batch through lets the wallet's order through as well.
    enough = 60_000 + 6_000 * outcomes.index(None)
    world.chain.send(world.stranger, call, gas=enough)
    assert live(world, period) == [1, node]
