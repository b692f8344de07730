"""The period's life: clearing, its last call, settlement in chunks, and who can disturb it."""

from __future__ import annotations

from typing import Any

import pytest
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction

from market.chain import Reverted
from market.clear_calls import FRESH, clear_call
from market.keeper import ALL_NODES
from market.packing import pack_readings, root_of
from market.types import MeterReading, Options
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    cleared,
    crowd,
    events,
    factory,
    measured,
    offer,
    refused,
    send_at,
    settled,
    trading,
)
from tests.world import PENG, World, undone

OPEN, CHECKED, CLEARED, VOID, SETTLED, FINAL = range(6)
NO_LEG = (0, 0, 0, 0)
NO_BASIS = (False, False, 0, bytes(32), NO_LEG, NO_LEG, NO_LEG)
BOTH = (measured(1, export_wh=10_000), measured(2, import_wh=10_000))
NO_HASHES: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])


def fresh_job(period: int) -> tuple[Any, ...]:
    """Return the job that begins a settlement."""
    return (period, 0, 0, 0, False, NO_BASIS, NO_BASIS, 0, 0, 0, 0, 0)


def stage(world: World, period: int) -> int:
    """Return where a period stands."""
    return world.history.state(period).stage


def settle_call(
    world: World,
    period: int,
    positions: list[bytes],
    was: list[bytes],
    now: list[bytes],
    buckets: list[tuple[bytes, bytes, bytes]] | None = None,
    most: int = ALL_NODES,
) -> ContractFunction:
    """Return the settling of a period on the given bytes."""
    hashes = ([*map(keccak, positions)], [*map(keccak, was)], [*map(keccak, now)])
    if buckets is None:
        reach = max(len(positions), len(was), len(now))

        def padded(data: list[bytes]) -> list[bytes]:
            return data + [b""] * (reach - len(data))

        buckets = list(zip(padded(positions), padded(was), padded(now), strict=True))
    return world.market.master.functions.settle(fresh_job(period), hashes, buckets, most)


def reported(world: World, *readings: MeterReading) -> int:
    """Return a cleared and reported period in which nodes 1 and 2 agreed on 10 kWh."""
    period = trading(world)
    world.agree(offer(period))
    cleared(world, period)
    world.warp(world.market.schedule.close(period))
    world.report(period, readings or BOTH)
    return period


# -- clearing


def test_clear__before_the_gate__is_refused_until_that_second(world: World) -> None:
    period = world.free_period()
    gate = world.market.schedule.gate(period)
    call = clear_call(world.market, world.history, period)
    world.warp(gate - 1)
    refused("Master.GateOpen", call, world.stranger, period, gate)
    world.warp(gate)
    accepted(call, world.stranger)


def test_clear__before_the_market_was_there__is_refused(world: World) -> None:
    master = world.market.master.functions
    first = world.chain.read(master.firstPeriod())
    assert first == 1
    refused(
        "Master.BeforeMarket",
        master.clear(0, b"", b"", b"", FRESH, [b""]),
        world.stranger,
        0,
        first,
    )
    refused("Master.BeforeMarket", settle_call(world, 0, [], [], []), world.stranger, 0, first)
    assert world.chain.read(master.isCleared(0))


@pytest.mark.parametrize(("late_s", "expected"), [(-1, CLEARED), (0, VOID)])
def test_clear__at_the_last_call__is_void_from_that_second(
    world: World, late_s: int, expected: int
) -> None:
    period = world.free_period()
    instant = world.market.schedule.last_call(period) + late_s
    call = clear_call(world.market, world.history, period)
    receipt = send_at(world, instant, world.stranger, call)
    (event,) = events(receipt, world.market.master, "Cleared")
    assert (event["buckets"], event["void"]) == (1, expected == VOID)
    assert stage(world, period) == expected


def test_clear__again__does_nothing(world: World) -> None:
    period = trading(world)
    world.agree(offer(period))
    cleared(world, period)
    root = world.market.master.functions.positionsRoot(period)
    before = world.chain.read(root)
    receipt = world.chain.send(world.stranger, clear_call(world.market, world.history, period))
    assert receipt["logs"] == []
    assert world.chain.read(root) == before


