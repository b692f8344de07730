"""Whose word counts in the book: signatures, approvals, nonces and deadlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from web3.contract.contract import ContractFunction

from market.messages import Agreement, Domain, compact
from tests.unit.contracts.support import (
    accepted,
    agree_call,
    events,
    malleable,
    offer,
    refused,
    trading,
)
from tests.world import World

FOREIGN = "0x" + "11" * 20


def signed(
    world: World,
    agreement: Agreement,
    change: Callable[[bytes], bytes] = lambda signature: signature,
    domain: Domain | None = None,
) -> ContractFunction:
    """Return the placing of an agreement whose seller's signature was tampered with."""
    here = world.market.domain
    seller = agreement.sign(world.owner(agreement.seller), domain or here)
    buyer = agreement.sign(world.owner(agreement.buyer), here)
    return world.market.book.functions.agree(agreement.as_tuple(here), change(seller), buyer)


# -- signatures


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(malleable, id="high s"),
        pytest.param(lambda s: s[:64] + bytes([s[64] ^ 7]), id="other parity"),
        pytest.param(lambda s: s + b"\0", id="66 bytes"),
        pytest.param(lambda s: s[:63], id="63 bytes"),
        pytest.param(lambda _: bytes(65), id="zeros"),
        pytest.param(lambda s: bytes([s[0] ^ 1]) + s[1:], id="one bit"),
        pytest.param(lambda _: b"", id="nothing"),
    ],
)
def test_agree__with_damaged_signature__is_refused(
    world: World, change: Callable[[bytes], bytes]
) -> None:
    call = signed(world, offer(trading(world)), change)
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


def test_agree__with_compact_signature__is_accepted(world: World) -> None:
    call = signed(world, offer(trading(world)), compact)
    accepted(call, world.stranger)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: replace(d, chain_id=d.chain_id + 1), id="other chain"),
        pytest.param(lambda d: replace(d, book=FOREIGN), id="other contract"),
        pytest.param(lambda d: replace(d, market=b"\1" * 32), id="other market"),
    ],
)
def test_agree__signed_for_elsewhere__is_refused(
    world: World, change: Callable[[Domain], Domain]
) -> None:
    call = signed(world, offer(trading(world)), domain=change(world.market.domain))
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


def test_agree__naming_another_market__is_refused(world: World) -> None:
    foreign = replace(world.market.domain, market=b"\1" * 32)
    agreement = offer(trading(world))
    call = world.market.book.functions.agree(
        agreement.as_tuple(foreign),
        agreement.sign(world.owner(1), foreign),
        agreement.sign(world.owner(2), foreign),
    )
    refused("Book.WrongMarket", call, world.stranger, foreign.market, world.market.domain.market)


def test_agree__sides_swapped__is_refused(world: World) -> None:
    domain, agreement = world.market.domain, offer(trading(world))
    call = world.market.book.functions.agree(
        agreement.as_tuple(domain),
        agreement.sign(world.owner(2), domain),
        agreement.sign(world.owner(1), domain),
    )
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


def test_agree__buyer_never_signed__is_refused(world: World) -> None:
    domain, agreement = world.market.domain, offer(trading(world))
    call = world.market.book.functions.agree(
        agreement.as_tuple(domain),
        agreement.sign(world.owner(1), domain),
        agreement.sign(world.stranger, domain),
    )
    refused("Book.NotSigned", call, world.stranger, 2, world.owner(2).address)


def test_agree__sent_by_one_side__needs_only_the_others_signature(world: World) -> None:
    domain, agreement = world.market.domain, offer(trading(world))
    call = world.market.book.functions.agree(
        agreement.as_tuple(domain), b"", agreement.sign(world.owner(2), domain)
    )
    accepted(call, world.owner(1))
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


def test_agree__approved_by_transactions__needs_no_signature(world: World) -> None:
    book, agreement = world.market.book, offer(trading(world))
    values = agreement.as_tuple(world.market.domain)
    digest = world.chain.read(book.functions.agreementDigest(values))
    for node in (1, 2):
        receipt = world.chain.send(world.owner(node), book.functions.approve(node, digest))
        assert events(receipt, book, "Approved")[0]["digest"] == digest
    receipt = world.chain.send(world.stranger, book.functions.agreeBatch([(values, b"", b"")]))
    assert len(events(receipt, book, "Agreed")) == 1

    changed = replace(agreement, energy_wh=agreement.energy_wh + 1, seller_nonce=5)
    call = book.functions.agree(changed.as_tuple(world.market.domain), b"", b"")
    refused("Book.NotSigned", call, world.stranger, 1, world.owner(1).address)


def test_approve__for_anothers_node__is_refused(world: World) -> None:
    world.join(1)
    call = world.market.book.functions.approve(1, b"\1" * 32)
    refused("Book.NotAccount", call, world.stranger, 1, world.stranger.address)


# -- nonces and deadlines


@pytest.mark.parametrize(("side", "nonces"), [(1, (0, 1)), (2, (1, 0))])
def test_agree__nonce_used_before__is_refused(
    world: World, side: int, nonces: tuple[int, int]
) -> None:
    period = trading(world)
    world.agree(offer(period))
    again = offer(period, seller_nonce=nonces[0], buyer_nonce=nonces[1])
    refused("Book.NonceSpent", agree_call(world, again), world.stranger, side, 0)


def test_agree__nonce_revoked__is_refused(world: World) -> None:
    period = trading(world)
    book, last = world.market.book, 2**64 - 1
    receipt = world.chain.send(world.owner(2), book.functions.revokeNonce(2, last))
    assert events(receipt, book, "NonceRevoked")[0]["nonce"] == last
    assert world.chain.read(book.functions.isSpent(2, last))
    assert not world.chain.read(book.functions.isSpent(2, last - 1))
    assert not world.chain.read(book.functions.isSpent(1, last))
    call = agree_call(world, offer(period, nonce=last))
    refused("Book.NonceSpent", call, world.stranger, 2, last)
    refused("Book.NonceSpent", book.functions.revokeNonce(2, last), world.owner(2), 2, last)


def test_revoke_nonce__of_another__is_refused(world: World) -> None:
    world.join(2)
    call = world.market.book.functions.revokeNonce(1, 0)
    refused("Book.NotAccount", call, world.owner(2), 1, world.owner(2).address)


def test_agree__at_its_deadline__is_accepted_and_a_second_later_refused(world: World) -> None:
    period = trading(world)
    deadline = world.now() + 100
    call = agree_call(world, offer(period, deadline=deadline))
    world.warp(deadline)
    accepted(call, world.stranger)
    world.warp(deadline + 1)
    refused("Book.Expired", call, world.stranger, deadline, deadline + 1)
