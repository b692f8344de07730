"""The feeder on chain: the table it takes, and the headrooms and lines it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from market.grid import Grid
from market.lines import BUS_BYTES, SINGLE_BUS, Lines, pack_headroom, table_of
from tests.unit.contracts.support import accepted, create, factory, refused
from tests.unit.contracts.voting import TABLE, Voting
from tests.world import World

DATA = Path(__file__).parents[3] / "data"
FEEDERS = [DATA / "simbench-rural1" / "grid.json", DATA / "simbench-rural3" / "grid.json.gz"]


def line(parent: int, up_wh: int, down_wh: int) -> bytes:
    """Pack one line."""
    return parent.to_bytes(2, "big") + up_wh.to_bytes(4, "big") + down_wh.to_bytes(4, "big")


@pytest.mark.parametrize("path", FEEDERS, ids=lambda path: path.parent.name)
def test_table__of_a_real_feeder__comes_back_as_deployed(world: World, path: Path) -> None:
    tree = Grid.load(path).tree
    table = table_of(tree, 900)
    grid = create(world, "Grid", world.market.oracle.address, table)
    assert bytes(world.chain.read(grid.functions.table())) == table
    assert world.chain.read(grid.functions.busCount()) == len(tree.buses)
    lines = Lines.unpack(bytes(world.chain.read(grid.functions.linesOf(1, b""))))
    assert tuple(lines.parent) == tree.parents
    assert tuple(lines.up_wh[1:]) == tuple(lines.down_wh[1:]) == tree.limits_wh(900)


def test_table__of_a_market_without_wires__is_one_bus(world: World) -> None:
    grid = world.market.grid.functions
    assert bytes(world.chain.read(grid.linesOf(1, b""))) == SINGLE_BUS
    assert world.chain.read(grid.busCount()) == 1


@pytest.mark.parametrize(
    ("table", "bus"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(bytes(BUS_BYTES) + b"\0", 1, id="half a record"),
        pytest.param(line(0, 1, 0), 0, id="limit of the root"),
        pytest.param(bytes(BUS_BYTES) + line(1, 5, 5), 1, id="own parent"),
        pytest.param(bytes(BUS_BYTES) + line(0, 5, 5) + line(3, 5, 5), 2, id="parent behind"),
    ],
)
def test_constructor__malformed_table__is_refused(world: World, table: bytes, bus: int) -> None:
    call = factory(world, "Grid").constructor(world.market.oracle.address, table)
    refused("Grid.MalformedTable", call, world.stranger, bus)


def test_constructor__table_beyond_a_contracts_code__is_refused(world: World) -> None:
    table = bytes(BUS_BYTES) + line(0, 1, 1) * 2_453
    call = factory(world, "Grid").constructor(world.market.oracle.address, table)
    refused("Grid.CloneArgumentsTooLong", call, world.stranger)


@pytest.mark.parametrize("caller", ["grid", "deployer", "stranger"])
def test_derate__by_anyone_but_the_oracle__is_refused(world: World, caller: str) -> None:
    sender = getattr(world, caller)
    call = world.market.grid.functions.derate(9, 1, True, 5)
    refused("Grid.NotOracle", call, sender, sender.address)
    accepted(call, world.market.oracle.address)


@pytest.mark.parametrize("number", [0, 4, 2**16 - 1])
def test_limit__of_no_line__is_refused(world: World, number: int) -> None:
    grid = Voting.on(world).grid.functions
    refused("Grid.UnknownLine", grid.limitOf(9, number, True, b""), world.stranger, number, 3)


def test_limit__of_each_line__is_that_of_the_table(world: World) -> None:
    grid = Voting.on(world).grid.functions
    for up in (True, False):
        limits = [world.chain.read(grid.limitOf(9, v, up, b"")) for v in (1, 2, 3)]
        assert limits == [TABLE.limit_wh(v, up=up) for v in (1, 2, 3)]


@pytest.mark.parametrize("size", [0, 16, 23, 25, 32])
def test_headroom__of_wrong_size__is_refused(world: World, size: int) -> None:
    grid = Voting.on(world).grid.functions
    refused("Grid.HeadroomSize", grid.checkHeadrooms([bytes(size)]), world.stranger, size, 24)


def test_headroom__without_wires__is_refused(world: World) -> None:
    call = world.market.grid.functions.checkHeadrooms([b""])
    refused("Grid.HeadroomSize", call, world.stranger, 0, 0)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_headroom__a_watt_hour_above_the_limit__is_refused(
    world: World, number: int, up: bool
) -> None:
    grid = Voting.on(world).grid.functions
    good = pack_headroom(TABLE.up_wh[1:], TABLE.down_wh[1:])
    accepted(grid.checkHeadrooms([good, bytes(24)]), world.stranger)
    sides = {True: np.array(TABLE.up_wh[1:]), False: np.array(TABLE.down_wh[1:])}
    sides[up][number - 1] += 1
    bad = pack_headroom(sides[True], sides[False])
    limit_wh = TABLE.limit_wh(number, up=up)
    refused("Grid.HeadroomAboveLimit", grid.checkHeadrooms([good, bad]), world.stranger,
            number, up, limit_wh + 1, limit_wh)  # fmt: skip


def test_lines__with_a_headroom_nobody_fixed__are_refused(world: World) -> None:
    grid = Voting.on(world).grid.functions
    good = pack_headroom(TABLE.up_wh[1:], TABLE.down_wh[1:])
    refused("Grid.WrongHeadroom", grid.linesOf(9, good), world.stranger, 9, bytes(28))
