"""A committee of four processes on a feeder: headroom beside base load, and clearings that fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from market.grid import Grid, IntArray
from market.lines import Derate, Lines, pack_headroom
from market.messages import Order, Step
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import capacity_wh_per_period, load_roster, meter_key
from oracle.meters.source import Reading
from tests.committee import Clock, Committee, Meters, Settings
from tests.village import PROFILE, ROSTER
from tests.world import EPOCH_S, YUAN, World, account, new_world

FOLDER = Path(__file__).parents[2] / "data" / "simbench-rural1"
GRID = FOLDER / "grid.json"
DAY = 96
NOON = 48
NEAR, FAR = 2, 14
"""Buses next to the transformer and at the end of a branch, as the contracts number them."""
WANTED_WH = 60_000
"""More than a cable may carry in a quarter hour."""
LOW, HIGH = 400_000, 500_000
CLEARED = 2
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


def test_committee__clearing_the_cables_cannot_carry__names_a_line_and_clears_what_fits(
    tmp_path: Path,
) -> None:
    with new_world(accounts=80, genesis_s=EPOCH_S + 2 * DAY * 900, feeder=GRID) as world:
        market, clock = world.market, Clock(world.market)
        seller, buyer = admit_traders(world)
        period = world.free_period()
        settings = Settings(Meters(ROSTER, PROFILE), grid=GRID)
        with Committee(tmp_path, world.url, world.path, world.seats, settings):
            headroom_of = market.oracle.functions.headroomOf(period)
            clock.until(lambda: any(world.chain.read(headroom_of)), "headroom")
            for node, sells, limit in ((seller, True, LOW), (buyer, False, HIGH)):
                step = Step(sells, WANTED_WH, limit)
                world.place(period, Order(node, period, period, (step,)))
            clock.await_cleared(period)

        assert world.history.state(period).stage == CLEARED
        tell = {"from_block": 0, "period": period}
        checked = [e["args"] for e in world.chain.events(market.master, "Checked", **tell)]
        derates = [
            Derate(e["args"]["line"], e["args"]["up"], e["args"]["limitWh"])
            for e in world.chain.events(market.grid, "Derated", **tell)
        ]
        assert derates
        assert [c["attempt"] for c in checked] == list(range(len(derates) + 1))
        assert {d.line - 1 for d in derates} <= set(Grid.load(GRID).tree.path(FAR))
        sold_wh = {p.node: p.sold_wh for p in world.history.positions(period)}[seller]
        headroom = world.history.headroom(period)
        lines = Lines.unpack(bytes(world.chain.read(market.grid.functions.table())))
        before = lines.with_headroom(headroom)
        held = Lines.unpack(
            bytes(world.chain.read(market.grid.functions.linesOf(period, headroom)))
        )
        assert held.pack() == before.derated(derates).pack()
        path = [branch + 1 for branch in Grid.load(GRID).tree.path(FAR)][:-1]
        assert sold_wh == min(held.limit_wh(line, up=False) for line in path)
        assert 0 < sold_wh < min(before.limit_wh(line, up=False) for line in path) < WANTED_WH


def admit_traders(world: World) -> tuple[int, int]:
    """Admit and fund a seller next to the transformer, and a load at the end of a branch."""
    tree = Grid.load(GRID).tree
    roster = load_roster(ROSTER, world.market.schedule.length_s).values()
    (load, *_) = [m for m in roster if m.bus == tree.buses[FAR] and m.meter.startswith("load")]
    (other, *_) = [m for m in roster if m.bus == tree.buses[NEAR]]
    admissions = []
    for meter, bus in ((other, NEAR), (load, FAR)):
        owner = account(20 + len(world.members))
        key = meter_key(meter.meter)
        admissions.append((owner.address, key, bus, 3, WANTED_WH, WANTED_WH))
        world.members.append(owner)
    world.chain.send(world.grid, world.market.registry.functions.admit(admissions))
    for node in (0, 1, 2):
        world.fund(node, 1_000 * YUAN)
    return 1, 2