@pytest.mark.parametrize(("nodes", "buckets"), [(255, 1), (256, 2), (257, 2)])
def test_clear__nodes_around_a_bucket_boundary__has_a_bucket_for_the_last(
    world: World, nodes: int, buckets: int
) -> None:
    crowd(world, nodes)
    for node in (1, nodes):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period, seller=1, buyer=nodes))
    cleared(world, period)
    found = world.history.position_buckets(period)
    assert len(found) == buckets
    assert [p.node for p in world.history.positions(period)] == [1, nodes]

    world.warp(world.market.schedule.close(period))
    world.report(period, [measured(1, export_wh=10_000), measured(nodes, import_wh=10_000)])
    assert world.keeper.settle(period)
    assert world.balance(1) == (FUNDS_UYUAN + 4_379_000, 0)
    assert world.balance(nodes) == (FUNDS_UYUAN - 4_379_000, 0)


def test_clear__in_chunks__keeps_the_buckets_it_began_with(world: World) -> None:
    crowd(world, 256)
    period = world.free_period()
    world.warp(world.market.schedule.gate(period))
    world.chain.send(world.stranger, clear_call(world.market, world.history, period, 1))
    assert stage(world, period) == OPEN
    crowd(world, 256)  # a third bucket comes into being
    call = settle_call(world, period, [b"", b""], [], [])
    refused("Master.NotCleared", call, world.stranger, period)
    world.chain.send(world.stranger, clear_call(world.market, world.history, period, 9))
    assert world.history.state(period).buckets == 2
    assert stage(world, period) == CLEARED
    root = world.market.master.functions.positionsRoot(period)
    assert world.chain.read(root) == root_of([b"", b""])


def test_clear__begun_in_time_and_ended_late__is_void(world: World) -> None:
    crowd(world, 256)
    period = world.free_period()
    world.warp(world.market.schedule.gate(period))
    world.chain.send(world.stranger, clear_call(world.market, world.history, period, 1))
    world.warp(world.market.schedule.last_call(period))
    world.chain.send(world.stranger, clear_call(world.market, world.history, period, 9))
    assert stage(world, period) == VOID


def test_settle__void__releases_locks_and_bills_meters_as_if_nothing_was_planned(
    world: World,
) -> None:
    period = trading(world)
    world.agree(offer(period, buyer_options=Options.TAKE))
    world.warp(world.market.schedule.last_call(period))
    world.keeper.clear(period)
    assert world.balance(1)[1] > 0
    world.warp(world.market.schedule.close(period))
    world.report(period, BOTH)
    assert world.keeper.settle(period)
    # Meters still net locally: P_s to the producer, P_c from the consumer.
    sold, bought = PENG.selling_uyuan_per_kwh, PENG.compensation_uyuan_per_kwh
    assert world.balance(1) == (FUNDS_UYUAN + 10 * sold, 0)
    assert world.balance(2) == (FUNDS_UYUAN - 10 * bought, 0)


# -- when to settle


def test_settle__uncleared__is_refused(world: World) -> None:
    period = world.free_period()
    refused("Master.NotCleared", settle_call(world, period, [b""], [], []), world.stranger, period)


def test_settle__without_a_report__is_refused_until_the_deadlines_second(world: World) -> None:
    period = trading(world)
    world.agree(offer(period))
    cleared(world, period)
    deadline = world.market.schedule.settle_deadline(period)
    call = settle_call(world, period, world.history.position_buckets(period), [], [])
    world.warp(deadline - 1)
    refused("Master.NothingToSettle", call, world.stranger, period, deadline)
    world.warp(deadline)
    receipt = world.chain.send(world.stranger, call)
    (event,) = events(receipt, world.market.master, "PeriodSettled")
    assert (event["version"], event["finalMode"]) == (0, False)
    assert stage(world, period) == SETTLED


def test_settle__nothing_new__does_nothing(world: World) -> None:
    period = reported(world)
    assert world.keeper.settle(period)
    before = [world.balance(node) for node in (0, 1, 2)]
    assert not world.keeper.settle(period)
    world.warp(world.market.schedule.window_end(period))
    assert not world.keeper.settle(period)  # all meters were read
    assert [world.balance(node) for node in (0, 1, 2)] == before


@pytest.mark.parametrize(("late_s", "final"), [(-1, False), (0, True)])
def test_settle__at_the_windows_end__is_final_from_that_second(
    world: World, late_s: int, final: bool
) -> None:
    period = reported(world, measured(2, import_wh=10_000))  # node 1 is silent
    world.keeper.settle(period)
    positions = world.history.position_buckets(period)
    readings = pack_readings([measured(2, import_wh=10_000)])
    call = settle_call(world, period, positions, readings, readings)
    world.warp(world.market.schedule.window_end(period) + late_s)
    assert accepted(call, world.stranger) is final


