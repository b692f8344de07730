"""`Pairwise` accepts the engine's clearing however it is cut into calls, and no forgery."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from market.clearing.pair_calls import next_call, pair_calls, progress_of
from market.clearing.pair_claims import TRADE_BYTES, PairClaim, Room
from market.contracts import artifact
from market.devnet import Anvil
from tests.bare_chain import CallRefused, Chain
from tests.pair_books import ChainBook, chain_books, expected
from tests.pair_rule import (
    Verifier,
    chunkings,
    claim_of,
    entries,
    items,
    one_call,
    pairs_of,
    sealed,
)
from tests.unit.contracts.support import selector

EXAMPLES = int(os.environ.get("SUBGRID_EXAMPLES", "500"))
"""Random books, and as many forgeries; a nightly run asks for more."""

ERRORS = {selector(item) for item in artifact("Pairwise").abi if item["type"] == "error"}

quickly = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def rule() -> Iterator[Verifier]:
    with Anvil() as anvil:
        chain = Chain(anvil.url)
        yield Verifier(chain, chain.deploy(artifact("Pairwise").bytecode))


@given(st.data())
@quickly
def test_check__in_any_chunks__gives_the_positions(rule: Verifier, data: st.DataObject) -> None:
    book = data.draw(chain_books())
    claim = claim_of(book, data.draw(st.integers(1, 9)))
    calls = data.draw(chunkings(claim))
    assert rule.run(book, claim.claim, calls) == expected(book)


@given(st.data())
@quickly
def test_check__of_the_planned_calls__gives_the_positions(
    rule: Verifier, data: st.DataObject
) -> None:
    book = data.draw(chain_books())
    claim = claim_of(book, data.draw(st.integers(1, 4)))
    pages = [b"".join(page[1:]) for page in book.pages]
    calls = pair_calls(claim, pages, data.draw(st.sampled_from((2_000, 10_000))), 10**9)
    assert [call.last for call in calls] == [False] * (len(calls) - 1) + [True]
    assert calls[-1].pages
    assert rule.run(book, claim.claim, calls) == expected(book)


@given(st.data())
@quickly
def test_progress__of_anybodys_calls__is_what_they_brought(
    rule: Verifier, data: st.DataObject
) -> None:
    book = data.draw(chain_books())
    claim = claim_of(book, data.draw(st.integers(1, 4)))
    *begun, _ = data.draw(chunkings(claim))
    assume(begun)
    brought, state = [], b""
    for call in begun:
        pages = book.pages[call.first_page : call.first_page + call.pages]
        found, state = rule.check(
            book, claim.claim, call.feed, state=state, pages=pages, last=False
        )
        brought += found
    done = progress_of(claim, len(brought), state)
    assert done is not None
    assert done.pages == len(brought)
    assume(done.pages < book.buckets)
    sizes = [b"".join(page[1:]) for page in book.pages]
    while done.pages < book.buckets:
        call, done = next_call(claim, sizes, done, 5_000, 10**9)
        pages = book.pages[call.first_page : call.first_page + call.pages]
        found, state = rule.check(
            book, claim.claim, call.feed, state=state, pages=pages, last=call.last
        )
        brought += found
    assert brought == expected(book)


@given(st.data())
@quickly
def test_check__of_a_bent_claim__refuses(rule: Verifier, data: st.DataObject) -> None:
    book = data.draw(chain_books())
    claim = claim_of(book)
    bend = data.draw(st.sampled_from((bent_merge, bent_pairs, bent_trades, bent_rooms)))
    forged = bend(data, book, claim)
    assume(forged.claim != claim.claim)
    refuses(data, rule, book, forged)


@given(st.data())
@quickly
def test_check__of_another_books_clearing__refuses(rule: Verifier, data: st.DataObject) -> None:
    """The forger clears another book or other lines in every detail, and claims it for this one."""
    book = data.draw(chain_books())
    other = data.draw(another(book))
    forged = claim_of(other)
    trades = retold(book, other, forged)
    rooms = data.draw(st.sampled_from((forged.rooms, claim_of(book).rooms)))
    forged = sealed(book, forged, trades=trades, rooms=rooms)
    assume(forged.claim != claim_of(book).claim)
    refuses(data, rule, book, forged)


def retold(book: ChainBook, other: ChainBook, claim: PairClaim) -> list[bytes]:
    """The trades of another book's claim for the orders of this one; none where it has no order."""
    size = TRADE_BYTES * (2 if claim.rooms else 1)
    places = [seq for bucket in range(other.buckets) for seq in other.eligible_seqs(bucket)]
    told = dict(zip(places, items(b"".join(claim.trades), size), strict=True))
    return [
        b"".join(told.get(seq, bytes(size)) for seq in book.eligible_seqs(bucket))
        for bucket in range(book.buckets)
    ]


