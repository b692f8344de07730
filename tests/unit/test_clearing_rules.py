"""Small books cleared by hand, and the largest values the chain can carry."""

import time

import numpy as np
import pytest

from market.clearing import (
    Band,
    Clearing,
    Cut,
    Feeder,
    InvalidClearing,
    Orders,
    PairClearing,
    PoolClearing,
    Rule,
    check,
    clear,
    totals,
)
from tests.books import Row, book, random_case

BAND = Band(0, 100)


def cleared(
    rule: Rule, orders: Orders, feeder: Feeder | None = None, planned: int | None = None
) -> Clearing:
    clearing = clear(rule, orders, band=BAND, feeder=feeder, planned_uyuan_per_kwh=planned)
    check(rule, orders, clearing, band=BAND, feeder=feeder, planned_uyuan_per_kwh=planned)
    return clearing


def pool(orders: Orders, feeder: Feeder | None = None, planned: int | None = None) -> PoolClearing:
    rule = Rule.UNIFORM if planned is None else Rule.PLANNED
    clearing = cleared(rule, orders, feeder, planned)
    assert isinstance(clearing, PoolClearing)
    return clearing


def pairs(orders: Orders, feeder: Feeder | None = None) -> PairClearing:
    clearing = cleared(Rule.PAIRWISE, orders, feeder)
    assert isinstance(clearing, PairClearing)
    return clearing


def line(up_wh: int, down_wh: int) -> Feeder:
    """Bus 1 below bus 0."""
    return Feeder(np.array([0, 0]), np.array([0, up_wh]), np.array([0, down_wh]))


def test_planned__fills_the_long_side_by_price_then_seq() -> None:
    orders = book(
        [Row(1, True, 6, 60), Row(2, True, 6, 70), Row(3, True, 6, 60), Row(4, False, 10, 40)]
    )
    clearing = pool(orders, planned=50)
    assert clearing.filled_wh.tolist() == [4, 6, 0, 10]
    assert clearing.zones[0].price_uyuan_per_kwh == 50
    assert clearing.zones[0].bid_cut == Cut(60, 0, 4)


def test_uniform__takes_the_middle_rounded_down() -> None:
    orders = book([Row(1, True, 5, 60), Row(2, False, 5, 31), Row(3, False, 5, 70)])
    clearing = pool(orders)
    assert clearing.filled_wh.tolist() == [5, 5, 0]
    assert clearing.zones[0].price_uyuan_per_kwh == 45


def test_uniform__with_a_partial_order__has_its_limit_as_price() -> None:
    orders = book([Row(1, True, 5, 60), Row(2, False, 9, 31)])
    assert pool(orders).zones[0].price_uyuan_per_kwh == 31


def test_uniform__with_equal_prices__trades_all_of_them() -> None:
    orders = book([Row(1, True, 100, 50), Row(2, True, 200, 50), Row(3, False, 300, 50)])
    assert totals(pool(orders), orders).volume_wh == 300


def test_uniform__without_a_trade__has_a_price_between_the_sides() -> None:
    orders = book([Row(1, True, 5, 30), Row(2, False, 5, 51)])
    clearing = pool(orders)
    assert clearing.filled_wh.tolist() == [0, 0]
    assert clearing.zones[0].price_uyuan_per_kwh == 40


def test_uniform__behind_a_binding_line__has_two_prices_and_a_rent() -> None:
    # Cheap solar below the line, demand above it, a dearer seller beside the demand.
    orders = book(
        [Row(1, False, 20, 10, bus=1), Row(2, False, 20, 40, bus=0), Row(3, True, 25, 80, bus=0)]
    )
    clearing = pool(orders, line(up_wh=8, down_wh=8))
    assert clearing.filled_wh.tolist() == [8, 17, 25]
    assert clearing.flow_wh.tolist() == [0, 8]
    assert [zone.price_uyuan_per_kwh for zone in clearing.zones] == [40, 10]
    assert totals(clearing, orders).rent_nyuan == 8 * (40 - 10)


def test_uniform__with_a_line_that_reaches_its_limit_only_just__has_prices_in_order() -> None:
    orders = book([Row(1, False, 8, 10, bus=1), Row(2, True, 8, 80, bus=0)])
    clearing = pool(orders, line(up_wh=8, down_wh=8))
    # Below: from the ask at 10 up to what the other side bears; above: from 10 to the bid at 80.
    assert [zone.price_uyuan_per_kwh for zone in clearing.zones] == [45, 45]
    assert len(clearing.zones) == 2


def test_uniform__with_no_headroom_at_all__clears_each_side_alone() -> None:
    orders = book(
        [
            Row(1, False, 5, 10, bus=1),
            Row(2, True, 5, 20, bus=1),
            Row(3, False, 5, 60, bus=0),
            Row(4, True, 5, 80, bus=0),
        ]
    )
    clearing = pool(orders, line(up_wh=0, down_wh=0))
    assert clearing.filled_wh.tolist() == [5, 5, 5, 5]
    assert [zone.price_uyuan_per_kwh for zone in clearing.zones] == [70, 15]


