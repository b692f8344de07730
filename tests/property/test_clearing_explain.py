"""Every order of every clearing has a reason, and the reason is true."""

import numpy as np
import pytest
from hypothesis import given, settings

from market.clearing import Band, Feeder, OrdersError, PairClearing, Rule, clear
from market.clearing.explain import Explained, Why, explain
from tests.books import Case, Row, book, cases

OUT = (Why.CANCELLED, Why.OUTSIDE_BAND, Why.UNWILLING, Why.CROSSES_OWN)


def explained(case: Case) -> list[Explained]:
    orders = case.orders
    return explain(case.clear(), orders, range(len(orders)), band=case.band, feeder=case.feeder)


@given(cases())
@settings(max_examples=300)
def test_reason__of_every_order__fits_what_it_trades(case: Case) -> None:
    clearing, orders = case.clear(), case.orders
    amounts = clearing.amounts_nyuan(orders)
    part = set(case.eligible())
    for place, e in enumerate(explained(case)):
        assert e.filled_wh == clearing.filled_wh[place]
        assert e.amount_nyuan == amounts[place]
        assert (e.why is Why.FULL) == (e.filled_wh == e.energy_wh > 0)
        assert (e.why in OUT) == (place not in part)
        assert (e.why is Why.BEHIND_LINE) == (e.line is not None)
        if e.why is Why.BEYOND_PRICE:
            assert e.price_uyuan_per_kwh is not None
            gap = e.limit_uyuan_per_kwh - e.price_uyuan_per_kwh
            assert gap > 0 if e.sells else gap < 0


@given(cases(wires=False))
def test_reason__without_lines__is_never_a_line(case: Case) -> None:
    assert all(e.line is None for e in explained(case))


@given(cases((Rule.UNIFORM, Rule.PLANNED), wires=True))
@settings(max_examples=300)
def test_line_that_an_order_is_behind__carries_all_it_may(case: Case) -> None:
    clearing, lines = case.clear(), case.lines
    for e in explained(case):
        if e.line is None:
            continue
        assert clearing.flow_wh[e.line] in (lines.up_wh[e.line], -lines.down_wh[e.line])


@given(cases((Rule.PAIRWISE,), wires=True))
def test_pair_behind_a_line__is_one_that_lines_cut(case: Case) -> None:
    clearing = case.clear()
    assert isinstance(clearing, PairClearing)
    pairs = clearing.pairs
    cut = pairs.filled_wh < pairs.matched_wh
    orders = {*pairs.ask[cut].tolist(), *pairs.bid[cut].tolist()}
    assert {place for place, e in enumerate(explained(case)) if e.line is not None} == orders


def two_zones(rule: Rule) -> list[Explained]:
    orders = book(
        [
            Row(1, False, 10, 2, bus=1),
            Row(2, False, 10, 3, bus=1),
            Row(3, True, 15, 8, bus=2),
            Row(4, False, 9, 6, bus=2),
            Row(5, True, 5, 1, bus=2),
            Row(6, True, 5, 99, bus=2),
        ]
    )
    feeder = Feeder(np.array([0, 0, 1]), np.array([0, 50, 50]), np.array([0, 50, 12]))
    band = Band(0, 10)
    planned = 5 if rule is Rule.PLANNED else None
    clearing = clear(rule, orders, band=band, feeder=feeder, planned_uyuan_per_kwh=planned)
    return explain(clearing, orders, range(len(orders)), band=band, feeder=feeder)


def test_uniform__with_a_full_line__names_it_to_who_is_behind() -> None:
    story = two_zones(Rule.UNIFORM)
    reasons = [e.why for e in story]
    assert reasons == [
        Why.FULL,
        Why.BEHIND_LINE,
        Why.FULL,
        Why.AT_MARGIN,
        Why.BEYOND_PRICE,
        Why.OUTSIDE_BAND,
    ]
    assert story[1].line == 2
    assert str(story[1]).endswith("sells 2 Wh at 3, zone 0 at 3 uyuan/kWh: line 2 is at its limit")
    assert "its limit is worse than the price" in str(story[4])


def test_planned__with_a_full_line__names_it_on_both_sides() -> None:
    story = two_zones(Rule.PLANNED)
    assert [e.line for e in story] == [None, 2, 2, None, None, None]
    assert [e.why for e in story][3:5] == [Why.UNWILLING, Why.UNWILLING]


def test_explain__of_a_place_not_in_the_book__is_refused() -> None:
    orders = book([Row(1, False, 10, 2)])
    with pytest.raises(OrdersError, match="place 1 is not in a book of 1"):
        explain(clear(Rule.UNIFORM, orders), orders, [1])
