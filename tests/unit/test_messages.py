"""What members and seats sign: the same digests as the contracts', good in one place only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.messages import (
    NO_DEADLINE,
    Agreement,
    Cancel,
    Declaration,
    Domain,
    Order,
    Proposal,
    Step,
    Topic,
    compact,
)
from market.types import Options
from tests.world import World

HERE = Domain(chain_id=31337, book="0x" + "11" * 20, oracle="0x" + "22" * 20, market=b"\7" * 32)
SIGNER = Account.from_key(b"\1" * 32)

UINT32 = st.integers(0, 2**32 - 1)
NODES = st.integers(1, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
OPTIONS = st.integers(0, 7).map(Options)

AGREEMENTS = st.builds(
    Agreement, UINT32, NODES, NODES, st.integers(0, 2**40 - 1), UINT32, UINT64, UINT64,
    OPTIONS, OPTIONS, UINT64,
)  # fmt: skip
DECLARATIONS = st.builds(Declaration, UINT32, NODES, OPTIONS, UINT64)
PROPOSALS = st.builds(
    Proposal, st.sampled_from(Topic), UINT32, st.integers(0, 2**16 - 1), UINT32,
    st.binary(min_size=32, max_size=32),
)  # fmt: skip

STEPS = st.builds(Step, st.booleans(), st.integers(0, 2**40 - 1), UINT32)
ORDERS = st.builds(
    Order, NODES, UINT32, UINT32, st.lists(STEPS, min_size=1, max_size=4).map(tuple), UINT32,
    OPTIONS, st.integers(0, 2**40 - 1),
)  # fmt: skip
CANCELS = st.builds(Cancel, NODES, UINT32, UINT32, st.integers(0, 2**40 - 1))

# Each example only reads the chain.
reading = settings(
    max_examples=15,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def signer_of(digest: bytes, signature: bytes) -> str:
    """Return who signed a digest."""
    # web3 hides recovery from a bare hash, because a wallet must never be asked to sign one.
    recovered: str = Account._recover_hash(digest, signature=signature)
    return recovered


@reading
@given(agreement=AGREEMENTS)
def test_agreement__signed__is_over_the_books_own_digest(
    world: World, agreement: Agreement
) -> None:
    domain = world.market.domain
    call = world.market.book.functions.agreementDigest(agreement.as_tuple(domain))
    digest = bytes(world.chain.read(call))
    assert signer_of(digest, agreement.sign(SIGNER, domain)) == SIGNER.address


@reading
@given(declaration=DECLARATIONS)
def test_declaration__signed__is_over_the_books_own_digest(
    world: World, declaration: Declaration
) -> None:
    domain = world.market.domain
    call = world.market.book.functions.declarationDigest(declaration.as_tuple(domain))
    digest = bytes(world.chain.read(call))
    assert signer_of(digest, declaration.sign(SIGNER, domain)) == SIGNER.address


@reading
@given(order=ORDERS)
def test_order__signed__is_over_the_books_own_digest(world: World, order: Order) -> None:
    domain = world.market.domain
    call = world.market.book.functions.orderDigest(order.as_tuple(domain))
    digest = bytes(world.chain.read(call))
    assert signer_of(digest, order.sign(SIGNER, domain)) == SIGNER.address


@reading
@given(cancel=CANCELS)
def test_cancel__signed__is_over_the_books_own_digest(world: World, cancel: Cancel) -> None:
    domain = world.market.domain
    call = world.market.book.functions.cancelDigest(cancel.as_tuple(domain))
    digest = bytes(world.chain.read(call))
    assert signer_of(digest, cancel.sign(SIGNER, domain)) == SIGNER.address


@given(digest=st.binary(min_size=32, max_size=32))
def test_compact__of_a_keys_signature__has_its_parity_in_the_top_bit(digest: bytes) -> None:
    full = bytes(Account.unsafe_sign_hash(digest, SIGNER.key).signature)
    short = compact(full)
    assert len(short) == 64
    parity = short[32] >> 7
    assert short[:32] + bytes([short[32] & 0x7F]) + short[33:] + bytes([27 + parity]) == full


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(65), bytes(64) + b"\x1d"])
def test_compact__of_what_no_key_signs__is_refused(signature: bytes) -> None:
    with pytest.raises(ValueError, match=f"this one has {len(signature)}"):
        compact(signature)


@reading
@given(proposal=PROPOSALS, support=st.booleans())
def test_vote__signed__is_over_the_oracles_own_digest(
    world: World, proposal: Proposal, support: bool
) -> None:
    call = world.market.oracle.functions.voteDigest(proposal.as_tuple(), support)
    digest = bytes(world.chain.read(call))
    signature = proposal.sign(SIGNER, world.market.domain, support=support)
    assert signer_of(digest, signature) == SIGNER.address


@pytest.mark.parametrize(
    "changes",
    [
        {"period": 2},
        {"seller": 9},
        {"buyer": 9},
        {"energy_wh": 9},
        {"price_uyuan_per_kwh": 9},
        {"seller_nonce": 9},
        {"buyer_nonce": 9},
        {"seller_options": Options.RESERVE},
        {"buyer_options": Options.RESERVE},
        {"deadline": 9},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_agreement__every_field__is_signed(changes: dict[str, int]) -> None:
    agreement = Agreement(1, 2, 3, 4, 5, 6, 7)
    assert agreement.deadline == NO_DEADLINE
    changed = replace(agreement, **changes)  # type: ignore[arg-type]
    assert agreement.sign(SIGNER, HERE) != changed.sign(SIGNER, HERE)


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(HERE, chain_id=1),
        replace(HERE, book="0x" + "33" * 20),
        replace(HERE, market=b"\1" * 32),
    ],
    ids=["chain", "contract", "market"],
)
def test_member_messages__for_another_place__differ(elsewhere: Domain) -> None:
    agreement, declaration = Agreement(1, 2, 3, 4, 5, 6, 7), Declaration(1, 2, Options.OFFER)
    assert agreement.sign(SIGNER, HERE) != agreement.sign(SIGNER, elsewhere)
    assert declaration.sign(SIGNER, HERE) != declaration.sign(SIGNER, elsewhere)


def test_vote__for_and_against__differ() -> None:
    proposal = Proposal(Topic.REPORT, 1, 1, 0, b"\1" * 32)
    votes = {proposal.sign(SIGNER, HERE, support=support) for support in (True, False)}
    assert len(votes) == 2
    elsewhere = replace(HERE, oracle="0x" + "33" * 20)
    assert proposal.sign(SIGNER, elsewhere, support=True) not in votes
