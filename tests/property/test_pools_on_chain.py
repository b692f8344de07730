"""The pool rules on chain accept the engine's clearing, cut anyhow into calls, and no other."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from market.clearing.claims import decode_claim
from market.contracts import decode_error
from market.devnet import Anvil
from tests.bare_chain import CallRefused, Chain
from tests.pool_books import (
    STANDING,
    PoolCase,
    Pools,
    bent_claims,
    chunkings,
    pool_cases,
)

EXAMPLES = int(os.environ.get("SUBGRID_EXAMPLES", "300"))
"""Books that are tried; a nightly run asks for more."""

REFUSALS = {
    "ClaimBroken",
    "ZonesUnordered",
    "CutMisstated",
    "LineOverloaded",
    "Unbalanced",
    "WrongZone",
    "Outranked",
    "WrongPrice",
}


@pytest.fixture(scope="module")
def pools() -> Iterator[Pools]:
    with Anvil() as anvil:
        yield Pools(Chain(anvil.url))


@given(pool_cases(), chunkings(3))
@settings(max_examples=EXAMPLES)
def test_check__of_the_engines_clearing__gives_its_positions(
    pools: Pools, case: PoolCase, ends: list[int]
) -> None:
    assert pools.run(case, case.claim(), ends) == case.expected()


@given(st.data(), pool_cases(), chunkings(3))
@settings(max_examples=EXAMPLES)
def test_check__of_a_bent_claim__refuses(
    pools: Pools, data: st.DataObject, case: PoolCase, ends: list[int]
) -> None:
    bent = data.draw(bent_claims(case))
    assume(bent != case.claim())
    with pytest.raises(CallRefused) as refused:
        pools.run(case, bent, ends)
    assert decode_error(refused.value.data)[0] in REFUSALS


@given(pool_cases())
@settings(max_examples=EXAMPLES // 3)
def test_check__where_nothing_trades__keeps_options_and_locks(pools: Pools, case: PoolCase) -> None:
    assert pools.check(case, b"", mode=STANDING) == (case.untraded(), b"")


@given(pool_cases())
def test_claim__of_a_clearing__comes_back(case: PoolCase) -> None:
    assert decode_claim(case.claim()) == case.clear().zones
