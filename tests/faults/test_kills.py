"""Committee nodes killed with SIGKILL: restarted, left dead, and all of them for good."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from market.keeper import LEAST_NODES
from market.prices import TradingPrices
from tests.committee import Clock, Settings
from tests.faults.days import (
    AHEAD,
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    final_model,
    live,
    unlocked,
    worths_after,
)
from tests.faults.reaper import LONGEST_DELAY_S, Reaper, Strike, kills, name, plan
from tests.village import Village

pytestmark = pytest.mark.faults

DAY = 96
HOURS = 32
"""Periods; `test_live_day` has a whole day of it."""

STRIKES_PER_SEAT = 4
SEED = random.SystemRandom().randrange(2**32)
"""Another one with every run; it is printed, put it here to have a run again."""


def asked_prices(period: int) -> TradingPrices:
    """Return prices that change with every period, so that none passes for another."""
    return TradingPrices(329_700 + period, 437_900 + period, 535_900 + period)


def price_file(path: Path, periods: range) -> Path:
    """Write the prices every node holds right."""
    head = ["period"] + [f"{p}_uyuan_per_kwh" for p in ("selling", "planned", "compensation")]
    lines = [",".join(head)]
    for period in periods:
        p = asked_prices(period)
        values = (
            p.selling_uyuan_per_kwh,
            p.planned_uyuan_per_kwh,
            p.compensation_uyuan_per_kwh,
        )
        lines.append(",".join(map(str, (period, *values))))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_hours__every_node_killed_at_random_instants__comes_to_the_undisturbed_balances(
    village: Village, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    world, periods = village.world, range(village.first, village.first + HOURS)
    asked = price_file(tmp_path / "prices.csv", range(village.first, periods.stop + DAY + AHEAD))
    settings = Settings(village.meters, prices={"source": "csv", "file": asked})
    before = village.worths()
    committee = village.committee(tmp_path, settings)
    reaper = Reaper(kills(committee))
    times = {name(seat): STRIKES_PER_SEAT for seat in committee.seats}
    strikes = plan(SEED, periods, times)
    clock = Clock(world.market, on_look=reaper)
    with committee:
        for period in live(village, clock, periods):
            if period in strikes:
                reaper.aim(strikes[period])
        clock.until(lambda: reaper.is_done, "the last kill", step_s=1)
        await_calm(village, committee, clock)
        assert Counter(reaper.struck) == times

        assert_as_undisturbed(village, before, periods)
        assert_said_once(village, committee)
        assert_read_once(village, committee, periods)
    # The first periods' prices are due before anybody can have agreed on them.
    for period in periods[4 * AHEAD :]:
        fixed, wanted = world.history.prices(period), asked_prices(period)
        assert fixed.planned_uyuan_per_kwh == wanted.planned_uyuan_per_kwh
        assert fixed.selling_uyuan_per_kwh == wanted.selling_uyuan_per_kwh
        assert fixed.compensation_uyuan_per_kwh == wanted.compensation_uyuan_per_kwh


def test_hours__one_seat_dead_from_the_first_on__complete(village: Village, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    world, periods = village.world, range(village.first, village.first + HOURS)
    before, dead = village.worths(), draw.randrange(4)
    committee = village.committee(tmp_path)
    reaper = Reaper(kills(committee, restart=False))
    clock = Clock(world.market, on_look=reaper)
    with committee:
        for period in live(village, clock, periods, trade_every=4):
            if period == village.first + 1:
                moment_s = draw.uniform(0, LONGEST_DELAY_S)
                reaper.aim(Strike((name(dead),), draw.randrange(8), moment_s))
        assert [committee.is_alive(seat) for seat in range(4)].index(False) == dead
        assert reaper.struck == [name(dead)]
        alive = set(committee.seats) - {dead}
        await_calm(village, committee, clock, alive)
        assert_said_once(village, committee, alive)
        assert_read_once(village, committee, periods, alive)
    assert_as_undisturbed(village, before, periods)


def test_hours__all_seats_dead__time_and_a_stranger_settle_every_period(
    village: Village, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    world, schedule = village.world, village.world.market.schedule
    lived = range(village.first, village.first + 2)
    last_seen, *orphans = range(lived.stop, lived.stop + 5)
    forgotten, unhurried = orphans[2:]
    before = village.worths()
    committee = village.committee(tmp_path)
    reaper = Reaper(kills(committee, restart=False))
    clock = Clock(world.market, on_look=reaper)
    with committee:
        for _ in live(village, clock, lived, trade_every=1):
            pass
        clock.await_cleared(last_seen)
        # They die somewhere between the meters and the money.
        everybody = tuple(map(name, committee.seats))
        reaper.aim(Strike(everybody, draw.randrange(8), draw.uniform(0, LONGEST_DELAY_S)))
        clock.warp(schedule.close(last_seen))
        clock.until(lambda: reaper.is_done, "the end of the committee", step_s=1)
        assert not any(committee.is_alive(seat) for seat in committee.seats)

    for period in (forgotten, unhurried):
        village.trade(period)
    stranger = world.keeper
    for period in orphans[:2]:
        stranger.clear(period)
    world.warp(schedule.gate(unhurried))
    for period in (forgotten, unhurried):
        stranger.clear(period)
    cleared = world.chain.events(world.market.master, "Cleared", from_block=0)
    void = {event["args"]["period"] for event in cleared if event["args"]["void"]}
    assert forgotten in void
    assert not void & {orphans[1], unhurried}

    world.warp(schedule.settle_deadline(forgotten))
    for period in (last_seen, *orphans[:-1]):
        stranger.settle(period, buckets=1, nodes=draw.randint(LEAST_NODES, 60))
        assert world.history.state(period).settled
    world.warp(schedule.window_end(unhurried))
    periods = (*lived, last_seen, *orphans)
    for period in periods:
        stranger.settle(period)
    for period in orphans:
        assert world.history.positions(period)
        assert world.history.state(period).final
    for period in periods:
        state = world.history.state(period)
        assert state.final or (state.settled and state.version == 1 and not state.flagged)
    assert unlocked(village)
    models = [final_model(village, period, void=period in void) for period in periods]
    assert village.worths() == worths_after(before, models)
