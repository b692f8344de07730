"""A day of live meters in which everything is struck at random: nodes, broker, chain, the line."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.brokers import SAVES_AT_ONCE, Mosquitto, mosquitto
from tests.committee import Clock, LiveMeters, Settings
from tests.faults.chains import MortalChain
from tests.faults.days import (
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    assert_sampled_once,
    await_calm,
    await_heard,
    await_samples,
    live,
    logged,
)
from tests.faults.line import Noise, open_line
from tests.faults.reaper import Reaper, kills, name, plan
from tests.live import Concentrator, mqtt_source
from tests.village import Village

pytestmark = pytest.mark.faults

DAY = 96
SEED = random.SystemRandom().randrange(2**32)
"""Another one with every run; it is printed, put it here to have a run again."""

PATIENCE_S = 1_500
"""Chain time that nodes wait for meters: a minute here, where time leaps when nothing happens."""

POLL_S = 0.06
RPC_TIMEOUT_S = 0.5
LONGEST_OUTAGE_S = 1.0


def settings(village: Village, broker: Mosquitto) -> Settings:
    """Return nodes that hear all meters through a broker."""
    return Settings(
        village.meters,
        live=LiveMeters(lambda seat: [mqtt_source(seat, broker.port)]),
        patience_s=PATIENCE_S,
        poll_s=POLL_S,
        rpc_timeout_s=RPC_TIMEOUT_S,
    )


@pytest.mark.timeout(900)
def test_day__of_live_meters_and_everything_struck__comes_to_the_undisturbed_balances(
    past_village: Village, chain: MortalChain, tmp_path: Path
) -> None:
    """Nodes and broker are killed, the chain frozen and restarted, its answers dropped and late."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    village, world = past_village, past_village.world
    periods = range(village.first, village.first + DAY)
    before = village.worths()
    noise = Noise(SEED, drop_permille=20, delay_permille=3, longest_delay_s=1.5 * RPC_TIMEOUT_S)

    def strike_broker() -> None:
        broker.kill()
        time.sleep(draw.uniform(0, LONGEST_OUTAGE_S))
        broker.start()

    with (
        mosquitto(tmp_path / "broker", *SAVES_AT_ONCE) as broker,
        open_line(world.url) as (line, address),
        Concentrator(village, broker.port) as meters,
    ):
        line.distort = noise
        committee = village.committee(tmp_path, settings(village, broker), rpc_url=address)
        reaper = Reaper(
            {
                **kills(committee),
                "broker": strike_broker,
                "frozen chain": lambda: chain.freeze(draw.uniform(0, 3 * RPC_TIMEOUT_S)),
                "chain": chain.restart,
            }
        )
        times = {name(seat): 3 for seat in committee.seats} | {
            "broker": 5,
            "frozen chain": 4,
            "chain": 4,
        }
        strikes = plan(SEED, periods, times)
        clock = Clock(world.market, on_look=reaper)

        def at_edge(period: int) -> None:
            meters.tell(period)
            await_heard(committee, len(meters.told))

        with committee:
            for period in live(village, clock, periods, at_edge=at_edge):
                if period in strikes:
                    reaper.aim(strikes[period])
            clock.until(lambda: reaper.is_done, "the last strike", step_s=1)
            line.distort = None
            await_samples(clock, committee, len(meters.told))
            await_calm(village, committee, clock)
            assert Counter(reaper.struck) == times
            assert meters.connections > times["broker"]
            assert noise.dropped
            assert noise.delayed

            assert_as_undisturbed(village, before, periods)
            assert_said_once(village, committee)
            assert_read_once(village, committee, periods)
            assert_sampled_once(committee, meters.told)
            for seat in committee.seats:
                assert logged(committee, seat, "chain is back")
                assert logged(committee, seat, "resumed=True")
