"""What `Pairwise` multiplies, and what its challenge depends on (docs/adr/0009)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from market.clearing.pair_calls import Progress, pair_calls, progress_of
from market.clearing.pair_claims import MERGE, PAIRS, TRADES, PairClaim, encode_block
from market.contracts import artifact
from market.devnet import Anvil
from tests.bare_chain import Chain
from tests.pair_books import ChainBook, Wire, expected, random_book
from tests.pair_rule import Verifier, claim_of, entries, one_call, sealed, whole_feed

PRIME = 2**256 - 189
CHALLENGE, ORDERS_IN_BOOK, ORDERS_MATCHED = 0, 4, 5
BOOK = random_book(20, buses=3, room_wh=30_000)


@pytest.fixture(scope="module")
def rule() -> Iterator[Verifier]:
    with Anvil() as anvil:
        chain = Chain(anvil.url)
        yield Verifier(chain, chain.deploy(artifact("Pairwise").bytecode))


def words(rule: Verifier, book: ChainBook, claim: PairClaim) -> list[int]:
    _, state = rule.check(book, claim.claim, whole_feed(claim), pages=book.pages, last=False)
    return [int.from_bytes(state[i : i + 32], "big") for i in range(0, len(state), 32)]


def test_prime__is_prime() -> None:
    odd, twos = PRIME - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        powers = [pow(base, odd << i, PRIME) for i in range(twos)]
        assert powers[0] == 1 or PRIME - 1 in powers


def test_products__over_both_lists__are_modulo_the_prime(rule: Verifier) -> None:
    claim = claim_of(BOOK)
    found = words(rule, BOOK, claim)
    trades = b"".join(claim.trades)
    of_seq = {
        seq: trades[28 * i : 28 * i + 14]
        for i, seq in enumerate(s for b in range(BOOK.buckets) for s in BOOK.eligible_seqs(b))
    }
    product = 1
    for entry in entries(claim):
        place = int.from_bytes(entry[5:8], "big")
        seq = place if entry[4] else 2**24 - 1 - place
        product = product * (found[CHALLENGE] + int.from_bytes(entry + of_seq[seq], "big")) % PRIME
    assert found[ORDERS_IN_BOOK] == found[ORDERS_MATCHED] == product


def test_challenge__is_the_hash_of_all_that_is_claimed(rule: Verifier) -> None:
    claim = claim_of(BOOK)
    hashes = [keccak(BOOK.lines), keccak(claim.claim), keccak(BOOK.cancelled)]
    types = ["(uint8,uint32,uint32,uint32,uint32,uint32)", "bytes32", "bytes32", "bytes32"]
    packed = encode(types, [BOOK.terms, *hashes])
    assert words(rule, BOOK, claim)[CHALLENGE] == int.from_bytes(keccak(packed), "big") >> 1


def test_challenge__of_any_other_content__differs(rule: Verifier) -> None:
    claim = claim_of(BOOK)
    cancelled = (BOOK.steps[0]._replace(cancelled=True), *BOOK.steps[1:])
    option = (BOOK.steps[0]._replace(options=BOOK.steps[0].options ^ 1), *BOOK.steps[1:])
    trades = [bytes([claim.trades[0][0] ^ 1]) + claim.trades[0][1:], *claim.trades[1:]]
    others = [
        (BOOK, sealed(BOOK, claim, merge=b"".join(claim.merge)[:-15])),
        (BOOK, sealed(BOOK, claim, pairs=b"".join(claim.pairs)[:-23])),
        (BOOK, sealed(BOOK, claim, trades=trades)),
        (BOOK, sealed(BOOK, claim, rooms=[room._replace(up_wh=1) for room in claim.rooms])),
        (replace(BOOK, steps=option), sealed(replace(BOOK, steps=option), claim)),
        (replace(BOOK, steps=cancelled), claim),
        (replace(BOOK, low=1), claim),
        (replace(BOOK, wires=(*BOOK.wires, Wire(0, 1, 1))), claim),
    ]
    found = set()
    for book, other in [(BOOK, claim), *others]:
        _, state = rule.check(book, other.claim, last=False)
        found.add(state[:32])
    assert len(found) == 1 + len(others)


def test_calls__in_one_or_many__reach_the_same_products(rule: Verifier) -> None:
    claim = claim_of(BOOK, block_items=3)
    [call] = one_call(claim)
    _, at_once = rule.check(BOOK, claim.claim, call.feed, pages=BOOK.pages, last=False)
    state = b""
    for kind, blocks in enumerate((claim.trades, claim.merge, claim.pairs)):
        for i, data in enumerate(blocks):
            pages = BOOK.pages[i : i + 1] if kind == 0 else []
            block = encode_block(kind, data)
            _, state = rule.check(BOOK, claim.claim, block, state=state, pages=pages, last=False)
    assert state == at_once


def test_calls__of_a_check_begun_with_fewer_buckets__end_with_its_last(rule: Verifier) -> None:
    claim = claim_of(replace(BOOK, buckets=3))
    pages = [b"".join(page[1:]) for page in BOOK.pages]
    calls = pair_calls(claim, pages, 2_000, 10**9)
    assert len(calls) > 1
    assert rule.run(BOOK, claim.claim, calls) == expected(BOOK)


@pytest.mark.parametrize("kind", [TRADES, MERGE, PAIRS])
def test_progress__of_a_check_fed_with_anything_else__is_none(rule: Verifier, kind: int) -> None:
    claim = claim_of(BOOK, block_items=3)
    blocks = (claim.trades, claim.merge, claim.pairs)[kind]
    pages = BOOK.pages[:1] if kind == TRADES else []
    wrong = blocks[0][:-1] + bytes([blocks[0][-1] ^ 1])
    right, other = (
        rule.check(BOOK, claim.claim, encode_block(kind, data), pages=pages, last=False)[1]
        for data in (blocks[0], wrong)
    )
    reached = Progress(kind == MERGE, kind == PAIRS, kind == TRADES)
    assert progress_of(claim, len(pages), right) == reached
    assert progress_of(claim, len(pages), other) is None
    assert progress_of(claim, 0, b"") == Progress(0, 0, 0)
