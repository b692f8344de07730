"""A disk that takes no samples of live meters: none is acknowledged meanwhile, so none is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brokers import mosquitto
from tests.committee import Clock, LiveMeters, Settings
from tests.faults.days import (
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    assert_sampled_once,
    await_calm,
    await_heard,
    await_logged,
    await_samples,
    heard,
    live,
    logged,
)
from tests.faults.test_storage import full_disk
from tests.live import Concentrator, mqtt_source
from tests.village import Village

pytestmark = pytest.mark.faults

PATIENCE_S = 1_500


def test_committee__two_disks_full_while_meters_speak__every_sample_comes_when_there_is_room(
    past_village: Village, tmp_path: Path
) -> None:
    village, world = past_village, past_village.world
    schedule = world.market.schedule
    periods = range(village.first, village.first + 4)
    stuck = periods[2]
    # Without one more seat there is no quorum, so the two must come back for it.
    victims = [stuck % 4, (stuck + 1) % 4]
    before, clock = village.worths(), Clock(world.market)
    with (
        mosquitto(tmp_path / "broker") as broker,
        Concentrator(village, broker.port) as meters,
    ):
        sources = LiveMeters(lambda seat: [mqtt_source(seat, broker.port)])
        settings = Settings(village.meters, live=sources, patience_s=PATIENCE_S)
        with village.committee(tmp_path, settings) as committee:

            def at_edge(period: int) -> None:
                meters.tell(period)
                await_heard(committee, len(meters.told))

            await_logged(clock, committee, committee.seats, "broker connected")
            for _ in live(village, clock, periods[:2], 1, at_edge):
                pass
            await_samples(clock, committee, len(meters.told))
            clock.await_cleared(stuck)
            clock.await_cleared(stuck + 1)
            known = len(meters.told)
            with full_disk(committee, victims):
                meters.tell(stuck + 1)
                clock.warp(schedule.close(stuck))
                await_logged(clock, committee, victims, "samples cannot be written")
                for seat in victims:
                    assert heard(committee, seat) == known
                    assert committee.is_alive(seat)
                assert world.history.latest_version(stuck) == 0
            await_logged(clock, committee, victims, "samples are written again")
            clock.await_settled(stuck)
            for _ in live(village, clock, periods[3:], 1, at_edge):
                pass
            await_samples(clock, committee, len(meters.told))
            await_calm(village, committee, clock)
            for seat in victims:
                # Once at the start of it, however often it was tried.
                assert logged(committee, seat, "samples cannot be written") == 1
            assert_said_once(village, committee)
            assert_read_once(village, committee, periods)
            assert_sampled_once(committee, meters.told)
    assert_as_undisturbed(village, before, periods)
