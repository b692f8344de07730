"""Silence: seats that do not speak, and a chain that does not answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.committee import Clock, paused
from tests.faults.days import (
    AHEAD,
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    await_logged,
    live,
    logged,
)
from tests.faults.line import open_line
from tests.village import Village

pytestmark = pytest.mark.faults


def test_committee__two_seats_silent__stops_says_so_and_goes_on_with_one_of_them(
    village: Village, tmp_path: Path
) -> None:
    world, schedule = village.world, village.world.market.schedule
    first = village.first
    stuck = range(first + 2, first + 4)
    periods = range(first, stuck.stop + 1)
    before, clock = village.worths(), Clock(world.market)
    dead, dumb = stuck[0] % 4, (stuck[0] + 1) % 4
    speaking = [seat for seat in range(4) if seat not in (dead, dumb)]
    with village.committee(tmp_path) as committee:
        for _ in live(village, clock, range(first, stuck[0]), trade_every=1):
            pass
        committee.kill(dead)
        with paused(committee.pid(dumb)):
            for period in stuck:
                clock.await_cleared(period + 1)
                clock.warp(schedule.close(period))
                # Every seat has its turn, and nothing comes of it.
                clock.warp(schedule.close(period) + 4 * schedule.round_length_s)
                await_logged(clock, committee, speaking, f"no quorum period={period} ")
            for seat in speaking:
                told = re.findall(
                    r"no quorum .*silent_seats=(\S+)", committee.log(seat).read_text()
                )
                assert told
                assert set(told[-1].split(",")) >= {str(dead), str(dumb)}
                assert committee.is_alive(seat)
            for period in stuck:
                assert world.history.latest_version(period) == 0
                assert not world.history.state(period).settled
        for period in stuck:
            clock.await_settled(period)
            await_logged(clock, committee, speaking, f"quorum came period={period} ")
        assert not committee.is_alive(dead)
        for _ in live(village, clock, periods[-1:]):
            pass
        alive = [*speaking, dumb]
        await_calm(village, committee, clock, alive)
        assert_said_once(village, committee, alive)
        assert_read_once(village, committee, periods, alive)
    assert_as_undisturbed(village, before, periods)


def test_committee__chain_answers_no_more_and_then_again__goes_on_and_says_nothing_twice(
    village: Village, tmp_path: Path
) -> None:
    world, schedule = village.world, village.world.market.schedule
    periods = range(village.first, village.first + 6)
    before, clock = village.worths(), Clock(world.market)
    with (
        open_line(world.url) as (line, address),
        village.committee(tmp_path, rpc_url=address) as committee,
    ):
        for period in periods:
            clock.await_cleared(period)
            clock.warp(schedule.start(period))
            village.trade(period + AHEAD)
            clock.await_cleared(period + 1)
            complaints = [logged(committee, seat, "chain fails") for seat in committee.seats]
            if period in periods[1:4]:
                # Of one more transaction the chain hears, but its sender never learns that.
                line.cut_at_next_transaction()
            elif period == periods[4]:
                line.cut()
            clock.warp(schedule.close(period))
            if period in periods[1:5]:
                clock.until(lambda: line.is_down, "the cut of the line")
                for seat, count in enumerate(complaints):
                    await_logged(clock, committee, [seat], "chain fails", times=count + 1)
                assert not world.history.state(period).settled
                line.mend()
            clock.await_settled(period)
        assert len(line.lost_answers) == 3
        for seat in committee.seats:
            assert committee.is_alive(seat)
            assert "chain is back" in committee.log(seat).read_text()
        await_calm(village, committee, clock)
        assert_said_once(village, committee)
        assert_read_once(village, committee, periods)
    assert_as_undisturbed(village, before, periods)
