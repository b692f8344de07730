"""What `Pairwise` costs: linear in the orders, and large books in calls that a chain takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from market.chain import TX_GAS_LIMIT
from market.clearing.pair_calls import pair_calls
from market.contracts import artifact
from market.devnet import Anvil
from tests.bare_chain import Chain
from tests.pair_books import ChainBook, random_book
from tests.pair_rule import Verifier, claim_of

MOST_BYTES = 120_000
MOST_GAS = 15_000_000
TRANSACTION_BYTES = 128 * 1024


@pytest.fixture(scope="module")
def rule() -> Iterator[Verifier]:
    with Anvil() as anvil:
        chain = Chain(anvil.url)
        yield Verifier(chain, chain.deploy(artifact("Pairwise").bytecode))


def spend(rule: Verifier, book: ChainBook) -> list[int]:
    """Gas of each of the planned calls, state handed on."""
    claim = claim_of(book)
    pages = [b"".join(page[1:]) for page in book.pages]
    state, spent = b"", []
    for call in pair_calls(claim, pages, MOST_BYTES, MOST_GAS):
        brought = book.pages[call.first_page : call.first_page + call.pages]
        data = rule.data(book, claim.claim, call.feed, state=state, pages=brought, last=call.last)
        assert len(data) < TRANSACTION_BYTES
        spent.append(rule.spend(data))
        _, state = rule.check(
            book, claim.claim, call.feed, state=state, pages=brought, last=call.last
        )
    return spent


def test_gas__of_a_hundred_orders__leaves_half_a_transactions_worth(rule: Verifier) -> None:
    [gas] = spend(rule, random_book(100))
    assert gas < 350_000


def test_gas__of_more_orders__grows_linearly(rule: Verifier) -> None:
    [hundred], [few], [many] = (spend(rule, random_book(n)) for n in (100, 500, 1_000))
    assert (many - few) // 500 < 3_200
    assert abs((many - few) / 500 - (few - hundred) / 400) < 150


@pytest.mark.parametrize(("buses", "room_wh"), [(1, 0), (129, 300_000)], ids=["free", "bound"])
def test_gas__of_five_thousand_orders__fits_transactions(
    rule: Verifier, buses: int, room_wh: int
) -> None:
    spent = spend(rule, random_book(5_000, buses, room_wh))
    assert len(spent) > 1
    assert max(spent) < TX_GAS_LIMIT


def test_gas__estimated_for_a_call__is_not_below_what_it_takes(rule: Verifier) -> None:
    for book in (random_book(600), random_book(600, 40, 100_000)):
        claim = claim_of(book)
        pages = [b"".join(page[1:]) for page in book.pages]
        [gas] = spend(rule, book)
        assert len(pair_calls(claim, pages, MOST_BYTES, gas)) > 1
