"""Asking the oracle from a contract: answers, refunds, and consumers that misbehave."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak
from web3.contract import Contract
from web3.contract.contract import ContractFunction

from market.packing import pack_readings
from market.types import MeterReading
from tests.unit.contracts.support import (
    create,
    crowd,
    events,
    measured,
    named,
    refusal,
    refused,
    send_at,
    substituted,
)
from tests.world import PENG, World

EXPORT, IMPORT, PLANNED, COMPENSATION, SELLING = range(5)
CALLBACK_GAS = 200_000
FEE_WEI = 10**15


def meter(node: int) -> bytes:
    """Return the meter of a node, as the world admits it."""
    return node.to_bytes(32, "big")


def ask(
    world: World, asker: Contract, kind: int, period: int, node: int = 1, gas: int = CALLBACK_GAS
) -> bytes:
    """Have a consumer ask, with a fee; return the query's id."""
    call = asker.functions.ask(meter(node), period, kind, gas)
    world.chain.send(world.stranger, call, value_wei=FEE_WEI)
    return bytes(world.chain.read(asker.functions.asked()))


def deliver_call(world: World, query: bytes, *readings: MeterReading) -> ContractFunction:
    """Return the delivery of an answer from a report's first bucket."""
    buckets = pack_readings(readings)
    hashes = [keccak(data) for data in buckets]
    data = buckets[0] if buckets else b""
    return world.market.oracle.functions.deliver(query, hashes, data)


def measured_period(world: World, *readings: MeterReading) -> int:
    """Return a period with an accepted report."""
    world.join(2)
    period = world.market.schedule.period_at(world.now()) + 1
    world.warp(world.market.schedule.close(period))
    world.report(period, readings)
    return period


def priced_period(world: World) -> int:
    """Return a period whose prices are final."""
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    return period


def fees(world: World, address: str) -> int:
    """Return what an account can collect."""
    return int(world.chain.read(world.market.oracle.functions.feesOf(address)))


# -- answers


@pytest.mark.parametrize(("kind", "value"), [(EXPORT, 7), (IMPORT, 9)])
def test_deliver__energy__calls_back_with_what_was_measured(
    world: World, kind: int, value: int
) -> None:
    readings = (measured(1, 7, 9), measured(2, 1, 1))
    period, asker = measured_period(world, *readings), create_asker(world)
    query = ask(world, asker, kind, period)
    receipt = world.chain.send(world.deployer, deliver_call(world, query, *readings))

    (event,) = events(receipt, world.market.oracle, "Delivered")
    assert (event["id"], event["value"], event["success"]) == (query, value, True)
    assert world.chain.read(asker.functions.answer()) == value
    assert world.chain.read(asker.functions.answeredId()) == query
    assert fees(world, world.deployer.address) == FEE_WEI


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PLANNED, PENG.planned_uyuan_per_kwh),
        (COMPENSATION, PENG.compensation_uyuan_per_kwh),
        (SELLING, PENG.selling_uyuan_per_kwh),
    ],
)
def test_deliver__price__calls_back_with_the_final_one(world: World, kind: int, value: int) -> None:
    asker, period = create_asker(world), world.free_period()
    query = ask(world, asker, kind, period)
    deadline = world.market.schedule.price_deadline(period)
    early = deliver_call(world, query)
    refused("Oracle.PricesNotFixed", early, world.stranger, period, deadline)
    world.warp(deadline)
    world.chain.send(world.stranger, deliver_call(world, query))
    assert world.chain.read(asker.functions.answer()) == value


def test_deliver__twice__is_refused(world: World) -> None:
    period = priced_period(world)
    query = ask(world, create_asker(world), PLANNED, period)
    world.chain.send(world.stranger, deliver_call(world, query))
    refused("Oracle.UnknownQuery", deliver_call(world, query), world.stranger, query)
    refused("Oracle.UnknownQuery", world.market.oracle.functions.refund(query), world.stranger,
            query)  # fmt: skip


def test_deliver__from_the_second_bucket__finds_the_node(world: World) -> None:
    crowd(world, 257)
    period = world.market.schedule.period_at(world.now()) + 1
    world.warp(world.market.schedule.close(period))
    readings = [measured(1, 5), measured(257, 77)]
    world.report(period, readings)
    asker = create_asker(world)
    query = ask(world, asker, EXPORT, period, 257)
    buckets = pack_readings(readings)
    hashes = [keccak(data) for data in buckets]
    call = world.market.oracle.functions.deliver(query, hashes, buckets[1])
    world.chain.send(world.stranger, call)
    assert world.chain.read(asker.functions.answer()) == 77


