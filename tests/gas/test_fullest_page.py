"""The dearest bucket that members can make: each with all its steps and all its cancels."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from market.chain import TX_GAS_LIMIT
from market.clear_calls import MOST_BYTES, MOST_GAS
from market.clearing import Rule
from market.clearing.pair_calls import pair_calls
from market.contracts import artifact
from market.devnet import Anvil
from market.packing import BUCKET_NODES
from tests.bare_chain import Chain
from tests.pair_books import ChainBook, Step, Wire
from tests.pair_rule import Verifier, claim_of
from tests.pool_books import PoolCase, Pools

STEPS, ORDERS = 4, 4
"""Steps of an order; orders that a node places in a period before it cannot cancel any more."""

TRANSACTION_BYTES = 128 * 1024
# What a call of the master carries that a call of the rule does not, and what its room takes.
MASTER_BYTES, MASTER_GAS = 2_000, 4_000_000


def fullest(buses: int) -> ChainBook:
    """Return the book of a full bucket on a feeder without branches, each order a batch."""
    rng = Random(1)
    steps: list[Step] = []
    for made in range(ORDERS):
        for node in range(BUCKET_NODES):
            for _ in range(STEPS):
                sells, limit = node // 3 % 2 == 1, rng.randrange(400_000, 450_000)
                energy_wh, seq = rng.randrange(10, 20_000), len(steps)
                cancelled = made < ORDERS - 1
                steps.append(
                    Step(node, node % buses, sells, 7, energy_wh, limit, seq, cancelled=cancelled)
                )
    wires = (Wire(0, 0, 0), *(Wire(bus - 1, 50_000, 50_000) for bus in range(1, buses)))
    return ChainBook(tuple(steps), wires=wires, batch=STEPS, buckets=1)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with Anvil() as anvil:
        yield Chain(anvil.url)


def fits(spent: list[tuple[int, int]]) -> bool:
    """Tell whether calls of such bytes and gas fit transactions with the master's part."""
    return all(
        size + MASTER_BYTES < TRANSACTION_BYTES and gas + MASTER_GAS < TX_GAS_LIMIT
        for size, gas in spent
    )


@pytest.mark.parametrize("rule", [Rule.UNIFORM, Rule.PLANNED])
@pytest.mark.parametrize("buses", [1, 15, 129])
def test_gas__of_the_fullest_page_of_a_pool__fits_a_transaction(
    chain: Chain, rule: Rule, buses: int
) -> None:
    pools, case = Pools(chain), PoolCase(rule, fullest(buses), planned=425_000)
    data = pools.data(case, case.claim())
    assert fits([(len(data), pools.spend(rule, data))])


@pytest.mark.parametrize("buses", [1, 15, 129])
def test_gas__of_the_fullest_page_in_pairs__fits_transactions(chain: Chain, buses: int) -> None:
    rule, book = Verifier(chain, chain.deploy(artifact("Pairwise").bytecode)), fullest(buses)
    claim, state, spent = claim_of(book), b"", []
    pages = [b"".join(page[1:]) for page in book.pages]
    for call in pair_calls(claim, pages, MOST_BYTES, MOST_GAS):
        brought = book.pages[call.first_page : call.first_page + call.pages]
        fed, last = call.feed, call.last
        data = rule.data(book, claim.claim, fed, state=state, pages=brought, last=last)
        spent.append((len(data), rule.spend(data)))
        _, state = rule.check(book, claim.claim, fed, state=state, pages=brought, last=last)
    assert fits(spent)
