"""`pairwise` against every possible matching of small books."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from market.clearing import Band, PairClearing, Rule
from tests.books import Case, Row, book, cases, net_flows, random_case


def cleared(case: Case) -> PairClearing:
    clearing = case.clear()
    assert isinstance(clearing, PairClearing)
    return clearing


def volume_and_gap(case: Case, clearing: PairClearing) -> tuple[int, int]:
    pairs, limit = clearing.pairs, case.orders.limit_uyuan_per_kwh
    gaps = limit[pairs.bid] - limit[pairs.ask]
    return int(pairs.filled_wh.sum()), int((gaps * pairs.filled_wh).sum())


def units(case: Case, buys: bool) -> tuple[int, ...]:
    """Limit of each Wh on a side."""
    o = case.orders
    mine = [i for i in case.eligible() if o.is_buy[i] == buys]
    return tuple(int(o.limit_uyuan_per_kwh[i]) for i in mine for _ in range(int(o.energy_wh[i])))


def every_matching(bids: tuple[int, ...], asks: tuple[int, ...]) -> tuple[int, int]:
    """Greatest volume and its least total gap, trying every ask for every bid, Wh by Wh."""

    @cache
    def best(bid: int, used: int) -> tuple[int, int]:
        if bid == len(bids):
            return 0, 0
        found = best(bid + 1, used)
        for ask, limit in enumerate(asks):
            if not used >> ask & 1 and limit <= bids[bid]:
                volume, less_gap = best(bid + 1, used | 1 << ask)
                found = max(found, (volume + 1, less_gap - (bids[bid] - limit)))
        return found

    volume, less_gap = best(0, 0)
    return volume, -less_gap


small_rows = st.lists(
    st.builds(
        Row,
        node=st.integers(1, 5),
        buys=st.booleans(),
        energy_wh=st.integers(0, 2),
        limit=st.integers(0, 9),
        bus=st.just(0),
    ),
    max_size=8,
)


@given(small_rows)
@settings(max_examples=400)
def test_volume_and_gap__equal_the_best_of_all_matchings(rows: list[Row]) -> None:
    case = Case(Rule.PAIRWISE, book(rows), Band(0, 9), None)
    expected = every_matching(units(case, buys=True), units(case, buys=False))
    assert volume_and_gap(case, cleared(case)) == expected


@pytest.mark.parametrize("seed", range(8))
def test_volume_and_gap__of_larger_books__equal_an_assignment(seed: int) -> None:
    case = random_case(Rule.PAIRWISE, seed, orders=40, buses=1, prices=(5, 60)[seed % 2])
    o = case.orders
    rows = zip(o.node, o.is_buy, o.energy_wh % 8, o.limit_uyuan_per_kwh, strict=True)
    case = Case(Rule.PAIRWISE, book(Row(*row) for row in rows), case.band, None)
    bids, asks = np.array(units(case, buys=True)), np.array(units(case, buys=False))
    gap = bids[:, None] - asks[None, :]
    # Not to trade costs more than all gaps together: volume first, then gap.
    idle = 1000 * (len(bids) + len(asks))
    chosen = linear_sum_assignment(np.where(gap < 0, idle, gap))
    taken = gap[chosen][gap[chosen] >= 0]
    assert volume_and_gap(case, cleared(case)) == (len(taken), int(taken.sum()))


@given(cases((Rule.PAIRWISE,)))
def test_pairs__respect_limits_energies_and_lines(case: Case) -> None:
    o, clearing = case.orders, cleared(case)
    pairs, limit = clearing.pairs, o.limit_uyuan_per_kwh
    assert np.all(limit[pairs.ask] <= pairs.price_uyuan_per_kwh)
    assert np.all(pairs.price_uyuan_per_kwh <= limit[pairs.bid])
    assert np.all(o.node[pairs.ask] != o.node[pairs.bid])
    assert np.all(clearing.filled_wh <= o.energy_wh)
    flow, lines = clearing.flow_wh, case.lines
    assert flow.tolist() == net_flows(case, clearing.filled_wh.tolist())
    assert np.all((flow[1:] <= lines.up_wh[1:]) & (flow[1:] >= -lines.down_wh[1:]))


@given(cases((Rule.PAIRWISE,), wires=True))
def test_pairs__are_cut_only_where_a_line_is_full(case: Case) -> None:
    clearing, lines = cleared(case), case.lines
    filled = [0] * len(case.orders)
    pairs = clearing.pairs

    def trade(ask: int, bid: int, energy_wh: int) -> bool:
        """Add to a pair and say whether the lines carry it."""
        filled[ask] += energy_wh
        filled[bid] += energy_wh
        flow = np.array(net_flows(case, filled))
        return bool(np.all((flow <= lines.up_wh)[1:] & (flow >= -lines.down_wh)[1:]))

    columns = (pairs.ask, pairs.bid, pairs.matched_wh, pairs.filled_wh)
    for ask, bid, matched, through in zip(*(c.tolist() for c in columns), strict=True):
        assert trade(ask, bid, through)
        if through < matched:
            assert not trade(ask, bid, 1)
            trade(ask, bid, -1)
