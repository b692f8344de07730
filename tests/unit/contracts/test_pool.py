"""The pool rules: what they refuse, by name and values, and what they make of edge cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from market.clearing import Cut, Rule, Zone
from market.clearing.claims import ZONE_BYTES, encode_claim
from market.devnet import Anvil
from market.packing import decode_positions
from market.types import Options, Position
from tests.bare_chain import CallRefused, Chain
from tests.pair_books import Agreed, ChainBook, Step, Wire
from tests.pool_books import STANDING, PoolCase, Pools
from tests.unit.contracts.support import named

DEAR, CHEAP, BUYER, LATE = 1, 256, 2, 3
STEPS = (
    Step(DEAR, 1, sells=True, options=1, energy_wh=100, limit=400, seq=0),
    Step(CHEAP, 1, sells=True, options=0, energy_wh=100, limit=300, seq=1),
    Step(BUYER, 0, sells=False, options=4, energy_wh=150, limit=500, seq=2),
    Step(LATE, 2, sells=False, options=0, energy_wh=30, limit=450, seq=3),
)
"""All that is wanted trades: 180 Wh, 80 of them of the dear seller, at 400."""
FREE = PoolCase(Rule.UNIFORM, ChainBook(STEPS, buckets=2), planned=420)
WIRES = (Wire(0, 0, 0), Wire(0, 90, 90), Wire(1, 90, 90))
BOUND = replace(FREE, book=replace(FREE.book, wires=WIRES))
"""Both sellers are behind line 1, which carries 90 of 150 Wh to the root; line 2 never binds."""

ONE = Zone(0, 400, Cut(450, 3, 30), Cut(400, 0, 80))
"""The valid zone of `FREE`: the dear seller's partial order is the margin."""
ROOT = Zone(0, 500, Cut(500, 2, 90), None)
BELOW = Zone(1, 400, Cut(450, 3, 30), Cut(400, 0, 20))
"""The valid zones of `BOUND`."""


@pytest.fixture(scope="module")
def pools() -> Iterator[Pools]:
    with Anvil() as anvil:
        yield Pools(Chain(anvil.url))


def refused(
    error: str,
    pools: Pools,
    case: PoolCase,
    claim: Sequence[Zone] | bytes,
    *values: object,
    feed: bytes = b"",
) -> None:
    """Require that a claim is refused by an error with these values."""
    packed = claim if isinstance(claim, bytes) else encode_claim(claim)
    with pytest.raises(CallRefused) as caught:
        pools.check(case, packed, feed=feed)
    assert named(error, caught.value.data) == values


def planned(case: PoolCase) -> PoolCase:
    return replace(case, rule=Rule.PLANNED)


def with_wires(*wires: Wire) -> PoolCase:
    return replace(FREE, book=replace(FREE.book, wires=wires))


# -- what is accepted


@pytest.mark.parametrize(
    ("case", "zones"),
    [
        (FREE, [ONE]),
        (BOUND, [ROOT, BELOW]),
        (planned(FREE), [ONE._replace(price_uyuan_per_kwh=420)]),
        (replace(FREE, book=ChainBook((), buckets=2, high=9)), [Zone(0, 4, None, None)]),
    ],
    ids=["free", "bound", "planned", "empty"],
)
def test_check__of_the_one_valid_clearing__gives_the_positions(
    pools: Pools, case: PoolCase, zones: list[Zone]
) -> None:
    assert list(case.clear().zones) == zones
    positions, state = pools.check(case, encode_claim(zones))
    assert (positions, state) == (case.expected(), b"")


def test_check__of_zones__pays_each_side_its_own_price(pools: Pools) -> None:
    positions, _ = pools.check(BOUND, encode_claim([ROOT, BELOW]))
    plan = {p.node: p for b, data in enumerate(positions) for p in decode_positions(data, b)}
    assert (plan[BUYER].bought_wh, plan[BUYER].pay_nyuan) == (90, 90 * 500)
    assert (plan[LATE].bought_wh, plan[LATE].pay_nyuan) == (30, 30 * 400)
    assert (plan[CHEAP].sold_wh, plan[CHEAP].receive_nyuan) == (100, 100 * 400)
    assert (plan[DEAR].sold_wh, plan[DEAR].receive_nyuan) == (20, 20 * 400)


