"""A committee of four processes on a feeder: headroom beside base load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from market.grid import Grid, IntArray
from market.lines import Lines, pack_headroom
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import capacity_wh_per_period, load_roster, meter_key
from oracle.meters.source import Reading
from tests.committee import Clock, Committee, Meters, Settings
from tests.village import PROFILE, ROSTER
from tests.world import EPOCH_S, World, account, new_world

FOLDER = Path(__file__).parents[2] / "data" / "simbench-rural1"
GRID = FOLDER / "grid.json"
DAY = 96
NOON = 48
STRANGER = "pv"
"""Meters whose id begins so belong to no member."""


@pytest.fixture
def world() -> Iterator[World]:
    """A market with a feeder, a noon two days after its epoch."""
    noon_s = EPOCH_S + (2 * DAY + NOON) * 900
    with new_world(accounts=80, genesis_s=noon_s, feeder=GRID) as world:
        yield world


def settle_in(world: World) -> None:
    """Admit every meter but the strangers', each at its place in the tree."""
    tree, period_s = Grid.load(GRID).tree, world.market.schedule.length_s
    admissions = []
    for meter in load_roster(ROSTER, period_s).values():
        if meter.meter.startswith(STRANGER):
            continue
        owner = account(20 + len(world.members))
        (bus,) = tree.columns([meter.bus]).tolist()
        limits = (meter.import_capacity_w, meter.export_capacity_w)
        capacities = [capacity_wh_per_period(watt, period_s) for watt in limits]
        admissions.append((owner.address, meter_key(meter.meter), bus, 3, *capacities))
        world.members.append(owner)
    world.chain.send(world.grid, world.market.registry.functions.admit(admissions))


class Strangers:
    """What the meters of no member read."""

    def __init__(self, world: World) -> None:
        """Read the profiles once."""
        self.tree = Grid.load(GRID).tree
        self.roster = load_roster(ROSTER, world.market.schedule.length_s)
        self.source = ProfileSource(PROFILE, self.roster, first_period=0, first_row=0)

    def flow_wh(self, period: int) -> IntArray:
        """Return what a period's energy of them is as flow of each line, Wh, positive up."""
        net_wh = np.zeros((1, len(self.tree.buses)), dtype=np.int64)
        for reading in self.source.read(period):
            assert isinstance(reading, Reading)
            if reading.meter.startswith(STRANGER):
                column = self.tree.columns([self.roster[reading.meter].bus])
                net_wh[0, column] += reading.export_wh - reading.import_wh
        flow_wh: IntArray = self.tree.flows_wh(net_wh)[0]
        return flow_wh


def test_committee__strangers_feed_in__fixes_headroom_that_leaves_them_room(
    world: World, tmp_path: Path
) -> None:
    settle_in(world)
    market, clock = world.market, Clock(world.market)
    settings = Settings(Meters(ROSTER, PROFILE), grid=GRID)
    keys = world.seats
    fixed = market.oracle.events.HeadroomFixed
    with Committee(tmp_path, world.url, world.path, keys, settings):
        clock.until(
            lambda: bool(world.chain.events(market.oracle, fixed.event_name, from_block=0)),
            "headroom",
        )
    told = world.chain.events(market.oracle, "HeadroomProposed", from_block=0)[-1]["args"]
    first, headrooms = told["fromPeriod"], told["headrooms"]
    static = Lines.unpack(bytes(world.chain.read(market.grid.functions.table())))
    up_wh, down_wh = static.up_wh[1:], static.down_wh[1:]
    strangers, loaded = Strangers(world), 0
    for period, headroom in enumerate(headrooms, first):
        flow_wh = strangers.flow_wh(period - DAY)
        loaded += bool(flow_wh.any())
        expected = pack_headroom(
            np.clip(up_wh - flow_wh, 0, up_wh), np.clip(down_wh + flow_wh, 0, down_wh)
        )
        assert headroom == expected
        lines = world.chain.read(market.grid.functions.linesOf(period, headroom))
        assert bytes(lines) == static.with_headroom(expected).pack()
    assert loaded