# -- what is no answer


def test_deliver__other_bytes_than_reported__is_refused(world: World) -> None:
    readings = (measured(1, 7, 9),)
    period = measured_period(world, *readings)
    query = ask(world, create_asker(world), EXPORT, period)
    oracle, true_hash = world.market.oracle.functions, keccak(pack_readings(readings)[0])
    lie = pack_readings([measured(1, 8, 9)])[0]
    for hashes, data in (([keccak(lie)], lie), ([true_hash], lie), ([], b""), ([true_hash], b"")):
        call = oracle.deliver(query, hashes, data)
        refused("Oracle.NotTheReport", call, world.stranger, period)


def test_deliver__without_a_report__is_refused(world: World) -> None:
    world.join(1)
    period = world.free_period()
    query = ask(world, create_asker(world), EXPORT, period)
    refused("Oracle.NotTheReport", deliver_call(world, query), world.stranger, period)


def test_deliver__superseded_report__is_refused(world: World) -> None:
    old, new = measured(1, 7), measured(1, 8)
    period = measured_period(world, old)
    query = ask(world, create_asker(world), EXPORT, period)
    world.warp(world.now() + world.market.schedule.round_length_s)
    world.report(period, [new], version=2)
    refused("Oracle.NotTheReport", deliver_call(world, query, old), world.stranger, period)
    world.chain.send(world.stranger, deliver_call(world, query, new))


@pytest.mark.parametrize("reading", [measured(2, 7), substituted(1, 7)], ids=["none", "a profile"])
def test_deliver__meter_not_measured__is_refused(world: World, reading: MeterReading) -> None:
    period = measured_period(world, reading)
    query = ask(world, create_asker(world), EXPORT, period)
    call = deliver_call(world, query, reading)
    refused("Oracle.NotMeasured", call, world.stranger, meter(1), period)


def test_deliver__node_behind_the_reports_last_bucket__is_not_measured(world: World) -> None:
    crowd(world, 256)
    period = world.market.schedule.period_at(world.now()) + 1
    world.warp(world.market.schedule.close(period))
    reading = measured(1, 5)
    world.report(period, [reading])
    query = ask(world, create_asker(world), EXPORT, period, 256)
    call = deliver_call(world, query, reading)
    refused("Oracle.NotMeasured", call, world.stranger, meter(256), period)


# -- asking


def test_query__by_an_account__is_refused(world: World) -> None:
    call = world.market.oracle.functions.query(meter(1), 1, PLANNED, CALLBACK_GAS)
    refused("Oracle.NotAContract", call, world.stranger, world.stranger.address)


@pytest.mark.parametrize("gas", [29_999, 1_000_001])
def test_query__with_too_little_or_much_callback_gas__is_refused(world: World, gas: int) -> None:
    asker = create_asker(world)
    call = asker.functions.ask(meter(1), 1, PLANNED, gas)
    refused("Oracle.CallbackGasOutOfBounds", call, world.stranger, gas)


@pytest.mark.parametrize("gas", [30_000, 1_000_000])
def test_query__with_callback_gas_at_its_bounds__is_accepted(world: World, gas: int) -> None:
    assert ask(world, create_asker(world), PLANNED, 1, gas=gas) != bytes(32)


def test_query__of_an_unknown_meter__is_refused_for_energy_only(world: World) -> None:
    asker = create_asker(world)
    for kind in (EXPORT, IMPORT):
        call = asker.functions.ask(meter(9), 1, kind, CALLBACK_GAS)
        refused("Oracle.UnknownMeter", call, world.stranger, meter(9))
    assert ask(world, asker, SELLING, 1, node=9) != bytes(32)


# -- refunds and fees


def test_refund__after_the_window__returns_the_fee_to_the_consumer(world: World) -> None:
    world.join(1)
    period, asker = world.free_period(), create_asker(world)
    query = ask(world, asker, EXPORT, period)
    end = world.market.schedule.window_end(period)
    oracle = world.market.oracle
    call = oracle.functions.refund(query)
    world.warp(end - 1)
    refused("Oracle.RefundTooEarly", call, world.stranger, query, end)
    receipt = send_at(world, end, world.stranger, call)
    assert events(receipt, oracle, "Refunded")[0]["feeWei"] == FEE_WEI
    world.chain.send(world.stranger, asker.functions.collectFees())
    assert world.chain.w3.eth.get_balance(asker.address) == FEE_WEI
    assert fees(world, asker.address) == 0
    refused("Oracle.UnknownQuery", call, world.stranger, query)


