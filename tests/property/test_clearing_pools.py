"""`uniform` and `planned` against an independent linear program, with and without binding lines."""

import numpy as np
import pytest
from hypothesis import given, settings

from market.clearing import PoolClearing, Rule, totals
from tests.books import Case, cases, lp, net_flows, random_case

POOLS = (Rule.UNIFORM, Rule.PLANNED)


def cleared(case: Case) -> PoolClearing:
    clearing = case.clear()
    assert isinstance(clearing, PoolClearing)
    return clearing


@given(cases(POOLS))
@settings(max_examples=400)
def test_welfare_and_volume__equal_the_linear_program(case: Case) -> None:
    sums = totals(cleared(case), case.orders)
    assert (sums.welfare_nyuan, sums.volume_wh) == lp(case)


@pytest.mark.parametrize("rule", POOLS)
@pytest.mark.parametrize("buses", [1, 2, 15, 60])
@pytest.mark.parametrize("prices", [3, 50, 10**6])
def test_welfare_and_volume__of_larger_books__equal_the_linear_program(
    rule: Rule, buses: int, prices: int
) -> None:
    for seed in range(3):
        case = random_case(rule, seed, orders=400, buses=buses, prices=prices)
        clearing = cleared(case)
        sums = totals(clearing, case.orders)
        assert (sums.welfare_nyuan, sums.volume_wh) == lp(case)
        case.check(clearing)
        # Two buses may trade freely; many never do with these headrooms.
        assert len(clearing.zones) > 1 or buses < 15


@given(cases((Rule.PLANNED,), wires=False))
def test_planned__in_one_zone__trades_all_that_the_short_side_has(case: Case) -> None:
    o, at = case.orders, case.eligible()
    bids, asks = (
        int(o.energy_wh[[i for i in at if o.is_buy[i] == b]].sum()) for b in (True, False)
    )
    clearing = cleared(case)
    assert totals(clearing, o).volume_wh == min(bids, asks)
    best_first = sorted(at, key=lambda i: (-o.limit_uyuan_per_kwh[i], o.seq[i]))
    left = min(bids, asks)
    for i in (i for i in best_first if o.is_buy[i]):
        assert clearing.filled_wh[i] == min(left, o.energy_wh[i])
        left -= int(clearing.filled_wh[i])


@given(cases((Rule.UNIFORM,), wires=False))
def test_uniform__in_one_zone__has_the_price_in_the_middle(case: Case) -> None:
    o, at, clearing = case.orders, case.eligible(), cleared(case)
    lows, highs = [case.band.low_uyuan_per_kwh], [case.band.high_uyuan_per_kwh]
    for i in at:
        trades, wants = clearing.filled_wh[i] > 0, clearing.filled_wh[i] < o.energy_wh[i]
        limit = int(o.limit_uyuan_per_kwh[i])
        lows += [limit] * bool(wants if o.is_buy[i] else trades)
        highs += [limit] * bool(trades if o.is_buy[i] else wants)
    assert clearing.zones[0].price_uyuan_per_kwh == (max(lows) + min(highs)) // 2


@given(cases(POOLS))
def test_nobody__trades_worse_than_the_limit_or_with_itself(case: Case) -> None:
    o, clearing = case.orders, cleared(case)
    price = np.array([zone.price_uyuan_per_kwh for zone in clearing.zones])
    price = price[clearing.zone_of_bus[case.bus()]]
    trades = clearing.filled_wh > 0
    assert np.all(clearing.filled_wh <= o.energy_wh)
    assert np.all(price[trades & o.is_buy] <= o.limit_uyuan_per_kwh[trades & o.is_buy])
    assert np.all(price[trades & ~o.is_buy] >= o.limit_uyuan_per_kwh[trades & ~o.is_buy])
    if case.feeder is None:
        assert not set(o.node[trades & o.is_buy]) & set(o.node[trades & ~o.is_buy])


@given(cases(POOLS, wires=True))
def test_lines__carry_the_flows_and_earn_a_rent_where_prices_rise(case: Case) -> None:
    clearing, lines = cleared(case), case.lines
    flow = clearing.flow_wh.tolist()
    assert flow == net_flows(case, clearing.filled_wh.tolist())
    price = [clearing.zones[z].price_uyuan_per_kwh for z in clearing.zone_of_bus.tolist()]
    rents = [0]
    for bus in range(1, len(lines)):
        assert -lines.down_wh[bus] <= flow[bus] <= lines.up_wh[bus]
        rents.append(flow[bus] * (price[lines.parent[bus]] - price[bus]))
    assert min(rents) >= 0
    assert totals(clearing, case.orders).rent_nyuan == sum(rents)


@given(cases(POOLS))
def test_clearing__runs_twice__gives_the_same(case: Case) -> None:
    first, second = cleared(case), cleared(case)
    assert first.zones == second.zones
    assert first.filled_wh.tolist() == second.filled_wh.tolist()