@pytest.mark.parametrize("early_bus", [0, 1])
def test_uniform__with_equal_bids_on_both_sides_of_a_line__serves_the_earlier(
    early_bus: int,
) -> None:
    orders = book(
        [
            Row(1, True, 10, 50, bus=early_bus),
            Row(2, True, 10, 50, bus=1 - early_bus),
            Row(3, False, 10, 20, bus=1),
        ]
    )
    filled = pool(orders, line(up_wh=6, down_wh=0)).filled_wh.tolist()
    # Above the line only 6 Wh can be reached; the later bid below gets what is left.
    assert filled == ([6, 4, 10] if early_bus == 0 else [10, 0, 10])


def test_check__with_equal_bids_served_in_the_wrong_place__names_an_order() -> None:
    orders = book(
        [Row(1, True, 10, 50, bus=0), Row(2, True, 10, 50, bus=1), Row(3, False, 10, 20, bus=1)]
    )
    later_first = book(
        [Row(2, True, 10, 50, bus=1), Row(1, True, 10, 50, bus=0), Row(3, False, 10, 20, bus=1)]
    )
    feeder = line(up_wh=6, down_wh=0)
    wrong = pool(later_first, feeder)
    with pytest.raises(InvalidClearing, match="order"):
        check(Rule.UNIFORM, orders, wrong, band=BAND, feeder=feeder)


def test_planned__behind_a_binding_line__pays_the_planned_price_everywhere() -> None:
    orders = book([Row(1, False, 20, 10, bus=1), Row(2, True, 25, 80, bus=0)])
    clearing = pool(orders, line(up_wh=8, down_wh=8), planned=50)
    assert clearing.filled_wh.tolist() == [8, 8]
    assert {zone.price_uyuan_per_kwh for zone in clearing.zones} == {50}
    assert totals(clearing, orders).rent_nyuan == 0


def test_pairwise__in_the_papers_case__pays_what_both_asked_for() -> None:
    orders = book([Row(1, False, 10_000, 670_000), Row(2, True, 10_000, 670_000)])
    clearing = clear(Rule.PAIRWISE, orders)
    assert clearing.amounts_nyuan(orders) == [6_700_000_000, 6_700_000_000]


def test_pairwise__takes_the_nearest_ask_first() -> None:
    orders = book(
        [Row(1, False, 5, 10), Row(2, False, 5, 40), Row(3, True, 5, 45), Row(4, True, 5, 90)]
    )
    clearing = pairs(orders)
    assert clearing.pairs.ask.tolist() == [1, 0]
    assert clearing.pairs.bid.tolist() == [2, 3]
    assert clearing.pairs.price_uyuan_per_kwh.tolist() == [42, 50]


def test_pairwise__of_equal_orders__serves_the_earlier() -> None:
    orders = book(
        [Row(1, False, 5, 10), Row(2, False, 5, 10), Row(3, True, 3, 20), Row(4, True, 3, 20)]
    )
    clearing = pairs(orders)
    assert clearing.filled_wh.tolist() == [5, 1, 3, 3]


def test_pairwise__cuts_the_wider_gap_where_a_line_is_full() -> None:
    orders = book(
        [
            Row(1, False, 5, 10, bus=1),
            Row(2, False, 5, 40, bus=1),
            Row(3, True, 5, 45, bus=0),
            Row(4, True, 5, 90, bus=0),
        ]
    )
    clearing = pairs(orders, line(up_wh=7, down_wh=0))
    assert clearing.pairs.matched_wh.tolist() == [5, 5]
    assert clearing.pairs.filled_wh.tolist() == [5, 2]
    assert clearing.flow_wh.tolist() == [0, 7]


@pytest.mark.parametrize("rule", Rule)
def test_clear__of_the_largest_values__is_exact(rule: Rule) -> None:
    most_wh, most_price = 2**40 - 1, 2**32 - 1
    rows = [Row(i + 1, i % 2 == 0, most_wh, most_price, bus=i % 2) for i in range(4000)]
    orders = book(rows)
    room = 500 * most_wh + 1
    feeder = line(up_wh=room, down_wh=room)
    planned = most_price if rule is Rule.PLANNED else None
    clearing = clear(rule, orders, feeder=feeder, planned_uyuan_per_kwh=planned)
    check(rule, orders, clearing, feeder=feeder, planned_uyuan_per_kwh=planned)
    sums = totals(clearing, orders)
    assert (sums.volume_wh, sums.paid_nyuan) == (room, room * most_price)


@pytest.mark.parametrize(
    ("rule", "limit_s"), [(Rule.PLANNED, 0.1), (Rule.UNIFORM, 0.1), (Rule.PAIRWISE, 0.5)]
)
def test_clear__of_a_hundred_thousand_orders__is_fast(rule: Rule, limit_s: float) -> None:
    case = random_case(rule, seed=0, orders=100_000, buses=1, prices=10**6)
    seconds = []
    for _ in range(5):
        # Processor time: the machine may be busy with other tests.
        start = time.process_time()
        case.clear()
        seconds.append(time.process_time() - start)
    assert min(seconds) <= limit_s