def test_collect_fees__earned__reach_the_deliverer(world: World) -> None:
    period = priced_period(world)
    query = ask(world, create_asker(world), PLANNED, period)
    world.chain.send(world.deployer, deliver_call(world, query))
    before = world.chain.w3.eth.get_balance(world.deployer.address)
    receipt = world.chain.send(world.deployer, world.market.oracle.functions.collectFees())
    paid = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert world.chain.w3.eth.get_balance(world.deployer.address) == before - paid + FEE_WEI
    assert world.chain.w3.eth.get_balance(world.market.oracle.address) == 0


def test_collect_fees__none__is_refused(world: World) -> None:
    call = world.market.oracle.functions.collectFees()
    refused("Oracle.NothingPaid", call, world.stranger, world.stranger.address, 0)


def test_collect_fees__refused_by_the_receiver__stay_collectable(world: World) -> None:
    world.join(1)
    period, asker = world.market.schedule.period_at(world.now()), create_asker(world)
    query = ask(world, asker, EXPORT, period)
    world.chain.send(world.stranger, asker.functions.refuseMoney())
    world.warp(world.market.schedule.window_end(period))
    world.chain.send(world.stranger, world.market.oracle.functions.refund(query))
    collect = asker.functions.collectFees()
    refused("Oracle.NothingPaid", collect, world.stranger, asker.address, FEE_WEI)
    assert fees(world, asker.address) == FEE_WEI


# -- consumers that misbehave


def create_asker(world: World, kind: str = "Asker") -> Contract:
    """Create a consumer."""
    return create(world, kind, world.market.oracle.address)


@pytest.mark.parametrize("kind", ["RefusingAsker", "BurningAsker", "BabblingAsker"])
def test_deliver__to_a_consumer_that_misbehaves__costs_no_more_than_its_gas_and_pays(
    world: World, kind: str
) -> None:
    period = priced_period(world)
    query = ask(world, create_asker(world, kind), PLANNED, period)
    receipt = world.chain.send(world.deployer, deliver_call(world, query))
    (event,) = events(receipt, world.market.oracle, "Delivered")
    assert event["success"] == (kind == "BabblingAsker")
    assert receipt["gasUsed"] < CALLBACK_GAS + 150_000
    assert fees(world, world.deployer.address) == FEE_WEI


def test_deliver__with_too_little_gas__is_refused_rather_than_failing_the_callback(
    world: World,
) -> None:
    period, asker = priced_period(world), create_asker(world)
    query = ask(world, asker, PLANNED, period)
    call = deliver_call(world, query)
    for gas in (120_000, 180_000, 240_000):
        data = refusal(call, world.deployer, gas=gas)
        assert data is not None
        left, needed = named("Oracle.GasTooLow", data)
        assert left < needed == CALLBACK_GAS * 64 // 63 + 20_000
    # The least gas that works at all gives the callback everything it was promised.
    world.chain.send(world.deployer, call, gas=least_gas(world, call))
    assert world.chain.read(asker.functions.answer()) == PENG.planned_uyuan_per_kwh
    assert world.chain.read(asker.functions.gasGiven()) > CALLBACK_GAS - 70_000


def least_gas(world: World, call: ContractFunction) -> int:
    """Return the least gas with which a call goes through."""
    low, high = 100_000, 1_000_000
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if refusal(call, world.deployer, gas=middle) is None else (middle, high)
        )
    return high


def test_deliver__reentered__answers_once_and_lets_nothing_be_taken(world: World) -> None:
    period, asker = priced_period(world), create_asker(world, "ReenteringAsker")
    query = ask(world, asker, PLANNED, period, gas=1_000_000)
    world.chain.send(world.deployer, deliver_call(world, query))
    tried = world.chain.read(asker.functions.attempts())
    assert tried == 3
    assert world.chain.read(asker.functions.refusals()) == tried
    assert fees(world, world.deployer.address) == FEE_WEI
    assert world.chain.w3.eth.get_balance(world.market.oracle.address) == FEE_WEI


def test_callback__by_anybody_but_the_oracle__is_refused(world: World) -> None:
    asker = create_asker(world)
    call = asker.get_function_by_name("__callback")(bytes(32), 1)
    refused("Asker.NotOracle", call, world.stranger, world.stranger.address)
