"""Clearing a book on chain: checked, voted on, reopened, void; and who can hold it up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction
from web3.types import TxParams

from market.clear_calls import FRESH, ClearJob, clear_call, prove
from market.clearing import Rule
from market.clearing.claims import decode_claim, encode_claim
from market.devnet import rpc
from market.messages import Order, Step
from market.types import Options
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    crowd,
    events,
    measured,
    offer,
    refused,
    trading,
)
from tests.world import LIMITS, PENG, World, new_world

OPEN, CHECKED, CLEARED, VOID, SETTLED = range(5)
KWH = 1_000
LOW, HIGH = 400_000, 450_000
PRICE = (LOW + HIGH) // 2


def order(
    period: int, node: int, limit: int, *, sells: bool, wh: int = KWH, nonce: int = 0
) -> Order:
    """Return an order of one step."""
    options = Options.RESERVE if sells else Options.TAKE
    return Order(node, period, period, (Step(sells, wh, limit),), nonce, options)


def ordered(world: World, nodes: tuple[int, int] = (1, 2)) -> int:
    """Return a period in which one node asks and another bids, a kWh each."""
    crowd(world, max(nodes))
    for node in (0, *nodes):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    ask, bid = nodes
    for placed in (order(period, ask, LOW, sells=True), order(period, bid, HIGH, sells=False)):
        world.place(period, placed)
    return period


def at_gate(world: World, nodes: tuple[int, int] = (1, 2)) -> int:
    """The same, at the period's gate."""
    period = ordered(world, nodes)
    world.warp(world.market.schedule.gate(period))
    return period


def stage(world: World, period: int) -> int:
    return world.history.state(period).stage


def call_of(
    world: World,
    period: int,
    pages: list[bytes] | None = None,
    *,
    claim: bytes | None = None,
    headroom: bytes = b"",
    feed: bytes = b"",
    job: ClearJob = FRESH,
) -> ContractFunction:
    """Return a call that clears, the valid one unless told otherwise."""
    proof = prove(world.market, world.history, period)
    return world.market.master.functions.clear(
        period,
        proof.claim if claim is None else claim,
        headroom,
        feed,
        job,
        proof.pages if pages is None else pages,
    )


def jobs(world: World, period: int, attempt: int = 0) -> list[ClearJob]:
    """Return what checks of the valid claim have come to."""
    claim = prove(world.market, world.history, period).claim
    return world.history.clear_jobs(period, attempt, claim)


def as_oracle(world: World, call: ContractFunction) -> None:
    """Send a call as if the committee had decided it."""
    oracle = world.market.oracle.address
    rpc(world.url, "anvil_impersonateAccount", [oracle])
    rpc(world.url, "anvil_setBalance", [oracle, hex(10**20)])
    tx: TxParams = {"from": oracle}
    world.chain.wait(call.transact(tx))
    rpc(world.url, "anvil_stopImpersonatingAccount", [oracle])


def wrong_claim(world: World, period: int) -> bytes:
    """Return a claim at another price."""
    zone, *_ = decode_claim(prove(world.market, world.history, period).claim)
    return encode_claim([zone._replace(price_uyuan_per_kwh=zone.price_uyuan_per_kwh + 1)])


def job_hash(claim: bytes, job: ClearJob, attempt: int = 0) -> bytes:
    """Return what the master calls a job of a market's check."""
    check = keccak(encode(["uint16", "uint8", "bytes32"], [attempt, 0, keccak(claim)]))
    return keccak(encode(["bytes32", "(uint32,uint32,bytes32,bytes)"], [check, job]))


# -- from the gate to the money


