"""Four node processes live through periods of the village's day on a real chain."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.committee import Clock, Settings
from tests.village import Village
from tests.world import new_world

PERIODS = 8
AHEAD = 3
"""Trades are made so many periods ahead: prices stand, the gate is open."""


def test_committee__traded_periods__settle_as_the_reference_model_says(
    tmp_path: Path,
) -> None:
    with new_world(accounts=80) as world:
        _live(Village(world), tmp_path)


def _live(village: Village, folder: Path) -> None:
    world = village.world
    clock, schedule = Clock(world.market), world.market.schedule
    expected: Counter[int] = Counter(village.worths())
    compensated_wh = sold_wh = 0

    settings = Settings(village.meters, prices={"source": "tariff", "weather": "sunny"})
    with village.committee(folder, settings):
        for period in range(village.first, village.first + PERIODS):
            clock.warp(schedule.start(period))
            village.trade(period + AHEAD)
            clock.await_cleared(period)
            clock.await_settled(period)
            model = village.expected(period, village.true_readings(period))
            expected.update(model.nets_uyuan)
            expected[0] += model.grid_company.net_uyuan
            compensated_wh += sum(bill.compensation.sold_wh for bill in model.bills)
            sold_wh += sum(bill.selling.sold_wh for bill in model.bills)

    assert village.worths() == expected
    assert compensated_wh > 0
    assert sold_wh > 0
    fixed = world.chain.events(world.market.oracle, "PricesFixed", from_block=0)
    assert village.first + PERIODS - 1 in {event["args"]["period"] for event in fixed}