def refuses(data: st.DataObject, rule: Verifier, book: ChainBook, forged: PairClaim) -> None:
    """Require a refusal by one of the rule's own errors."""
    calls = data.draw(st.one_of(st.just(one_call(forged)), chunkings(forged)))
    with pytest.raises(CallRefused) as caught:
        rule.run(book, forged.claim, calls)
    assert caught.value.data[:4] in ERRORS


def bent(data: st.DataObject, parts: list[bytes], strangers: list[bytes]) -> list[bytes]:
    """Swap, drop, duplicate, overfill, misstate or add an entry."""
    parts = list(parts)
    how = data.draw(st.sampled_from(("swap", "drop", "copy", "bit", "add", "reverse", "stranger")))
    if how == "stranger":
        assume(strangers)
        parts.insert(data.draw(st.integers(0, len(parts))), data.draw(st.sampled_from(strangers)))
        return parts
    assume(parts)
    i, j = (data.draw(st.integers(0, len(parts) - 1)) for _ in range(2))
    size = len(parts[i])
    number = int.from_bytes(parts[i], "big")
    if how == "swap":
        parts[i], parts[j] = parts[j], parts[i]
    elif how == "drop":
        del parts[i]
    elif how == "copy":
        parts[j:j] = [parts[i]]
    elif how == "reverse":
        parts.reverse()
    elif how == "bit":
        number ^= 1 << data.draw(st.integers(0, 8 * size - 1))
    else:
        number += data.draw(st.sampled_from((1, -1, 256, 1 << 16, 1 << 72, -(1 << 72))))
    if how in ("bit", "add"):
        parts[i] = (number % (1 << 8 * size)).to_bytes(size, "big")
    return parts


def bent_merge(data: st.DataObject, book: ChainBook, claim: PairClaim) -> PairClaim:
    everybody = replace(
        book, low=0, high=2**32 - 1, steps=tuple(s._replace(cancelled=False) for s in book.steps)
    )
    mine = entries(claim)
    strangers = [entry for entry in entries(claim_of(everybody)) if entry not in mine]
    parts = bent(data, mine, strangers)
    if data.draw(st.booleans()):
        parts.sort()
    return sealed(book, claim, merge=b"".join(parts))


def bent_pairs(data: st.DataObject, book: ChainBook, claim: PairClaim) -> PairClaim:
    return sealed(book, claim, pairs=b"".join(bent(data, pairs_of(claim), [])))


def bent_trades(data: st.DataObject, book: ChainBook, claim: PairClaim) -> PairClaim:
    lengths = [len(trades) // TRADE_BYTES for trades in claim.trades]
    parts = bent(data, items(b"".join(claim.trades), TRADE_BYTES), [bytes(TRADE_BYTES)])
    trades, first = [], 0
    for length in lengths:
        trades.append(b"".join(parts[first : first + length]))
        first += length
    return sealed(book, claim, trades=trades)


def bent_rooms(data: st.DataObject, book: ChainBook, claim: PairClaim) -> PairClaim:
    assume(claim.rooms)
    rooms = list(claim.rooms)
    i = data.draw(st.integers(0, len(rooms) - 1))
    line, up_wh, down_wh = rooms[i]
    more = data.draw(st.sampled_from((-1, 1, 2**63)))
    changes = {
        "line": Room(line + 1, up_wh, down_wh),
        "up": Room(line, max(0, up_wh + more), down_wh),
        "down": Room(line, up_wh, max(0, down_wh + more)),
    }
    how = data.draw(st.sampled_from(("drop", *changes)))
    rooms[i : i + 1] = [] if how == "drop" else [changes[how]]
    return sealed(book, claim, rooms=rooms)


@st.composite
def another(draw: st.DrawFn, book: ChainBook) -> ChainBook:
    """A book that differs in who takes part, in one order, or in the lines."""
    how = draw(st.sampled_from(("cancelled", "energy", "limit", "band", "lines", "agreed")))
    if how == "band":
        return replace(book, low=0, high=2**32 - 1)
    if how == "lines":
        root, *lines = book.wires
        wider = (w._replace(up_wh=w.up_wh + draw(st.integers(0, 2))) for w in lines)
        return replace(book, wires=(root, *wider))
    if how == "agreed":
        return replace(book, agreed=())
    assume(book.steps)
    steps = list(book.steps)
    i = draw(st.integers(0, len(steps) - 1))
    # Away from the other side: no node crosses itself.
    limit = steps[i].limit + 1 if steps[i].sells else max(0, steps[i].limit - 1)
    changed = {
        "cancelled": steps[i]._replace(cancelled=not steps[i].cancelled),
        "energy": steps[i]._replace(energy_wh=steps[i].energy_wh + 1),
        "limit": steps[i]._replace(limit=limit),
    }
    steps[i] = changed[how]
    return replace(book, steps=tuple(steps))