def test_clear__of_a_book__is_checked_then_cleared_by_the_vote(world: World) -> None:
    period = at_gate(world)
    receipt = world.chain.send(world.stranger, call_of(world, period))
    (checked,) = events(receipt, world.market.master, "Checked")
    (fixed,) = events(receipt, world.market.master, "PositionsFixed")
    assert stage(world, period) == CHECKED
    assert not world.chain.read(world.market.master.functions.isCleared(period))
    (zone,) = decode_claim(checked["claim"])
    assert zone.price_uyuan_per_kwh == PRICE
    assert (checked["attempt"], checked["buckets"]) == (0, 1)
    assert checked["root"] == fixed["root"]

    (cleared,) = events(world.approve_clearing(period), world.market.master, "Cleared")
    assert (cleared["root"], cleared["buckets"], cleared["void"]) == (checked["root"], 1, False)
    assert stage(world, period) == CLEARED
    seller, buyer = world.history.positions(period)
    assert (seller.sold_wh, seller.receive_nyuan, seller.options) == (
        KWH, KWH * PRICE, Options.RESERVE,
    )  # fmt: skip
    assert (buyer.bought_wh, buyer.pay_nyuan, buyer.options) == (KWH, KWH * PRICE, Options.TAKE)
    cap, fee = LIMITS.price_cap_uyuan_per_kwh, LIMITS.fee_cap_uyuan_per_kwh
    assert (seller.locked_uyuan, buyer.locked_uyuan) == (cap, HIGH + fee)

    world.warp(world.market.schedule.close(period))
    world.report(period, [measured(1, export_wh=KWH), measured(2, import_wh=KWH)])
    assert world.keeper.settle(period)
    assert world.balance(1) == (FUNDS_UYUAN + PRICE, 0)
    assert world.balance(2) == (FUNDS_UYUAN - PRICE, 0)


def test_clear__of_agreements_and_orders__adds_them_up(world: World) -> None:
    period = ordered(world)
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period))
    world.warp(world.market.schedule.gate(period))
    world.keeper.clear(period)
    world.approve_clearing(period)
    seller, buyer = world.history.positions(period)
    agreed = 10 * KWH * PENG.planned_uyuan_per_kwh
    assert (seller.sold_wh, seller.receive_nyuan) == (11 * KWH, agreed + KWH * PRICE)
    assert (buyer.bought_wh, buyer.pay_nyuan) == (11 * KWH, agreed + KWH * PRICE)
    assert seller.locked_uyuan == world.balance(1)[1]
    assert buyer.locked_uyuan == world.balance(2)[1]


def test_clear__undecided_at_the_last_call__is_void_by_itself(world: World) -> None:
    period = at_gate(world)
    world.keeper.clear(period)
    world.warp(world.market.schedule.last_call(period) - 1)
    assert stage(world, period) == CHECKED
    world.warp(world.market.schedule.last_call(period))
    assert stage(world, period) == VOID
    assert world.chain.read(world.market.master.functions.isCleared(period))
    assert world.chain.read(world.market.master.functions.clearingOf(period))[2]

    world.warp(world.market.schedule.close(period))
    world.report(period, [measured(1), measured(2)])
    assert world.keeper.settle(period)
    assert world.history.void(period)
    assert [world.balance(node) for node in (1, 2)] == [(FUNDS_UYUAN, 0)] * 2


def test_clear__of_a_book_at_the_last_call__is_void_without_a_claim(world: World) -> None:
    period = at_gate(world)
    in_time = call_of(world, period)
    world.warp(world.market.schedule.last_call(period))
    refused("Master.NothingToClaim", in_time, world.stranger, period)
    world.keeper.clear(period)
    assert stage(world, period) == VOID
    assert [p.sold_wh + p.bought_wh for p in world.history.positions(period)] == [0, 0]
    world.warp(world.market.schedule.close(period))
    world.report(period, [measured(1), measured(2)])
    assert world.keeper.settle(period)
    assert [world.balance(node) for node in (1, 2)] == [(FUNDS_UYUAN, 0)] * 2


def test_clear__of_a_cancelled_book__needs_no_vote(world: World) -> None:
    period = ordered(world)
    for node in (1, 2):
        world.cancel(period, node, 1)
    world.warp(world.market.schedule.gate(period))
    assert prove(world.market, world.history, period).claim == b""
    world.keeper.clear(period)
    assert stage(world, period) == CLEARED
    assert world.history.positions(period) == []


def test_clear__after_a_cancel_and_a_new_order__takes_the_new_one(world: World) -> None:
    period = ordered(world)
    world.cancel(period, 1, 1)
    world.place(period, order(period, 1, LOW, sells=True, wh=700, nonce=1))
    world.warp(world.market.schedule.gate(period))
    world.keeper.clear(period)
    world.approve_clearing(period)
    assert [(p.sold_wh, p.bought_wh) for p in world.history.positions(period)] == [
        (700, 0), (0, 700),
    ]  # fmt: skip


def test_clear__where_no_price_may_be_traded_at__leaves_orders_out() -> None:
    floor = PENG.compensation_uyuan_per_kwh + 1
    with new_world(limits=replace(LIMITS, trade_floor_uyuan_per_kwh=floor)) as world:
        period = at_gate(world)
        assert prove(world.market, world.history, period).claim == b""
        world.keeper.clear(period)
        assert stage(world, period) == CLEARED
        assert [p.sold_wh + p.bought_wh for p in world.history.positions(period)] == [0, 0]


