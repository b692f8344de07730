"""The paper's second case on a test chain: A sells B 10 kWh, delivers 8, C has 2 in reserve."""

from __future__ import annotations

from market.messages import Agreement
from market.types import MeterReading, Options, Quality
from tests.world import YUAN, World

A, B, C = 1, 2, 3
PERIOD = 42


def agree_story(world: World) -> None:
    """Admit and fund everybody, and place what A, B and C want for the period."""
    world.join(3)
    for node in (0, A, B, C):
        world.fund(node, 1_000 * YUAN)
    world.warp(world.market.schedule.price_deadline(PERIOD))
    world.agree(Agreement(PERIOD, A, B, 10_000, 437_900, 0, 0, Options.OFFER, Options.TAKE))
    world.declare(PERIOD, C, Options.RESERVE)


def clear_story(world: World) -> None:
    """Pass the gate and the close."""
    world.warp(world.market.schedule.gate(PERIOD))
    world.keeper.clear(PERIOD)
    world.warp(world.market.schedule.close(PERIOD))


def report_story(world: World, reserve_wh: int = 2_000, version: int = 1) -> None:
    """Report what the meters read, and settle."""
    readings = ((A, 8_000, 0), (B, 0, 10_000), (C, reserve_wh, 0))
    world.report(
        PERIOD,
        [MeterReading(n, Quality.MEASURED, out_wh, in_wh) for n, out_wh, in_wh in readings],
        version,
    )
    assert world.keeper.settle(PERIOD)


def play_story(world: World) -> None:
    """Bring the period from agreements to moved money."""
    agree_story(world)
    clear_story(world)
    report_story(world)