def test_check__of_agreements__lets_them_flow_first(pools: Pools) -> None:
    selling = Agreed(Position(7, Options(2), 60, 0, 6_000, 0, 5), 1)
    case = replace(BOUND, book=replace(BOUND.book, agreed=(selling,)))
    zones = case.clear().zones
    assert zones[0].bid_cut == Cut(500, 2, 30)
    positions, _ = pools.check(case, encode_claim(zones))
    assert positions == case.expected()
    assert Position(7, Options(2), 60, 0, 6_000, 0, 5) in decode_positions(positions[0], 0)


def test_check__of_agreements_beyond_a_line__lets_orders_relieve_it(pools: Pools) -> None:
    buying = Agreed(Position(7, Options(0), 0, 500, 0, 50, 5), 2)
    case = replace(BOUND, book=replace(BOUND.book, agreed=(buying,)))
    positions, _ = pools.check(case, case.claim())
    assert positions == case.expected()
    # Line 1 carries 500 Wh down, 410 too many: upwards there is room for 590.
    assert case.clear().flow_wh.tolist()[1] == 150


def test_check__where_nothing_trades__needs_no_claim(pools: Pools) -> None:
    selling = Agreed(Position(7, Options(2), 60, 1, 6_000, 9, 5), 1)
    case = replace(FREE, book=replace(FREE.book, agreed=(selling,)))
    assert pools.check(case, b"", mode=STANDING) == (case.untraded(), b"")


# -- what is refused


@pytest.mark.parametrize("length", [0, ZONE_BYTES - 1, ZONE_BYTES + 1])
def test_check__of_no_whole_number_of_zones__is_refused(pools: Pools, length: int) -> None:
    claim = (2 * encode_claim([ONE]))[:length]
    refused("Uniform.ClaimBroken", pools, FREE, claim, length)


def test_check__with_a_feed__is_refused(pools: Pools) -> None:
    refused("Uniform.UnexpectedFeed", pools, FREE, [ONE], 2, feed=b"hi")


@pytest.mark.parametrize(("heads", "zone"), [((1, 2), 0), ((0, 0), 1), ((0, 2, 1), 2), ((0, 3), 1)])
def test_check__of_heads_out_of_order__is_refused(
    pools: Pools, heads: tuple[int, ...], zone: int
) -> None:
    zones = [Zone(head, 400, None, None) for head in heads]
    refused("Uniform.ZonesUnordered", pools, BOUND, zones, zone)


@pytest.mark.parametrize(
    "cut",
    [
        Cut(400, 0, 101),  # more than it has
        Cut(401, 0, 80),  # another limit
        Cut(400, 2, 80),  # the other side
        Cut(400, 9, 80),  # no such order
        Cut(400, 0, 0),  # takes nothing
    ],
)
def test_check__of_a_cut_that_is_no_order__is_refused(pools: Pools, cut: Cut) -> None:
    refused("Uniform.CutMisstated", pools, FREE, [ONE._replace(ask_cut=cut)], 0, cut.seq)


@pytest.mark.parametrize(
    "cut", [Cut(450, 3, 31), Cut(449, 3, 30), Cut(450, 0, 30), Cut(450, 9, 30), Cut(450, 3, 0)]
)
def test_check__of_a_bid_cut_that_is_no_order__is_refused(pools: Pools, cut: Cut) -> None:
    refused("Uniform.CutMisstated", pools, FREE, [ONE._replace(bid_cut=cut)], 0, cut.seq)


def test_check__of_a_cut_in_another_zone__is_refused(pools: Pools) -> None:
    root = ROOT._replace(ask_cut=Cut(400, 0, 20))
    refused("Uniform.CutMisstated", pools, BOUND, [root, BELOW], 0, 0)


def test_check__of_a_cancelled_order_as_cut__is_refused(pools: Pools) -> None:
    gone = (STEPS[0]._replace(cancelled=True), *STEPS[1:])
    case = replace(FREE, book=replace(FREE.book, steps=gone))
    refused("Uniform.CutMisstated", pools, case, [ONE], 0, 0)


def test_check__of_an_order_outside_the_band_as_cut__is_refused(pools: Pools) -> None:
    case = replace(FREE, book=replace(FREE.book, high=399))
    refused("Uniform.CutMisstated", pools, case, [ONE], 0, 3)


def test_check__of_an_unwilling_order_as_cut__is_refused(pools: Pools) -> None:
    case = planned(replace(FREE, planned=399))
    refused("Planned.CutMisstated", pools, case, [ONE._replace(price_uyuan_per_kwh=399)], 0, 0)