@pytest.mark.parametrize(
    ("rule", "price"), [(Rule.PLANNED, PENG.planned_uyuan_per_kwh), (Rule.PAIRWISE, PRICE)]
)
def test_clear__under_another_rule__pays_its_price(rule: Rule, price: int) -> None:
    with new_world(rule=rule) as world:
        period = at_gate(world)
        world.keeper.clear(period)
        world.approve_clearing(period)
        assert [(p.receive_nyuan, p.pay_nyuan) for p in world.history.positions(period)] == [
            (KWH * price, 0), (0, KWH * price),
        ]  # fmt: skip


# -- what is refused


def test_clear__of_other_pages__is_refused(world: World) -> None:
    period = at_gate(world)
    (page,) = prove(world.market, world.history, period).pages
    first, second = page[:18], page[18:]
    swapped, merged = second + first, b"\x00\x02" + first[2:] + second[2:]
    more = page + b"\x00\x01" + bytes(16)
    for wrong in (b"", first, second, swapped, merged, more, page[:-1], page + b"\x00"):
        call = call_of(world, period, [wrong])
        refused("Master.WrongPage", call, world.stranger, period, 0)


def test_clear__with_another_periods_pages__is_refused(world: World) -> None:
    period = ordered(world)
    later = period + 1
    for node, limit in ((1, LOW), (2, HIGH)):
        world.place(later, order(later, node, limit, sells=node == 1, wh=900))
    world.warp(world.market.schedule.gate(later))
    pages = prove(world.market, world.history, later).pages
    refused("Master.WrongPage", call_of(world, period, pages), world.stranger, period, 0)


def test_clear__with_more_pages_than_buckets__is_refused(world: World) -> None:
    period = at_gate(world)
    pages = [*prove(world.market, world.history, period).pages, b""]
    refused("Master.TooManyPages", call_of(world, period, pages), world.stranger, 2, 1)


def test_clear__of_another_claim__is_refused_by_the_rule(world: World) -> None:
    period = at_gate(world)
    call = call_of(world, period, claim=wrong_claim(world, period))
    refused("Uniform.WrongPrice", call, world.stranger, 0, PRICE)


def test_clear__with_a_headroom_nobody_fixed__is_refused(world: World) -> None:
    period = at_gate(world)
    call = call_of(world, period, headroom=bytes(8))
    refused("Grid.WrongHeadroom", call, world.stranger, period, bytes(28))


@pytest.mark.parametrize("given", [(b"\x00", b"", b""), (b"", b"\x00", b""), (b"", b"", b"\x00")])
def test_clear__of_an_empty_book_with_a_claim__is_refused(
    world: World, given: tuple[bytes, bytes, bytes]
) -> None:
    period = trading(world)
    world.warp(world.market.schedule.gate(period))
    claim, headroom, feed = given
    call = call_of(world, period, claim=claim, headroom=headroom, feed=feed)
    refused("Master.NothingToClaim", call, world.stranger, period)


# -- in several calls


def test_clear__in_calls_of_a_bucket__goes_on_from_anybodys_job(world: World) -> None:
    period = at_gate(world, (1, 256))
    for sender, done in ((world.stranger, OPEN), (world.grid, CHECKED)):
        assert stage(world, period) == OPEN
        world.chain.send(sender, clear_call(world.market, world.history, period, 1))
        assert stage(world, period) == done
    world.approve_clearing(period)
    assert [(p.node, p.sold_wh) for p in world.history.positions(period)] == [(1, KWH), (256, 0)]


def test_clear__with_jobs_of_every_kind_around__ends_from_the_sound_one(world: World) -> None:
    period = at_gate(world, (1, 256))
    first, second = prove(world.market, world.history, period).pages
    wrong = call_of(world, period, [first], claim=wrong_claim(world, period))
    world.chain.send(world.stranger, wrong)  # nothing is wrong with it so far
    whole = call_of(world, period)
    world.chain.send(world.stranger, call_of(world, period, []))
    world.chain.send(world.stranger, call_of(world, period, [first]))
    early, late = jobs(world, period)
    assert (early[1], late[1]) == (0, 1)
    # Each of them ends the check: from the start, from the middle, and from before the first page.
    for call in (
        whole,
        call_of(world, period, [second], job=late),
        call_of(world, period, [first, second], job=early),
    ):
        snapshot = rpc(world.url, "evm_snapshot")
        world.chain.send(world.stranger, call)
        assert stage(world, period) == CHECKED
        assert len(world.history.position_buckets(period)) == 2
        rpc(world.url, "evm_revert", [snapshot])
    (bent,) = world.history.clear_jobs(period, 0, wrong_claim(world, period))
    end = call_of(world, period, [second], claim=wrong_claim(world, period), job=bent)
    refused("Uniform.WrongPrice", end, world.stranger, 0, PRICE)


