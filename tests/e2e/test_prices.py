"""Committees whose prices come from a day-ahead feed, and what becomes of them without it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from market.history import to_prices
from market.prices import PeriodPrices, TradingPrices, clamp
from tests.brokers import free_port
from tests.committee import Clock, Settings
from tests.feeds import answer, served
from tests.village import Village
from tests.world import PENG, new_world

DAY = 96
LEAD = 4
"""Periods from the one in which prices stand to the one they are of."""
AHEAD = LEAD + 1
ASKED = TradingPrices(300_000, 500_000, 950_000)
DEAREST = 1_000_000
TOO_DEAR = TradingPrices(300_000, 500_000, DEAREST + 1)
BENCHMARK = PeriodPrices.from_benchmark(PENG)


@pytest.fixture
def village() -> Iterator[Village]:
    """A village on a chain of its own: processes outlive what a snapshot would undo."""
    with new_world(accounts=80) as world:
        yield Village(world)


def fed(village: Village, url: str) -> Settings:
    """Return what a seat is told that asks a feed."""
    prices = {
        "source": "http",
        "url": url,
        "poll_s": 0.5,
        "timeout_s": 2.0,
        "ceiling_uyuan_per_kwh": DEAREST,
    }
    return replace(Settings(village.meters), prices=prices)


def dead_url() -> str:
    return f"http://127.0.0.1:{free_port()}/"


def fixed(village: Village) -> set[int]:
    """Return the periods whose prices a quorum has fixed."""
    world = village.world
    events = world.chain.events(world.market.oracle, "PricesFixed", from_block=0)
    return {event["args"]["period"] for event in events}


def prices_of(village: Village, period: int) -> PeriodPrices:
    world = village.world
    return to_prices(world.chain.read(world.market.oracle.functions.pricesOf(period)))


def live_and_trade(village: Village, clock: Clock, period: int) -> None:
    """Live up to a period, trading in it; all settle as the reference model says."""
    expected = Counter(village.worths())
    for settled in clock.live(range(village.first, period + 1)):
        if settled == period - LEAD:
            village.trade(period)
        model = village.expected(settled, village.true_readings(settled))
        expected.update(model.nets_uyuan)
        expected[0] += model.grid_company.net_uyuan
    assert village.worths() == expected


def test_committee__three_seats_have_the_feed__its_prices_stand_before_the_deadline(
    village: Village, tmp_path: Path
) -> None:
    period = village.first + AHEAD
    clock, spike, blind = Clock(village.world.market), period + 1, (period + 1) % 4
    with served() as feed:
        message = json.loads(answer(range(spike), ASKED))
        message["prices"] += json.loads(answer([spike], TOO_DEAR))["prices"]
        message["prices"] += json.loads(answer(range(spike + 1, DAY), ASKED))["prices"]
        feed.body = json.dumps(message).encode()
        settings, own = fed(village, feed.url), {blind: fed(village, dead_url())}
        with village.committee(tmp_path, settings, own) as committee:
            clock.until(lambda: {period, spike + 1} <= fixed(village), "prices")
            assert clock.now() < village.world.market.schedule.price_deadline(period)
            assert prices_of(village, period) == clamp(ASKED, PENG)[0]
            live_and_trade(village, clock, period)
            logs = [committee.log(seat).read_text() for seat in committee.seats]
    assert spike not in fixed(village)
    assert prices_of(village, spike) == BENCHMARK
    for seat, log in enumerate(logs):
        assert ("price feed fails" in log) == (seat == blind)
        assert (f"prices fail period={spike} reason=" in log) == (seat != blind)


def test_committee__feed_is_dead__benchmark_stands_and_the_market_goes_on(
    village: Village, tmp_path: Path
) -> None:
    period = village.first + AHEAD
    clock = Clock(village.world.market)
    with village.committee(tmp_path, fed(village, dead_url())) as committee:
        live_and_trade(village, clock, period)
        logs = [committee.log(seat).read_text() for seat in committee.seats]
    assert fixed(village) == set()
    assert prices_of(village, period) == BENCHMARK
    for log in logs:
        assert log.count("price feed fails") == 1
        assert log.count("prices fail ") == 1
        assert "there are none yet" in log
