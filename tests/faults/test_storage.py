"""A journal that is full, locked or damaged, and a clock that leaps."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oracle.cli import app
from tests.committee import KEY_VARIABLE, Clock, Committee, Settings
from tests.faults.days import (
    AHEAD,
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    await_logged,
    live,
    logged,
    worths_after,
)
from tests.village import Village
from tests.world import default_schedule, new_world

pytestmark = pytest.mark.faults

HOUR_S = 3_600
LOG_BYTES = 16_384


@contextmanager
def full_disk(committee: Committee, seats: list[int]) -> Iterator[None]:
    """Leave some nodes room for a log and hardly anything else; the kernel refuses the rest."""
    limits = {}
    for seat in seats:
        room = committee.log(seat).stat().st_size + LOG_BYTES
        pid = committee.pid(seat)
        limits[pid] = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, limits[pid][1]))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


@contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Keep everybody else from writing a journal, as a careless tool would."""
    db = sqlite3.connect(journal, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
    finally:
        db.close()


@pytest.mark.parametrize("kind", ["full", "locked"])
def test_committee__two_journals_cannot_be_written_for_a_while__nothing_lost_nor_doubled(
    village: Village, tmp_path: Path, kind: str
) -> None:
    world, schedule = village.world, village.world.market.schedule
    periods = range(village.first, village.first + 6)
    stuck = periods[3]
    before, clock = village.worths(), Clock(world.market)
    # Without one more seat there is no quorum, so the two must come back for it.
    victims = [stuck % 4, (stuck + 1) % 4]
    with village.committee(tmp_path) as committee:
        for _ in live(village, clock, periods[:3], trade_every=1):
            pass
        await_calm(village, committee, clock)
        clock.await_cleared(stuck)
        clock.await_cleared(stuck + 1)
        if kind == "full":
            with full_disk(committee, victims):
                clock.warp(schedule.close(stuck))
                await_logged(clock, committee, victims, "journal fails", times=2)
        else:
            with locked(committee.journal(victims[0])), locked(committee.journal(victims[1])):
                clock.warp(schedule.close(stuck))
                await_logged(clock, committee, victims, "journal fails")
        assert world.history.latest_version(stuck) == 0
        assert all(committee.is_alive(seat) for seat in committee.seats)
        clock.await_settled(stuck)
        for seat in victims:
            assert logged(committee, seat, "journal is back")
        for _ in live(village, clock, periods[4:], trade_every=1):
            pass
        await_calm(village, committee, clock)
        assert_said_once(village, committee)
        assert_read_once(village, committee, periods)
    assert_as_undisturbed(village, before, periods)


def test_run__journal_damaged__says_so_and_what_to_do(
    village: Village, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(village.world.market)
    with village.committee(tmp_path) as committee:
        clock.await_cleared(village.first)
        clock.await_settled(village.first)
    journal = committee.journal(0)
    # A page in the middle, as a failing disk would leave it.
    with journal.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * (journal.stat().st_size - 4_096))
    monkeypatch.setenv(KEY_VARIABLE, village.world.seats[0].key.hex())

    result = CliRunner().invoke(app, ["run", "--config", str(committee.configuration(0))])

    assert result.exit_code == 1
    assert "damaged" in result.output
    assert "restore" in result.output
    assert "Traceback" not in result.output


def test_committee__chain_time_leaps_past_gates__says_so_and_settles_what_is_left(
    tmp_path: Path,
) -> None:
    """What missed its last call is void, what had been cleared is settled on what was read."""
    # A chain that tells the machine's time, more or less.
    schedule = default_schedule(int(time.time()) // 900 * 900)
    with new_world(schedule, accounts=80) as world:
        village = Village(world)
        periods = range(village.first, village.first + 4)
        leap = range(periods.stop, periods.stop + 24)
        before, clock = village.worths(), Clock(world.market)
        settings = Settings(village.meters, clock_skew_s=3 * HOUR_S)
        with village.committee(tmp_path, settings) as committee:
            for _ in live(village, clock, periods, trade_every=1):
                pass
            await_calm(village, committee, clock)
            assert not any(logged(committee, seat, "clock skew") for seat in committee.seats)
            traded = leap[AHEAD - 1]
            in_time = leap[:2]
            assert village.world.history.state(in_time[1]).cleared

            clock.warp(schedule.close(leap[-1]))

            for period in leap:
                clock.await_settled(period)
            await_calm(village, committee, clock)
            for seat in committee.seats:
                assert logged(committee, seat, "clock skew chain_behind_s=-") == 1
                assert committee.is_alive(seat)
            assert_said_once(village, committee)
            assert_read_once(village, committee, [*periods, *leap])
        cleared = world.chain.events(world.market.master, "Cleared", from_block=0)
        void = {event["args"]["period"] for event in cleared if event["args"]["void"]}
        assert void & set(leap) == set(leap) - set(in_time)
        assert village.world.history.positions(traded)
        models = [
            village.expected(period, village.true_readings(period), void=period in void)
            for period in (*periods, *leap)
        ]
        assert village.worths() == worths_after(before, models)
