"""What the meters measured: versions, form, and the instants of reporting."""

from __future__ import annotations

import pytest
from web3.contract.contract import ContractFunction

from market.packing import pack_readings, root_of
from tests.unit.contracts.support import accepted, bucket, crowd, events, measured, refused
from tests.world import World


def propose_call(world: World, period: int, *buckets: bytes, version: int = 1) -> ContractFunction:
    """Return the proposing of a report."""
    return world.market.oracle.functions.proposeReport(period, version, list(buckets))


def closed(world: World, nodes: int = 2) -> int:
    """Admit nodes and return a period that has just closed."""
    world.join(nodes)
    period = world.market.schedule.period_at(world.now()) + 1
    world.warp(world.market.schedule.close(period))
    return period


def test_propose_report__while_the_period_runs__is_refused_until_it_closes(world: World) -> None:
    world.join(1)
    period = world.free_period()
    close = world.market.schedule.close(period)
    call = propose_call(world, period, bucket(measured(1)))
    world.warp(close - 1)
    refused("Oracle.TooEarly", call, world.seats[period % 4], period, close)
    world.warp(close)
    accepted(call, world.seats[period % 4])


def test_propose_report__when_the_window_ends__is_refused_from_that_second(world: World) -> None:
    period = closed(world)
    end = world.market.schedule.window_end(period)
    call = propose_call(world, period, bucket(measured(1)))
    world.warp(end - 1)
    accepted(call, world.primary(period))
    world.warp(end)
    refused("Oracle.TooLate", call, world.primary(period), period, end)


def test_report__accepted__is_the_latest_until_the_next_version(world: World) -> None:
    period, oracle = closed(world), world.market.oracle.functions
    assert world.chain.read(oracle.latestReport(period)) == [0, bytes(32)]
    roots = [bytes(32)]
    for version in (1, 2, 3):
        readings = [measured(1, export_wh=version)]
        world.report(period, readings, version)
        roots.append(root_of(pack_readings(readings)))
        assert world.chain.read(oracle.latestReport(period)) == [version, roots[-1]]
        world.warp(world.now() + world.market.schedule.round_length_s)
    assert [world.chain.read(oracle.reportRoot(period, v)) for v in range(4)] == roots


def test_propose_report__carries_every_byte__so_that_no_data_can_be_withheld(
    world: World,
) -> None:
    period = closed(world)
    data = bucket(measured(1, 5, 6), measured(2, 2**40 - 1))
    receipt = world.chain.send(world.primary(period), propose_call(world, period, data))
    (event,) = events(receipt, world.market.oracle, "ReportProposed")
    assert (event["buckets"], event["root"]) == ([data], root_of([data]))


@pytest.mark.parametrize("version", [0, 2])
def test_propose_report__of_another_than_the_next_version__is_refused(
    world: World, version: int
) -> None:
    period = closed(world)
    call = propose_call(world, period, bucket(measured(1)), version=version)
    refused("Oracle.WrongVersion", call, world.primary(period), period, version, 1)


def test_propose_report__without_buckets__is_refused(world: World) -> None:
    period = closed(world)
    refused("Oracle.EmptyReport", propose_call(world, period), world.primary(period), period)


def test_propose_report__with_empty_buckets_behind_the_last_node__is_refused(world: World) -> None:
    period = closed(world)
    primary = world.primary(period)
    refused("Oracle.TooManyBuckets", propose_call(world, period, ONE, b""), primary, 2, 1)


ONE, TWO = bucket(measured(1)), bucket(measured(2))


@pytest.mark.parametrize(
    ("buckets", "at"),
    [
        pytest.param([ONE + b"\x02"], (0, 12), id="a byte too many"),
        pytest.param([ONE[:11]], (0, 0), id="a byte too few"),
        pytest.param([TWO + ONE], (0, 12), id="descending"),
        pytest.param([ONE + ONE], (0, 12), id="twice"),
        pytest.param([ONE[:1] + b"\x02" + ONE[2:]], (0, 0), id="unknown quality"),
        pytest.param([b"\0" + ONE[1:]], (0, 0), id="the grid company"),
        pytest.param([ONE + b"\x03" + ONE[1:]], (0, 12), id="nobody"),
    ],
)
def test_propose_report__malformed__is_refused_where_it_breaks(
    world: World, buckets: list[bytes], at: tuple[int, int]
) -> None:
    period = closed(world)
    call = propose_call(world, period, *buckets)
    refused("Oracle.MalformedBucket", call, world.primary(period), *at)


@pytest.mark.parametrize(("nodes", "buckets"), [(255, 1), (256, 2), (257, 2)])
def test_propose_report__with_nodes_around_a_bucket_boundary__takes_the_last_and_no_more(
    world: World, nodes: int, buckets: int
) -> None:
    crowd(world, nodes)
    period = world.market.schedule.period_at(world.now()) + 1
    world.warp(world.market.schedule.close(period))
    packed = pack_readings([measured(1), measured(nodes)])
    assert len(packed) == buckets
    accepted(propose_call(world, period, *packed), world.primary(period))
    beyond = pack_readings([measured(1), measured(nodes + 1)])
    call = propose_call(world, period, *beyond)
    if len(beyond) > buckets:
        refused("Oracle.TooManyBuckets", call, world.primary(period), len(beyond), buckets)
    else:
        at = (len(beyond) - 1, len(beyond[-1]) - 12)
        refused("Oracle.MalformedBucket", call, world.primary(period), *at)
