"""Every strategy's order is one the book takes, without loss, and the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.clearing import Band
from market.messages import Step
from market.orders import LEAST_WH, MAX_STEPS
from market.strategies import (
    Arbitrage,
    Battery,
    Situation,
    Strategy,
    StrategyError,
    Truthful,
    ZeroIntelligence,
    tidy,
)

PRICES = st.integers(0, 1_000)
ENERGIES = st.integers(0, 200)
STRATEGIES: st.SearchStrategy[Strategy] = st.one_of(
    st.builds(Truthful),
    st.builds(ZeroIntelligence),
    st.builds(Arbitrage, margin_percent=st.integers(0, 100)),
)


@st.composite
def batteries(draw: st.DrawFn) -> Battery:
    capacity = draw(ENERGIES)
    return Battery(
        capacity, draw(ENERGIES), draw(st.integers(1, 100)), draw(st.integers(0, capacity))
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    low, high = sorted((draw(PRICES), draw(PRICES)))
    return Situation(
        import_wh=draw(ENERGIES),
        export_wh=draw(ENERGIES),
        band=Band(low, high),
        value_uyuan_per_kwh=draw(PRICES),
        cost_uyuan_per_kwh=draw(PRICES),
        import_capacity_wh=draw(ENERGIES),
        export_capacity_wh=draw(ENERGIES),
        plan_uyuan_per_kwh=tuple(draw(st.lists(PRICES, max_size=5))),
        battery=draw(st.none() | batteries()),
    )


def bids_and_asks(steps: tuple[Step, ...]) -> tuple[list[Step], list[Step]]:
    return [s for s in steps if not s.sells], [s for s in steps if s.sells]


def assert_taken_by_the_book(steps: tuple[Step, ...], situation: Situation) -> None:
    bids, asks = bids_and_asks(steps)
    assert len(steps) <= MAX_STEPS
    assert all(s.energy_wh >= LEAST_WH for s in steps)
    low, high = situation.band.low_uyuan_per_kwh, situation.band.high_uyuan_per_kwh
    assert all(low <= s.limit_uyuan_per_kwh <= high for s in steps)
    assert sum(s.energy_wh for s in bids) <= situation.import_capacity_wh
    assert sum(s.energy_wh for s in asks) <= situation.export_capacity_wh
    if bids and asks:
        assert max(s.limit_uyuan_per_kwh for s in bids) < min(s.limit_uyuan_per_kwh for s in asks)


@given(STRATEGIES, situations(), st.integers(0, 9))
def test_order__of_any_strategy__is_one_the_book_takes(
    strategy: Strategy, situation: Situation, seed: int
) -> None:
    steps = strategy.steps(situation, np.random.default_rng(seed))
    assert_taken_by_the_book(steps, situation)
    assert all(type(n) is int for s in steps for n in s.as_tuple()[1:])
    assert steps == strategy.steps(situation, np.random.default_rng(seed))


@given(st.lists(st.builds(Step, st.booleans(), ENERGIES, PRICES), max_size=MAX_STEPS), situations())
def test_tidy__of_any_wishes__is_an_order_the_book_takes(
    wishes: list[Step], situation: Situation
) -> None:
    assert_taken_by_the_book(tidy(wishes, situation), situation)


@given(st.sampled_from([Truthful(), ZeroIntelligence()]), situations(), st.integers(0, 9))
def test_forecast__is_ordered_net_and_without_loss(
    strategy: Strategy, situation: Situation, seed: int
) -> None:
    bids, asks = bids_and_asks(strategy.steps(situation, np.random.default_rng(seed)))
    assert sum(s.energy_wh for s in bids) <= situation.need_wh
    assert sum(s.energy_wh for s in asks) <= situation.surplus_wh
    assert all(s.limit_uyuan_per_kwh <= situation.value_uyuan_per_kwh for s in bids)
    assert all(s.limit_uyuan_per_kwh >= situation.cost_uyuan_per_kwh for s in asks)


@given(situations())
def test_truthful__that_can_trade__orders_all_it_expects_at_its_worth(situation: Situation) -> None:
    steps = Truthful().steps(situation, np.random.default_rng(0))
    low, high = situation.band.low_uyuan_per_kwh, situation.band.high_uyuan_per_kwh
    value, cost = situation.value_uyuan_per_kwh, situation.cost_uyuan_per_kwh
    bought = min(situation.need_wh, situation.import_capacity_wh)
    sold = min(situation.surplus_wh, situation.export_capacity_wh)
    expected = []
    if bought >= LEAST_WH and value >= low:
        expected.append(Step(False, bought, min(value, high)))
    if sold >= LEAST_WH and cost <= high:
        expected.append(Step(True, sold, max(cost, low)))
    assert list(steps) == expected


def test_zero_intelligence__over_many_draws__covers_its_range() -> None:
    situation = Situation(100, 0, Band(10, 20), 15, 0, 1_000, 0)
    rng = np.random.default_rng(1)
    limits = {ZeroIntelligence().steps(situation, rng)[0].limit_uyuan_per_kwh for _ in range(200)}
    assert limits == set(range(10, 16))


@given(st.integers(0, 100), situations(), batteries(), st.data())
def test_arbitrage__whatever_is_filled__keeps_the_charge_between_empty_and_full(
    margin: int, situation: Situation, battery: Battery, data: st.DataObject
) -> None:
    idle = Situation(
        0,
        0,
        situation.band,
        situation.value_uyuan_per_kwh,
        situation.cost_uyuan_per_kwh,
        situation.import_capacity_wh,
        situation.export_capacity_wh,
        situation.plan_uyuan_per_kwh,
        battery,
    )
    bids, asks = bids_and_asks(Arbitrage(margin).steps(idle, np.random.default_rng(0)))
    drawn = sum(data.draw(st.integers(0, s.energy_wh)) for s in bids)
    given_wh = sum(data.draw(st.integers(0, s.energy_wh)) for s in asks)
    after = battery.after(drawn, given_wh)
    assert 0 <= after.stored_wh <= battery.capacity_wh
    if bids and asks:
        ask, bid = asks[0].limit_uyuan_per_kwh, bids[0].limit_uyuan_per_kwh
        assert ask * battery.efficiency_percent >= bid * 100


def test_arbitrage__in_an_ordinary_period__bids_and_asks_around_the_plan() -> None:
    battery = Battery(1_000, 100, 80, 500)
    situation = Situation(0, 0, Band(100, 900), 0, 0, 500, 500, (300, 500), battery)
    rng = np.random.default_rng(0)
    assert Arbitrage(20).steps(situation, rng) == (Step(False, 100, 320), Step(True, 100, 480))
    # A narrow margin still has to pay for the losses.
    assert Arbitrage(0).steps(situation, rng) == (Step(False, 100, 400), Step(True, 100, 500))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Battery(10, 1, 90, 11), "holds 11 Wh"),
        (lambda: Battery(10, -1, 90), "power"),
        (lambda: Battery(10, 1, 0), "efficiency_percent is 0"),
        (lambda: Battery(10, 5, 90, 3).after(0, 4), "give 3 Wh"),
        (lambda: Battery(10, 5, 100, 8).after(3, 0), "draw 2 Wh"),
        (lambda: Arbitrage(101), "margin_percent is 101"),
    ],
)
def test_battery_or_margin__that_cannot_be__is_refused(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(StrategyError, match=named):
        make()