def test_settle__final__can_never_be_repeated(world: World) -> None:
    period = trading(world)
    world.agree(offer(period))
    cleared(world, period)
    world.warp(world.market.schedule.window_end(period))
    assert world.keeper.settle(period)
    assert stage(world, period) == FINAL
    assert not world.keeper.settle(period)


def test_settle__later_versions__leave_what_the_last_alone_would(world: World) -> None:
    def nets(versions: list[tuple[MeterReading, ...]]) -> list[int]:

        with undone(world):
            period = trading(world)
            world.agree(offer(period, seller_options=Options.RESERVE))
            cleared(world, period)
            world.warp(world.market.schedule.close(period))
            for version, readings in enumerate(versions, 1):
                world.report(period, readings, version)
                if version % 2 or version == len(versions):
                    assert world.keeper.settle(period)
                world.warp(world.now() + world.market.schedule.round_length_s)
            return [world.worth(node) for node in (0, 1, 2)]

    last = (measured(1, 9_001), measured(2, 0, 11_003))
    assert nets([last]) == nets([BOTH, (measured(1, 3, 7),), (measured(2, 1, 2),), last])


# -- what it is settled on


def test_settle__hashes_that_do_not_add_up__are_refused(world: World) -> None:
    period = reported(world)
    positions, readings = world.history.position_buckets(period), pack_readings(BOTH)
    lie = [b"lie"]
    for which, (p, w, n) in enumerate(
        [(lie, [], readings), (positions, lie, readings), (positions, [], lie)]
    ):
        call = settle_call(world, period, p, w, n)
        refused("Master.WrongHashes", call, world.stranger, period, which)
    longer = settle_call(world, period, [*positions, b""], [], readings)
    refused("Master.WrongHashes", longer, world.stranger, period, 0)


def test_settle__bytes_of_another_hash__are_refused(world: World) -> None:
    period = reported(world)
    assert world.keeper.settle(period)
    world.warp(world.now() + world.market.schedule.round_length_s)
    later = (measured(1, export_wh=9_000),)
    world.report(period, later, version=2)
    positions, was, now = (
        world.history.position_buckets(period), pack_readings(BOTH), pack_readings(later)
    )  # fmt: skip
    good = (positions[0], was[0], now[0])
    for which in range(3):
        bad = tuple(b"lie" if i == which else data for i, data in enumerate(good))
        call = settle_call(world, period, positions, was, now, [bad])  # type: ignore[list-item]
        refused("Master.WrongBytes", call, world.stranger, 0, which)
    accepted(settle_call(world, period, positions, was, now), world.stranger)


def test_settle__none_or_too_many_buckets__is_refused(world: World) -> None:
    period = reported(world)
    positions, readings = world.history.position_buckets(period), pack_readings(BOTH)
    one = (positions[0], b"", readings[0])
    for buckets in ([], [one, one]):
        call = settle_call(world, period, positions, [], readings, buckets)
        refused("Master.WrongBuckets", call, world.stranger, len(buckets), 1)


# -- counting


def test_unsettled__counts_started_periods_until_they_are_settled(world: World) -> None:
    master = world.market.master.functions
    world.join(1)
    first = world.chain.read(master.firstPeriod())
    world.warp(world.market.schedule.start(first) - 1)
    assert world.chain.read(master.unsettled()) == 0
    world.warp(world.market.schedule.start(first))
    assert world.chain.read(master.unsettled()) == 1
    settled(world, first, measured(1))
    assert world.chain.read(master.unsettled()) == 1  # the next one is running
    world.warp(world.now() + world.market.schedule.round_length_s)
    world.report(first, [measured(1, 5)], version=2)
    world.keeper.settle(first)
    assert world.chain.read(master.unsettled()) == 1  # a correction counts once


def test_keeper__too_early__says_so(world: World) -> None:
    with pytest.raises(Reverted) as caught:
        world.keeper.clear(world.free_period())
    assert caught.value.error == "GateOpen"


def test_constructor__schedule_out_of_order__is_refused(world: World) -> None:
    good = list(world.chain.read(world.market.master.functions.schedule()))
    at = world.market.deployment.addresses
    names = ("Registry", "Book", "Oracle", "Vault", "Subordinate_one", "Subordinate_two")
    rooms = tuple(at[name] for name in (*names, "Grid", "Rule"))
    for field, value in ((1, 0), (5, 0), (4, 0), (3, good[4]), (2, good[3]), (7, good[6])):
        bad = (*good[:field], value, *good[field + 1 :])
        call = factory(world, "Master").constructor(bad, rooms)
        refused("Master.ScheduleOutOfOrder", call, world.stranger, bad)
