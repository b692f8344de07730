"""A chain that crashes and comes back without its last blocks: everybody says again what they held.

The nodes do so by themselves; who has traded, here the test, has to look whether it still stands.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.committee import Clock, Settings
from tests.faults.chains import MortalChain
from tests.faults.days import (
    AHEAD,
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    logged,
)
from tests.village import Village

pytestmark = pytest.mark.faults

SEED = random.SystemRandom().randrange(2**32)
"""Another one with every run; it is printed, put it here to have a run again."""

MOST_LOST = 8
"""Blocks: a report and its votes, or trades, a clearing and its votes."""


def test_committee__chain_crashes_and_loses_blocks__says_again_what_they_held(
    past_village: Village, chain: MortalChain, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    village, world = past_village, past_village.world
    schedule = world.market.schedule
    periods = range(village.first, village.first + 5)
    before, clock = village.worths(), Clock(world.market)
    lost = []

    def crash(saved: int) -> None:
        """Let some blocks come, and go again."""
        count = draw.randint(1, MOST_LOST)
        clock.until(lambda: world.chain.block_number() >= saved + count, f"{count} blocks")
        lost.append(world.chain.block_number() - saved)
        chain.crash()

    def begin(period: int) -> None:
        clock.warp(schedule.start(period))
        traded = period + AHEAD
        if not world.chain.events(world.market.book, "Agreed", from_block=0, period=traded):
            village.trade(traded)

    with village.committee(tmp_path, Settings(village.meters, rpc_timeout_s=1.0)) as committee:
        for period in periods:
            clock.await_cleared(period)
            if period != periods[0]:
                saved = chain.save()
                begin(period)
                crash(saved)
            begin(period)
            clock.await_cleared(period + 1)
            if period != periods[0]:
                saved = chain.save()
                clock.warp(schedule.close(period))
                crash(saved)
            clock.await_settled(period)
        await_calm(village, committee, clock)
        print(f"lost {lost} blocks")
        for seat in committee.seats:
            assert committee.is_alive(seat)
            assert logged(committee, seat, "reorganised")
        assert_said_once(village, committee)
        assert_read_once(village, committee, periods)
    assert_as_undisturbed(village, before, periods)
