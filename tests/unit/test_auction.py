"""The terms of a clearing: the band, P_p, and what agreements leave of the lines."""

import numpy as np
import pytest

from market.auction import Auction, room_beside, trading_band
from market.clearing import Band, Feeder, OrdersError, PoolClearing, Rule, Why
from market.prices import Limits, PeriodPrices
from tests.books import Row, book

PRICES = PeriodPrices(1, 2, 5, 8, 10, 0)


def feeder() -> Feeder:
    return Feeder(np.array([0, 0, 1]), np.array([0, 20, 20]), np.array([0, 20, 20]))


def test_band__without_bounds__is_that_of_the_trading_prices() -> None:
    assert trading_band(PRICES) == Band(2, 8)


@pytest.mark.parametrize(("floor", "ceiling", "band"), [(0, 9, (2, 8)), (4, 6, (4, 6))])
def test_band__with_bounds__lies_within_both(
    floor: int, ceiling: int, band: tuple[int, int]
) -> None:
    assert trading_band(PRICES, Limits(20, 0, floor, ceiling)) == Band(*band)


def test_band__that_is_empty__is_refused() -> None:
    with pytest.raises(OrdersError, match="price band"):
        trading_band(PRICES, Limits(20, 0, 9, 12))


def test_agreements__flow_first_and_widen_the_other_way() -> None:
    left = room_beside(feeder(), {2: 15, 1: 10, 9: -25})
    # 25 Wh climb line 1, which holds 20: orders may relieve it, not load it more.
    assert left.up_wh.tolist() == [0, 0, 5]
    assert left.down_wh.tolist() == [0, 45, 35]


def test_auction__of_a_bus_off_the_feeder__trades_at_the_root() -> None:
    orders = book([Row(1, False, 30, 3, bus=7), Row(2, True, 30, 7, bus=2)])
    clearing = Auction.of(Rule.UNIFORM, orders, PRICES, feeder()).clear()
    assert clearing.flow_wh.tolist() == [0, -20, -20]


@pytest.mark.parametrize("rule", Rule)
def test_auction__under_each_rule__accepts_and_explains_its_own_clearing(rule: Rule) -> None:
    orders = book([Row(1, False, 30, 3, bus=0), Row(2, True, 30, 7, bus=2)])
    auction = Auction.of(rule, orders, PRICES, feeder(), agreed_wh={2: -5, 0: 5})
    clearing = auction.clear()
    auction.check(clearing)
    assert clearing.filled_wh.tolist() == [15, 15]
    assert [e.why for e in auction.explain(clearing, range(2))] == [Why.BEHIND_LINE] * 2
    if rule is Rule.PLANNED:
        assert isinstance(clearing, PoolClearing)
        assert {zone.price_uyuan_per_kwh for zone in clearing.zones} == {5}
