"""The dispatch of Peng Eq. 8 against the engine, which shares nothing with its solver."""

import numpy as np
import pytest
from hypothesis import given

from market.clearing import Feeder, FeederError, Rule, totals
from market.dispatch import cost_nyuan, cost_of, dispatch
from tests.books import Case, Row, book, cases, net_flows, random_case

RETAIL = 10
"""Above every limit of the small books."""


def otherwise(case: Case, price: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.full(len(case.orders), price)


@given(cases((Rule.UNIFORM,)))
def test_dispatch__of_bids_that_can_do_without__has_the_engines_welfare(case: Case) -> None:
    at = np.array(case.eligible(), dtype=np.int64)
    best = dispatch(case.orders, at, otherwise(case, 0), case.feeder)
    clearing = case.clear()
    assert -best.cost_nyuan == totals(clearing, case.orders).welfare_nyuan
    assert cost_of(clearing, case.orders, at, otherwise(case, 0)) == best.cost_nyuan


@pytest.mark.parametrize("buses", [1, 15, 60])
@pytest.mark.parametrize("prices", [3, 10**6])
def test_dispatch__of_larger_books__has_the_engines_welfare(buses: int, prices: int) -> None:
    case = random_case(Rule.UNIFORM, seed=7, orders=400, buses=buses, prices=prices)
    at = np.array(case.eligible(), dtype=np.int64)
    best = dispatch(case.orders, at, otherwise(case, 0), case.feeder)
    assert -best.cost_nyuan == totals(case.clear(), case.orders).welfare_nyuan


@given(cases())
def test_clearing__under_any_rule__costs_at_least_the_dispatch(case: Case) -> None:
    at = np.array(case.eligible(), dtype=np.int64)
    for price in (0, RETAIL):
        gamma = otherwise(case, price)
        best = dispatch(case.orders, at, gamma, case.feeder)
        assert cost_of(case.clear(), case.orders, at, gamma) >= best.cost_nyuan


@given(cases(wires=True))
def test_lines__never_make_the_dispatch_cheaper(case: Case) -> None:
    at = np.array(case.eligible(), dtype=np.int64)
    gamma = otherwise(case, RETAIL)
    wired = dispatch(case.orders, at, gamma, case.feeder)
    assert wired.cost_nyuan >= dispatch(case.orders, at, gamma).cost_nyuan
    flow = net_flows(case, wired.filled_wh.tolist())
    assert flow == wired.flow_wh.tolist()
    assert np.all(-case.lines.down_wh[1:] <= wired.flow_wh[1:])
    assert np.all(wired.flow_wh[1:] <= case.lines.up_wh[1:])


@given(cases((Rule.PAIRWISE,), wires=False))
def test_loads__that_must_be_served__trade_as_much_as_asks_allow(case: Case) -> None:
    at = np.array(case.eligible(), dtype=np.int64)
    o = case.orders
    best = dispatch(o, at, otherwise(case, RETAIL))
    sides = [int(o.energy_wh[at][o.is_buy[at] == buys].sum()) for buys in (True, False)]
    assert best.volume_wh == min(sides)


def test_transport__that_costs_more_than_retail_saves__is_left_undone() -> None:
    orders = book([Row(1, False, 10, 3, bus=1), Row(2, True, 10, 3, bus=2)])
    feeder = Feeder(np.array([0, 0, 0]), np.array([0, 50, 50]), np.array([0, 50, 50]))
    at, gamma = np.arange(2), np.full(2, RETAIL)
    # Two lines lie between them: 10 Wh save 10 * (10 - 3) and cost 20 * beta.
    assert dispatch(orders, at, gamma, feeder, line_uyuan_per_kwh=3).cost_nyuan == 90
    assert dispatch(orders, at, gamma, feeder, line_uyuan_per_kwh=4).cost_nyuan == 100
    idle = np.zeros(3, dtype=np.int64)
    assert cost_nyuan(orders, at, np.zeros(2, dtype=np.int64), idle, gamma, 4) == 100


def test_dispatch__of_a_bus_off_the_feeder__is_refused() -> None:
    orders = book([Row(1, False, 10, 3, bus=1)])
    with pytest.raises(FeederError, match="bus 1 "):
        dispatch(orders, np.arange(1), np.zeros(1, dtype=np.int64), Feeder.single_bus())
