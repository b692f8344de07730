"""Contracts ask the committee while it settles: what they are answered, and what they cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from web3.contract import Contract

from market.devnet import rpc
from market.types import MeterReading
from oracle.node import REST_S
from oracle.purse import LOOK_BLOCKS
from oracle.queries import QueryKind
from tests.committee import Clock, Committee, Settings
from tests.unit.contracts.support import create
from tests.village import Village
from tests.world import World, default_schedule, new_world

SCHEDULE = replace(default_schedule(), window_s=7_200)
CALLBACK_GAS = 200_000
GAS_PRICE_WEI = 10 * 10**9
"""More than gas ever costs in these tests."""
FEE_WEI = 500_000 * GAS_PRICE_WEI
HOSTILE = ("RefusingAsker", "BurningAsker", "BabblingAsker", "ReenteringAsker")
LATE = "load-1"


@pytest.fixture
def village() -> Iterator[Village]:
    """A village on a chain of its own: processes outlive what a snapshot would undo."""
    with new_world(SCHEDULE, accounts=80) as world:
        yield Village(world)


def ask(
    village: Village,
    kind: QueryKind,
    node: int,
    *,
    of: str = "Asker",
    period: int | None = None,
    fee_wei: int = FEE_WEI,
    gas: int = CALLBACK_GAS,
) -> Contract:
    """Have a new consumer ask for something of the first period."""
    world = village.world
    asker = create(world, of, world.market.oracle.address)
    meter = world.chain.read(world.market.registry.functions.meterOf(node))
    call = asker.functions.ask(meter, village.first if period is None else period, kind, gas)
    world.chain.send(world.stranger, call, value_wei=fee_wei)
    return asker


def answer(world: World, asker: Contract) -> int | None:
    """Return what a consumer was called back with, None if it was not."""
    if bytes(world.chain.read(asker.functions.answeredId())) == bytes(32):
        return None
    return int(world.chain.read(asker.functions.answer()))


def deliveries(world: World, *askers: Contract) -> list[bool]:
    """Return whether the callbacks of those queries that were delivered went through."""
    told = world.chain.events(world.market.oracle, "Delivered", from_block=0)
    success = {bytes(event["args"]["id"]): event["args"]["success"] for event in told}
    asked = (bytes(world.chain.read(asker.functions.asked())) for asker in askers)
    return [success[id_] for id_ in asked if id_ in success]


def complaints(committee: Committee) -> list[str]:
    """Return all lines of all logs that are above info."""
    lines = [
        line for seat in committee.seats for line in committee.log(seat).read_text().splitlines()
    ]
    return [line for line in lines if " info " not in line]


def settled_as_modelled(village: Village, before: dict[int, int]) -> bool:
    model = village.expected(village.first, village.true_readings(village.first))
    nets = model.nets_uyuan | {0: model.grid_company.net_uyuan}
    return village.worths() == {node: before[node] + nets[node] for node in before}


def some(readings: dict[int, MeterReading]) -> tuple[int, int]:
    """Return a node that has exported and one that has imported."""
    seller = next(node for node, r in readings.items() if r.export_wh)
    return seller, next(node for node, r in readings.items() if r.import_wh)


def test_queries__asked_while_a_period_is_settled__are_answered_and_disturb_nothing(
    village: Village, tmp_path: Path
) -> None:
    world, period = village.world, village.first
    truth, before, clock = village.true_readings(period), village.worths(), Clock(world.market)
    seller, buyer = some(truth)
    with village.committee(tmp_path) as committee:
        clock.await_cleared(period)
        exported = ask(village, QueryKind.EXPORT_WH, seller)
        imported = ask(village, QueryKind.IMPORT_WH, buyer)
        price = ask(village, QueryKind.PLANNED_PRICE, buyer)
        hostile = [
            ask(village, QueryKind.EXPORT_WH, seller, of=kind, gas=10**6) for kind in HOSTILE
        ]
        poor = ask(village, QueryKind.EXPORT_WH, seller, fee_wei=1)
        paying = [exported, imported, price, *hostile]
        clock.await_settled(period)
        clock.until(lambda: len(deliveries(world, *paying)) == len(paying), "the answers")

        assert answer(world, exported) == truth[seller].export_wh
        assert answer(world, imported) == truth[buyer].import_wh
        assert answer(world, price) == world.history.prices(period).planned_uyuan_per_kwh
        assert deliveries(world, *hostile) == [False, False, True, True]
        assert settled_as_modelled(village, before)

        # The poor one waits for whoever does it for nothing, and takes its money back in the end.
        logs = [committee.log(seat) for seat in committee.seats]
        clock.until(lambda: all("pays 1 wei" in log.read_text() for log in logs), "what it takes")
        assert complaints(committee) == []
        refund = world.market.oracle.functions.refund(world.chain.read(poor.functions.asked()))
        clock.warp(SCHEDULE.window_end(period))
        world.chain.send(world.stranger, refund)
        world.chain.send(world.stranger, poor.functions.collectFees())
        assert world.chain.w3.eth.get_balance(poor.address) == 1
        assert answer(world, poor) is None

    paid_wei = sum(
        receipt["gasUsed"] * receipt["effectiveGasPrice"]
        for event in world.chain.events(world.market.oracle, "Delivered", from_block=0)
        for receipt in [world.chain.wait(bytes(event["transactionHash"]))]
    )
    assert paid_wei < FEE_WEI * len(paying)


def test_queries__of_a_late_meter_and_of_an_ended_period__are_answered_once_they_can_be(
    village: Village, tmp_path: Path
) -> None:
    world, period = village.world, village.first
    truth, close, clock = village.true_readings(period), SCHEDULE.close(period), Clock(world.market)
    node = list(village.roster).index(LATE) + 1
    late = {"kind": "late", "meter": LATE, "available_at_s": close + 300, "last": period}
    with village.committee(tmp_path, Settings(village.meters, faults=[late])) as committee:
        clock.await_cleared(period)
        asker = ask(village, QueryKind.IMPORT_WH, node)
        clock.await_settled(period, version=1)
        assert deliveries(world, asker) == []
        clock.warp(close + 300)
        clock.await_settled(period, version=2)
        clock.until(lambda: answer(world, asker) is not None, "the answer from version 2")
        assert answer(world, asker) == truth[node].import_wh

        # Long after its end a period is in the journal only.
        clock.warp(SCHEDULE.window_end(period) + REST_S + 1)
        after = ask(village, QueryKind.IMPORT_WH, node)
        clock.until(lambda: answer(world, after) is not None, "the answer from the journal")
        assert answer(world, after) == truth[node].import_wh
        for seat in committee.seats:
            assert "action failed" not in committee.log(seat).read_text()


def test_queries__well_paid__earn_their_seat_what_it_collects(
    village: Village, tmp_path: Path
) -> None:
    world, clock = village.world, Clock(village.world.market)
    clock.warp(SCHEDULE.price_deadline(village.first))
    with village.committee(tmp_path) as committee:
        fee_wei = 20 * FEE_WEI
        asker = ask(village, QueryKind.SELLING_PRICE, 1, fee_wei=fee_wei)
        clock.until(lambda: bool(deliveries(world, asker)), "the answer")
        oracle = world.market.oracle
        earned = {
            seat.address: int(world.chain.read(oracle.functions.feesOf(seat.address)))
            for seat in world.seats
        }
        assert sorted(earned.values()) == [0, 0, 0, fee_wei]
        rpc(world.url, "anvil_mine", [hex(LOOK_BLOCKS)])
        clock.until(
            lambda: world.chain.w3.eth.get_balance(oracle.address) == 0, "the paying out", 30
        )
        assert complaints(committee) == []