def test_check__of_a_line_that_carries_too_much__is_refused(pools: Pools) -> None:
    refused("Uniform.LineOverloaded", pools, BOUND, [ONE], 1, 150, 90)
    # The buyers sit below line 2 now, and draw through it.
    drawn = tuple(s._replace(bus=0 if s.sells else 2) for s in STEPS)
    case = replace(BOUND, book=replace(BOUND.book, steps=drawn))
    refused("Uniform.LineOverloaded", pools, case, [ONE], 2, -180, -90)


@pytest.mark.parametrize(("part", "surplus"), [(79, -1), (81, 1)])
def test_check__of_unequal_sides__is_refused(pools: Pools, part: int, surplus: int) -> None:
    zones = [ONE._replace(ask_cut=Cut(400, 0, part))]
    refused("Uniform.Unbalanced", pools, FREE, zones, surplus)


def test_check__of_a_zone_that_hides_a_binding_line__is_refused(pools: Pools) -> None:
    case = with_wires(Wire(0, 0, 0), Wire(0, 150, 90), Wire(1, 90, 90))
    refused("Uniform.WrongZone", pools, case, [ONE], 1, 0)


def test_check__of_a_zone_behind_a_line_that_does_not_bind__is_refused(pools: Pools) -> None:
    zones = [ROOT, BELOW._replace(bid_cut=None), Zone(2, 400, Cut(450, 3, 30), None)]
    refused("Uniform.WrongZone", pools, BOUND, zones, 2, 2)


def test_check__of_a_worse_order_in_a_better_ones_stead__is_refused(pools: Pools) -> None:
    # All bids are full, but the cheap seller at the root gives way to the dear one behind line 1.
    dear, cheap, buyer, late = STEPS
    apart = (dear, cheap._replace(bus=0), buyer._replace(energy_wh=90), late._replace(energy_wh=10))
    case = replace(BOUND, book=replace(BOUND.book, steps=apart))
    zones = [
        Zone(0, 400, Cut(500, 2, 90), None),
        Zone(1, 400, Cut(450, 3, 10), Cut(400, 0, 100)),
    ]
    refused("Uniform.Outranked", pools, case, zones, 0, 1)


def test_check__of_a_trade_left_out__is_refused(pools: Pools) -> None:
    zones = [Zone(0, 400, Cut(500, 2, 150), Cut(400, 0, 50))]
    refused("Uniform.Outranked", pools, FREE, zones, 3, 0)


def test_check__of_a_trade_at_a_loss__is_refused(pools: Pools) -> None:
    low = (STEPS[0], STEPS[2]._replace(limit=399))
    case = replace(FREE, book=replace(FREE.book, steps=low))
    zones = [Zone(0, 400, Cut(399, 2, 100), Cut(400, 0, 100))]
    refused("Uniform.Outranked", pools, case, zones, 0, 2)


def test_check__of_zones_that_bind_the_wrong_way__is_refused(pools: Pools) -> None:
    # 90 Wh flow upwards to a bid below that of the zone they come from.
    steps = (
        Step(CHEAP, 1, sells=True, options=0, energy_wh=90, limit=300, seq=0),
        Step(LATE, 1, sells=False, options=0, energy_wh=90, limit=450, seq=1),
        Step(BUYER, 0, sells=False, options=0, energy_wh=90, limit=400, seq=2),
    )
    case = replace(BOUND, book=replace(BOUND.book, steps=steps))
    zones = [Zone(0, 400, Cut(400, 2, 90), None), Zone(1, 400, None, Cut(300, 0, 90))]
    refused("Uniform.Outranked", pools, case, zones, 1, 2)


@pytest.mark.parametrize("price", [399, 401, 450, 0])
def test_check__of_another_price__is_refused(pools: Pools, price: int) -> None:
    zones = [ONE._replace(price_uyuan_per_kwh=price)]
    refused("Uniform.WrongPrice", pools, FREE, zones, 0, 400)
    refused("Planned.WrongPrice", pools, planned(FREE), zones, 0, 420)


def test_check__of_another_price_in_the_interval__is_refused(pools: Pools) -> None:
    # Without a partial order the interval is [400, 450]: only its middle is the price.
    steps = (STEPS[0]._replace(energy_wh=80), *STEPS[1:])
    case = replace(FREE, book=replace(FREE.book, steps=steps))
    zone = ONE._replace(price_uyuan_per_kwh=425)
    assert pools.check(case, encode_claim([zone]))[0] == case.expected()
    for price in (400, 424, 426, 450):
        zones = [zone._replace(price_uyuan_per_kwh=price)]
        refused("Uniform.WrongPrice", pools, case, zones, 0, 425)
