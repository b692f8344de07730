"""`Pairwise`: what it refuses, by name and values, and what stands when nothing trades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from market.clearing.pair_claims import (
    ENTRY_BYTES,
    MERGE,
    PAIR_BYTES,
    PAIRS,
    TRADE_BYTES,
    TRADES,
    PairClaim,
    Room,
    encode_block,
)
from market.contracts import artifact
from market.devnet import Anvil
from market.packing import decode_positions
from market.types import Options, Position
from tests.bare_chain import CallRefused, Chain
from tests.pair_books import Agreed, ChainBook, Step, Wire, expected
from tests.pair_rule import (
    Verifier,
    claim_of,
    entries,
    items,
    one_call,
    pairs_of,
    sealed,
)
from tests.unit.contracts.support import named

SELLER, CHEAP, BUYER, LATE = 1, 256, 2, 3
STEPS = (
    Step(SELLER, 1, sells=True, options=1, energy_wh=100, limit=400, seq=0),
    Step(CHEAP, 1, sells=True, options=0, energy_wh=100, limit=300, seq=1),
    Step(BUYER, 0, sells=False, options=4, energy_wh=150, limit=500, seq=2),
    Step(LATE, 2, sells=False, options=0, energy_wh=30, limit=450, seq=3),
)
"""In merge order 1, 0, 3, 2; pairs (0, 3) 30 Wh, (0, 2) 70 Wh, (1, 2) 80 Wh."""
FREE = ChainBook(STEPS, buckets=2)
BOUND = replace(FREE, wires=(Wire(0, 0, 0), Wire(0, 90, 90), Wire(1, 90, 90)))
"""Both sellers are behind line 1, which carries 90 of 150 Wh to the root; line 2 never binds."""


@pytest.fixture(scope="module")
def rule() -> Iterator[Verifier]:
    with Anvil() as anvil:
        chain = Chain(anvil.url)
        yield Verifier(chain, chain.deploy(artifact("Pairwise").bytecode))


def refused(error: str, rule: Verifier, book: ChainBook, claim: PairClaim, *values: object) -> None:
    """Require that a claim, fed whole, is refused by an error with these values."""
    with pytest.raises(CallRefused) as caught:
        rule.run(book, claim.claim, one_call(claim))
    assert named(error, caught.value.data) == values


def plus(data: bytes, more: int) -> bytes:
    return (int.from_bytes(data, "big") + more).to_bytes(len(data), "big")


# -- what is accepted


@pytest.mark.parametrize(
    "book",
    [
        FREE,
        BOUND,
        ChainBook((), buckets=2),
        replace(FREE, steps=(STEPS[0]._replace(energy_wh=0), *STEPS[1:])),
    ],
    ids=["free", "bound", "empty", "no energy"],
)
def test_check__of_the_engines_clearing__gives_the_positions(
    rule: Verifier, book: ChainBook
) -> None:
    claim = claim_of(book)
    assert rule.run(book, claim.claim, one_call(claim)) == expected(book)


def test_check__where_a_line_cuts_a_pair__cuts_the_later_gap(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    # Line 1 lets 20 of the 70 Wh of the pair (0, 2) through, behind 30 Wh that do not pass it.
    assert [room.line for room in claim.rooms] == [1]
    first, second = rule.run(BOUND, claim.claim, one_call(claim))
    plan = {p.node: p for p in (*decode_positions(first, 0), *decode_positions(second, 1))}
    assert plan[SELLER].sold_wh == 100
    assert plan[CHEAP].sold_wh == 20
    assert plan[BUYER].bought_wh == 90
    assert plan[LATE].bought_wh == 30
    assert plan[BUYER].pay_nyuan == 70 * 450 + 20 * 400


def test_check__of_more_lines_than_may_bind__is_accepted(rule: Verifier) -> None:
    wide = replace(BOUND, wires=(Wire(0, 0, 0), Wire(0, 90, 90), Wire(1, 10**6, 0)))
    claim = claim_of(wide)
    assert [room.line for room in claim.rooms] == [1, 2]
    assert rule.run(wide, claim.claim, one_call(claim)) == expected(wide)


def test_check__of_agreements__lets_them_flow_first(rule: Verifier) -> None:
    selling = Agreed(Position(7, Options(2), 60, 0, 6_000, 0, 5), 1)
    book = replace(BOUND, agreed=(selling,))
    claim = claim_of(book)
    assert claim.rooms[0] == Room(1, 30, 150)
    assert rule.run(book, claim.claim, one_call(claim)) == expected(book)


def test_claim__with_more_buckets_without_orders__is_the_same(rule: Verifier) -> None:
    later = replace(BOUND, buckets=5)
    claim = claim_of(later)
    assert claim.claim == claim_of(BOUND).claim
    assert rule.run(later, claim.claim, one_call(claim)) == expected(later)


def test_check__when_nothing_trades__keeps_agreements_options_and_locks(rule: Verifier) -> None:
    bought = Agreed(Position(BUYER, Options(1), 0, 70, 0, 7_000, 9), 0)
    book = replace(FREE, agreed=(bought,), batch=1)
    positions, state = rule.check(
        book, b"", pages=book.pages, terms=(1, *book.terms[1:]), last=True
    )
    assert state == b""
    plan = {p.node: p for p in decode_positions(positions[0], 0)}
    assert plan.keys() == {SELLER, BUYER, LATE}
    assert plan[BUYER].pay_nyuan == 7_000
    assert plan[BUYER].options == Options(1 | 4)
    # 150 Wh at 500 and the highest fee of 50,000 uyuan/kWh, rounded up, behind the agreement's 9.
    assert plan[BUYER].locked_uyuan == 9 + 7_575
    assert plan[SELLER].locked_uyuan == 100 * 2_000_000 // 1000


# -- what is refused


def test_claim__of_no_whole_line__is_refused(rule: Verifier) -> None:
    claim = claim_of(FREE)
    short = replace(claim, claim=claim.claim[:-1])
    refused("Pairwise.ClaimBroken", rule, FREE, short, 95)
    refused("Pairwise.ClaimBroken", rule, FREE, replace(claim, claim=claim.claim + b"\0"), 97)


def test_claim__of_unordered_or_unknown_lines__is_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    twice = [*claim.rooms, *claim.rooms]
    refused("Pairwise.LinesUnordered", rule, BOUND, sealed(BOUND, claim, rooms=twice), 1)
    beyond = [*claim.rooms, Room(3, 0, 0)]
    refused("Pairwise.LinesUnordered", rule, BOUND, sealed(BOUND, claim, rooms=beyond), 3)


def test_state__of_another_claim__is_refused(rule: Verifier) -> None:
    claim, other = claim_of(FREE), claim_of(FREE, block_items=1)
    _, state = rule.check(FREE, claim.claim, last=False)
    with pytest.raises(CallRefused) as caught:
        rule.check(FREE, other.claim, state=state, last=False)
    assert named("Pairwise.StateOfAnother", caught.value.data) == ()


@pytest.mark.parametrize("change", ["terms", "lines", "cancelled"])
def test_state__of_other_terms__is_refused(rule: Verifier, change: str) -> None:
    claim = claim_of(FREE)
    _, state = rule.check(FREE, claim.claim, last=False)
    changed = {
        "terms": replace(FREE, low=1),
        "lines": replace(FREE, wires=(Wire(0, 0, 0), Wire(0, 1, 1))),
        "cancelled": replace(FREE, steps=(STEPS[0]._replace(cancelled=True), *STEPS[1:])),
    }[change]
    with pytest.raises(CallRefused) as caught:
        rule.check(changed, claim.claim, state=state, last=False)
    assert named("Pairwise.StateOfAnother", caught.value.data) == ()


def test_feed__without_a_pages_block__is_refused(rule: Verifier) -> None:
    claim = claim_of(FREE)
    with pytest.raises(CallRefused) as caught:
        rule.check(FREE, claim.claim, encode_block(TRADES, claim.trades[0]), pages=FREE.pages)
    at = 4 + len(claim.trades[0])
    assert named("Pairwise.FeedBroken", caught.value.data) == (at,)


@pytest.mark.parametrize(
    "data",
    [
        encode_block(MERGE, bytes(ENTRY_BYTES + 1)),
        encode_block(PAIRS, bytes(PAIR_BYTES - 1)),
        encode_block(MERGE, bytes(ENTRY_BYTES))[:-1],
        encode_block(3, b""),
        encode_block(TRADES, b""),
        b"\1\0\0",
    ],
    ids=["entry", "pair", "cut off", "unknown kind", "no page", "no length"],
)
def test_feed__of_a_broken_block__is_refused(rule: Verifier, data: bytes) -> None:
    with pytest.raises(CallRefused) as caught:
        rule.check(FREE, claim_of(FREE).claim, data, last=False)
    assert named("Pairwise.FeedBroken", caught.value.data) == (0,)


def test_feed__of_fewer_or_more_trades_than_orders__is_refused(rule: Verifier) -> None:
    claim = claim_of(FREE)
    length = 3 * TRADE_BYTES
    for trades in (claim.trades[0][:-1], claim.trades[0] + b"\0"):
        forged = sealed(FREE, claim, trades=[trades, claim.trades[1]])
        refused("Pairwise.TradesBroken", rule, FREE, forged, 0, len(trades), length)


def test_feed__that_is_not_what_is_claimed__is_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    for kind in (TRADES, MERGE, PAIRS):
        other = bytearray(claim.claim)
        other[32 * kind] ^= 1
        refused("Pairwise.FeedDiffers", rule, BOUND, replace(claim, claim=bytes(other)), kind)


def test_feed__without_its_end__is_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND, block_items=1)
    for kind, short in ((MERGE, {"merge": claim.merge[:-1]}), (PAIRS, {"pairs": claim.pairs[:-1]})):
        refused("Pairwise.FeedDiffers", rule, BOUND, replace(claim, **short), kind)  # type: ignore[arg-type]


def test_page__of_another_book__is_refused(rule: Verifier) -> None:
    claim = claim_of(FREE)
    other = replace(FREE, steps=(STEPS[0]._replace(options=2), *STEPS[1:]))
    refused("Pairwise.FeedDiffers", rule, other, claim, TRADES)


def test_merge__out_of_order_or_twice__is_refused(rule: Verifier) -> None:
    claim = claim_of(FREE)
    ask, cheap, low, high = entries(claim)
    for forged, seq in (([cheap, ask, low, high], 1), ([ask, ask, low, high], 1)):
        merge = b"".join(forged)
        refused("Pairwise.MergedLate", rule, FREE, sealed(FREE, claim, merge=merge), seq)


def test_merge__of_equal_limits_with_the_earlier_ask_on_top_first__is_refused(
    rule: Verifier,
) -> None:
    book = replace(FREE, steps=(STEPS[0], STEPS[1]._replace(limit=400), *STEPS[2:]))
    claim = claim_of(book)
    late, early, *bids = entries(claim)
    forged = sealed(book, claim, merge=b"".join([early, late, *bids]))
    refused("Pairwise.MergedLate", rule, book, forged, 1)


def test_merge__across_calls__is_compared_too(rule: Verifier) -> None:
    claim = claim_of(FREE)
    first, second, *_ = (encode_block(MERGE, entry) for entry in entries(claim))
    _, state = rule.check(FREE, claim.claim, second, last=False)
    with pytest.raises(CallRefused) as caught:
        rule.check(FREE, claim.claim, first, state=state, last=False)
    assert named("Pairwise.MergedLate", caught.value.data) == (1,)


def test_merge__off_the_feeder__is_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    cheap, *others = entries(claim)
    forged = sealed(BOUND, claim, merge=b"".join([plus(cheap, 8), *others]))
    # The lowest ask is on bus 1 and trades last.
    refused("Pairwise.OffFeeder", rule, BOUND, forged, 1, 9)


@pytest.mark.parametrize("place", range(4))
def test_merge__without_an_order__is_refused(rule: Verifier, place: int) -> None:
    claim = claim_of(FREE)
    left = entries(claim)
    del left[place]
    refused("Pairwise.OrdersDiffer", rule, FREE, sealed(FREE, claim, merge=b"".join(left)))


@pytest.mark.parametrize("step", range(4))
def test_clearing__of_the_book_without_an_order__is_refused(rule: Verifier, step: int) -> None:
    fewer = replace(
        FREE, steps=tuple(s._replace(cancelled=s.seq == step or s.cancelled) for s in STEPS)
    )
    alone = claim_of(fewer)
    # The order that was left out is said to trade nothing.
    told = dict(zip(_seqs(fewer), items(b"".join(alone.trades), TRADE_BYTES), strict=True))
    trades = [
        b"".join(told.get(seq, bytes(TRADE_BYTES)) for seq in FREE.eligible_seqs(bucket))
        for bucket in range(FREE.buckets)
    ]
    refused("Pairwise.OrdersDiffer", rule, FREE, sealed(FREE, alone, trades=trades))


def _seqs(book: ChainBook) -> list[int]:
    return [seq for bucket in range(book.buckets) for seq in book.eligible_seqs(bucket)]


@pytest.mark.parametrize("why", ["cancelled", "below the band", "above the band"])
def test_clearing__with_an_order_that_takes_no_part__is_refused(rule: Verifier, why: str) -> None:
    out = {
        "cancelled": replace(FREE, steps=(STEPS[0], STEPS[1]._replace(cancelled=True), *STEPS[2:])),
        "below the band": replace(FREE, low=301),
        "above the band": replace(FREE, high=499),
    }[why]
    with_it, right = claim_of(FREE), claim_of(out)
    forged = sealed(out, with_it, trades=right.trades)
    refused("Pairwise.OrdersDiffer", rule, out, forged)


@pytest.mark.parametrize(
    "more", [1, -1, 1 << 72, -(1 << 72)], ids=["1 nyuan", "-1", "1 Wh", "-1 Wh"]
)
@pytest.mark.parametrize("order", range(3))
def test_trades__of_another_energy_or_amount__are_refused(
    rule: Verifier, order: int, more: int
) -> None:
    claim = claim_of(FREE)
    trades = items(claim.trades[0], TRADE_BYTES)
    trades[order] = plus(trades[order], more)
    forged = sealed(FREE, claim, trades=[b"".join(trades), claim.trades[1]])
    refused("Pairwise.OrdersDiffer", rule, FREE, forged)


def test_trades__of_two_orders_swapped__are_refused(rule: Verifier) -> None:
    claim = claim_of(FREE)
    first, second, third = items(claim.trades[0], TRADE_BYTES)
    forged = sealed(FREE, claim, trades=[second + first + third, claim.trades[1]])
    refused("Pairwise.OrdersDiffer", rule, FREE, forged)


def test_pairs__out_of_order_or_twice__are_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    first, second = pairs_of(claim)
    forged = sealed(BOUND, claim, pairs=second + first)
    refused("Pairwise.PairLate", rule, BOUND, forged, 0, 2)
    forged = sealed(BOUND, claim, pairs=first + second + second)
    refused("Pairwise.PairLate", rule, BOUND, forged, 1, 2)


def test_pairs__in_an_unknown_zone__are_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    first, second = pairs_of(claim)
    for shift in (32, 48):
        forged = sealed(BOUND, claim, pairs=first + plus(second, 9 << shift))
        refused("Pairwise.NoZone", rule, BOUND, forged, 1, 2)


@pytest.mark.parametrize(
    "more", [1, -1, 1 << 64, -(1 << 64), 1 << 152], ids=["price", "-1", "1 Wh", "-1 Wh", "gap"]
)
def test_pairs__of_another_price_energy_or_gap__are_refused(rule: Verifier, more: int) -> None:
    claim = claim_of(BOUND)
    first, second = pairs_of(claim)
    forged = sealed(BOUND, claim, pairs=first + plus(second, more))
    refused("Pairwise.PairsDiffer", rule, BOUND, forged)


def test_pairs__left_out__are_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    first, second = pairs_of(claim)
    for left in (first, second, b""):
        refused("Pairwise.PairsDiffer", rule, BOUND, sealed(BOUND, claim, pairs=left))


def test_cuts__of_more_than_was_traded__are_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    cheap = items(claim.trades[1], TRADE_BYTES)
    for more in (1 << 72, 1):
        forged = sealed(BOUND, claim, trades=[claim.trades[0], cheap[0] + plus(cheap[0], more)])
        refused("Pairwise.Overcut", rule, BOUND, forged, 1)


@pytest.mark.parametrize(
    "more", [1 << 72, -(1 << 72), 1, -1], ids=["1 Wh", "-1 Wh", "1 nyuan", "-1"]
)
def test_cuts__of_another_energy_or_amount__are_refused(rule: Verifier, more: int) -> None:
    claim = claim_of(BOUND)
    matched, cut = items(claim.trades[1], TRADE_BYTES)
    assert any(cut)
    forged = sealed(BOUND, claim, trades=[claim.trades[0], matched + plus(cut, more)])
    refused("Pairwise.CutsDiffer", rule, BOUND, forged)


def test_cuts__that_both_sides_of_a_pair_hide__are_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    matched, cut = items(claim.trades[1], TRADE_BYTES)
    first = items(claim.trades[0], TRADE_BYTES)
    # One Wh of the pair (1, 2) at 400 passes a line that is full.
    wh = (1 << 72) + 400
    first[3] = plus(first[3], -wh)
    forged = sealed(BOUND, claim, trades=[b"".join(first), matched + plus(cut, -wh)])
    refused("Pairwise.CutsDiffer", rule, BOUND, forged)


def test_rooms__that_agreements_do_not_leave__are_refused(rule: Verifier) -> None:
    claim = claim_of(BOUND)
    for room in (Room(1, 91, 90), Room(1, 89, 90), Room(1, 90, 91), Room(1, 90, 2**64 - 1)):
        forged = sealed(BOUND, claim, rooms=[room])
        # Cuts may differ first; rooms are told from the sums of the pages.
        with pytest.raises(CallRefused):
            rule.run(BOUND, forged.claim, one_call(forged))
    up = claim_of(replace(BOUND, wires=(Wire(0, 0, 0), Wire(0, 100, 90), Wire(1, 90, 90))))
    refused("Pairwise.HeadroomDiffers", rule, BOUND, up, 1, 90, 90)


def test_line__that_may_bind_but_is_not_named__is_refused(rule: Verifier) -> None:
    free = claim_of(FREE)
    on_buses = claim_of(replace(BOUND, wires=tuple(Wire(w.parent, 999, 999) for w in BOUND.wires)))
    assert on_buses.rooms == ()
    assert free.merge != on_buses.merge
    refused("Pairwise.LineMayBind", rule, BOUND, on_buses, 1)
