"""Who decides: seats, quorum, and rotation with its delay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from eth_utils.address import to_checksum_address
from web3.contract.contract import ContractConstructor

from market.packing import pack_readings
from tests.unit.contracts.support import events, factory, measured, refused
from tests.world import World, account

DAY_S = 86_400
ZERO = "0x" + "00" * 20


def first_open_period(world: World) -> int:
    """Return the first period whose prices open a day from now or later."""
    schedule, now = world.market.schedule, world.now()
    period = schedule.period_at(now)
    while schedule.price_opens(period) < now + DAY_S:
        period += 1
    return period


@pytest.mark.parametrize("seats", range(1, 33))
def test_quorum_of__any_size__is_the_least_above_two_thirds(world: World, seats: int) -> None:
    quorum = world.chain.read(world.market.oracle.functions.quorumOf(seats))
    assert 3 * quorum > 2 * seats >= 3 * (quorum - 1)


def test_rotate_seat__by_the_grid_company__reaches_only_periods_that_open_a_day_later(
    world: World,
) -> None:
    oracle, heir = world.market.oracle, account(30)
    before = [seat.address for seat in world.seats]
    expected = first_open_period(world)
    receipt = world.chain.send(world.grid, oracle.functions.rotateSeat(2, heir.address))
    (event,) = events(receipt, oracle, "SeatRotated")
    assert event["fromPeriod"] in (expected, expected + 1)  # a second may have passed
    reached = event["fromPeriod"]
    after = [*before[:2], heir.address, before[3]]
    assert world.chain.read(oracle.functions.seatsOf(reached - 1)) == before
    assert world.chain.read(oracle.functions.seatsOf(reached)) == after
    assert world.chain.read(oracle.functions.seatsOf(2**32 - 1)) == after


def test_rotate_seat__twice_at_once__keeps_both(world: World) -> None:
    oracle = world.market.oracle.functions
    for seat in (0, 1):
        world.chain.send(world.grid, oracle.rotateSeat(seat, account(30 + seat).address))
    seats = world.chain.read(oracle.seatsOf(2**32 - 1))
    assert seats == [account(30).address, account(31).address,
                     world.seats[2].address, world.seats[3].address]  # fmt: skip


def test_rotate_seat__done__lets_only_the_new_signer_act_for_later_periods(world: World) -> None:
    oracle, old = world.market.oracle.functions, world.seats[0]
    period = first_open_period(world) + 8
    period += -period % 4  # its first round is seat 0's
    world.chain.send(world.grid, oracle.rotateSeat(0, account(30).address))
    world.join(1)
    world.warp(world.market.schedule.close(period))
    call = oracle.proposeReport(period, 1, pack_readings([measured(1)]))
    refused("Oracle.NotPrimary", call, old, old.address, 0, account(30).address)
    world.seats = [account(30), *world.seats[1:]]
    world.report(period, [measured(1)])
    assert world.chain.read(oracle.latestReport(period))[0] == 1
    world.seats = [old, *world.seats[1:]]


def test_rotate_seat__by_stranger__is_refused(world: World) -> None:
    call = world.market.oracle.functions.rotateSeat(0, account(30).address)
    role = world.chain.w3.keccak(text="COMMITTEE_ROLE")
    refused("Oracle.NotAllowed", call, world.stranger, world.stranger.address, bytes(role))


def test_rotate_seat__that_does_not_exist__is_refused(world: World) -> None:
    call = world.market.oracle.functions.rotateSeat(4, account(30).address)
    refused("Oracle.UnknownSeat", call, world.grid, 4, 4)


@pytest.mark.parametrize("seat", [0, 1])
def test_rotate_seat__to_nobody_or_a_signer_with_a_seat__is_refused(
    world: World, seat: int
) -> None:
    rotate = world.market.oracle.functions.rotateSeat
    for signer in (ZERO, world.seats[0].address):
        refused("Oracle.BadSigner", rotate(seat, signer), world.grid, signer)


def created_with(world: World, seats: Sequence[str]) -> ContractConstructor:
    """Return the creation of an oracle with these seats."""
    chain, oracle = world.chain, world.market.oracle.functions
    return factory(world, "Oracle").constructor(
        chain.read(oracle.schedule()),
        world.market.registry.address,
        world.market.grid.address,
        world.market.master.address,
        seats,
        chain.read(oracle.limits()),
        chain.read(oracle.benchmarkOf(1)),
    )


@pytest.mark.parametrize("size", [0, 33])
def test_constructor__committee_too_small_or_large__is_refused(world: World, size: int) -> None:
    seats = [to_checksum_address(i.to_bytes(20, "big")) for i in range(1, size + 1)]
    call = created_with(world, seats)
    refused("Oracle.CommitteeSize", call, world.stranger, size)


def test_constructor__one_signer_on_two_seats__is_refused(world: World) -> None:
    twice = world.seats[0].address
    call = created_with(world, [twice, twice])
    refused("Oracle.BadSigner", call, world.stranger, twice)


def test_constructor__schedule_out_of_order__is_refused(world: World) -> None:
    oracle = world.market.oracle.functions
    schedule = list(world.chain.read(oracle.schedule()))
    schedule[1] = 0
    call = factory(world, "Oracle").constructor(
        tuple(schedule),
        world.market.registry.address,
        world.market.grid.address,
        world.market.master.address,
        [seat.address for seat in world.seats],
        world.chain.read(oracle.limits()),
        world.chain.read(oracle.benchmarkOf(1)),
    )
    refused("Oracle.ScheduleOutOfOrder", call, world.stranger, schedule)