def test_clear__from_a_job_nobody_came_to__is_refused(world: World) -> None:
    period = at_gate(world, (1, 256))
    first, second = prove(world.market, world.history, period).pages
    world.chain.send(world.stranger, call_of(world, period, [first]))
    (job,) = jobs(world, period)
    claim = prove(world.market, world.history, period).claim
    buckets, bucket, root, state = job
    forged = [
        (buckets + 1, bucket, root, state),
        (buckets, 0, root, state),
        (buckets, bucket, bytes(32), state),
        (buckets, bucket, root, bytes(len(state))),
    ]
    for other in forged:
        call = call_of(world, period, [second], job=other)
        refused("Master.UnknownJob", call, world.stranger, period, job_hash(claim, other))
    other_claim = wrong_claim(world, period)
    call = call_of(world, period, [second], claim=other_claim, job=job)
    refused("Master.UnknownJob", call, world.stranger, period, job_hash(other_claim, job))


def test_clear__from_a_job_of_an_earlier_attempt__is_refused(world: World) -> None:
    period = at_gate(world, (1, 256))
    first, second = prove(world.market, world.history, period).pages
    claim = prove(world.market, world.history, period).claim
    world.chain.send(world.stranger, call_of(world, period, [first]))
    (job,) = jobs(world, period)
    world.chain.send(world.stranger, call_of(world, period, [second], job=job))
    as_oracle(world, world.market.master.functions.reopen(period))
    call = call_of(world, period, [second], job=job)
    refused("Master.UnknownJob", call, world.stranger, period, job_hash(claim, job, attempt=1))
    world.keeper.clear(period)
    assert stage(world, period) == CHECKED


def test_clear__once_checked__does_nothing(world: World) -> None:
    period = at_gate(world)
    call = call_of(world, period)
    world.chain.send(world.stranger, call)
    receipt = world.chain.send(world.stranger, call)
    assert receipt["logs"] == []


# -- the committee's word


def test_reopen__of_a_checked_clearing__opens_the_next_attempt(world: World) -> None:
    period = at_gate(world)
    world.keeper.clear(period)
    master = world.market.master.functions
    _, root, _ = world.chain.read(master.clearingOf(period))
    as_oracle(world, master.reopen(period))
    assert world.chain.read(master.clearingOf(period)) == [1, bytes(32), False]
    assert stage(world, period) == OPEN
    world.keeper.clear(period)
    assert world.chain.read(master.clearingOf(period)) == [1, root, False]
    world.approve_clearing(period)
    assert stage(world, period) == CLEARED
    assert [p.sold_wh for p in world.history.positions(period)] == [KWH, 0]


def test_decisions__by_anybody_but_the_oracle__are_refused(world: World) -> None:
    period = at_gate(world)
    world.keeper.clear(period)
    master = world.market.master.functions
    for who in (world.stranger, world.grid, world.deployer, world.seats[0]):
        for call in (master.authenticate(period, 0), master.reopen(period)):
            refused("Master.OnlyOracle", call, who, who.address)


def test_decisions__without_a_checked_clearing_of_the_attempt__are_refused(world: World) -> None:
    period = at_gate(world)
    master, oracle = world.market.master.functions, world.market.oracle.address
    for call in (master.authenticate(period, 0), master.reopen(period)):
        refused("Master.NotChecked", call, oracle, period, 0)
    world.keeper.clear(period)
    refused("Master.NotChecked", master.authenticate(period, 1), oracle, period, 1)
    as_oracle(world, master.authenticate(period, 0))
    for call in (master.authenticate(period, 0), master.reopen(period)):
        refused("Master.NotChecked", call, oracle, period, 0)


def test_decisions__from_the_last_call_on__are_refused(world: World) -> None:
    period = at_gate(world)
    world.keeper.clear(period)
    start = world.market.schedule.last_call(period)
    master, oracle = world.market.master.functions, world.market.oracle.address
    world.warp(start)
    for call in (master.authenticate(period, 0), master.reopen(period)):
        refused("Master.LastCallPassed", call, oracle, period, start)
