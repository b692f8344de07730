"""No trick that is nothing but a planned deviation gains, whatever the others do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.clearing import Rule
from market.prices import PeriodPrices
from scripts.bench.gaming import (
    PARTNER,
    RIGHTEOUS,
    STAKE_WH,
    TRICKS,
    TRICKSTER,
    Play,
    Wish,
    cleared,
    net_uyuan,
    table,
)
from tests.strategies import period_prices


@st.composite
def plays(draw: st.DrawFn, prices: PeriodPrices) -> Play:
    """What up to eight others order, and what their meters read."""
    low, high = prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh
    nodes = range(PARTNER + 1, PARTNER + 1 + draw(st.integers(0, 8)))
    energy = st.one_of(st.just(0), st.integers(1, 9), st.integers(10, 3 * STAKE_WH))
    wishes = [
        Wish(node, draw(st.booleans()), draw(energy), draw(st.integers(low, high)))
        for node in nodes
    ]
    return Play(draw(st.permutations(wishes)), {n: (draw(energy), draw(energy)) for n in nodes})


@pytest.mark.parametrize("trick", RIGHTEOUS)
@given(st.sampled_from(Rule), period_prices(10**6), st.data())
def test_planned_deviation__among_any_others__never_gains(
    trick: str, rule: Rule, prices: PeriodPrices, data: st.DataObject
) -> None:
    others = data.draw(plays(prices))
    honest, tricky = (
        Play([_priced(wish, prices) for wish in play.wishes], play.meters) for play in TRICKS[trick]
    )

    assert net_uyuan(rule, others, tricky, prices) <= net_uyuan(rule, others, honest, prices)


def _priced(wish: Wish, prices: PeriodPrices) -> Wish:
    low, high = prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh
    return wish._replace(limit_uyuan_per_kwh=high if wish.buys else low)


def test_honest_play__with_a_willing_other_side__trades_what_it_ordered() -> None:
    """The tricks are compared with trades, not with orders that nobody meets."""
    prices = PeriodPrices(100_000, 329_700, 437_900, 535_900, 800_000, 20_000)
    for rule in Rule:
        other = Wish(PARTNER + 1, False, STAKE_WH, 437_900)
        own = _priced(TRICKS["over-ordering reserve"][0].wishes[0], prices)
        positions = {p.node: p for p in cleared(rule, [other, own], prices)}
        assert positions[TRICKSTER].bought_wh == STAKE_WH


def test_table__has_a_row_per_trick_and_a_gain_per_rule() -> None:
    rows = table(lambda rule, _trick: [0.0, 1e6 * len(rule.value)]).splitlines()[4:]

    assert [row.split("|")[1].strip() for row in rows] == list(TRICKS)
    assert all(row.count("+7.000") == 2 for row in rows)
