"""What a seat does for strangers on a real chain: within its gas limits, and never in vain."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from market.devnet import rpc
from market.packing import pack_readings
from market.types import MeterReading
from oracle.actor import ERRAND_REST_S, MOST_ERRANDS, Actor
from oracle.duties.queries import COLLECT_GAS
from oracle.duties.situation import CollectFees, Deliver
from oracle.follower import Follower, Head
from oracle.journal import Journal
from oracle.purse import LOOK_BLOCKS, Purse
from oracle.queries import Query, QueryKind
from oracle.sender import Sender
from tests.unit.contracts.support import crowd, measured
from tests.unit.contracts.test_queries import (
    EXPORT,
    FEE_WEI,
    PLANNED,
    ask,
    create_asker,
    deliver_call,
    fees,
    meter,
    priced_period,
)
from tests.world import PENG, World, undone

SEAT = 1


class Desk:
    """A seat at work on a chain."""

    def __init__(self, world: World, journal: Path) -> None:
        self.world, self.key = world, world.seats[SEAT]
        self.journal = Journal(journal)
        self.follower = Follower(world.market, self.journal, 0, 1_000)
        self.sender = Sender(world.chain, self.key, self.journal)
        self.actor = Actor(world.market, SEAT, self.key, self.journal, self.sender)

    def queries(self) -> list[Query]:
        """Return the open queries."""
        self.follower.sync(self.follower.look())
        return list(self.follower.queries)

    def do(self, action: Deliver | CollectFees) -> bool:
        return self.actor.do(action, self.follower.view, self.head)

    def done(self) -> None:
        """Wait for what was sent, and see what became of it."""
        for tx in self.journal.open_transactions():
            self.world.chain.wait(tx.hash)
        self.follower.sync(self.head)
        self.sender.check(self.head, self.follower.followed)

    @property
    def head(self) -> Head:
        return self.follower.look()

    def sent(self) -> list[dict[str, Any]]:
        """Return the transactions that are under way."""
        raws = [tx.raw for tx in self.journal.open_transactions()]
        return [dict(TypedTransaction.from_bytes(HexBytes(raw)).as_dict()) for raw in raws]


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    return Desk(world, tmp_path / "journal.sqlite")


def delivery(query: Query, *readings: MeterReading, nodes: int = 0) -> Deliver:
    buckets = tuple(pack_readings(readings))
    return Deliver(query, query.delivery_gas(nodes), buckets, len(buckets) - 1)


def test_query__as_followed__is_what_was_asked(world: World, desk: Desk) -> None:
    world.join(1)
    period = priced_period(world)
    asker = create_asker(world)
    id_ = ask(world, asker, EXPORT, period, gas=77_000)
    asked_at = world.now()

    (query,) = desk.queries()

    assert (query.id, query.consumer) == (id_, asker.address.lower())
    assert (query.meter, query.period, query.kind) == (meter(1), period, QueryKind.EXPORT_WH)
    assert (query.callback_gas, query.fee_wei, query.asked_at) == (77_000, FEE_WEI, asked_at)


def test_deliver__price__is_sent_with_its_gas_and_closes_the_query(
    world: World, desk: Desk
) -> None:
    asker, period = create_asker(world), priced_period(world)
    ask(world, asker, PLANNED, period)
    (query,) = desk.queries()
    rpc(world.url, "evm_setAutomine", [False])
    action = delivery(query)
    assert desk.do(action)
    assert not desk.do(action)
    (tx,) = desk.sent()
    assert tx["gas"] == action.gas
    rpc(world.url, "evm_setAutomine", [True])
    rpc(world.url, "evm_mine")
    desk.done()

    assert desk.queries() == []
    assert world.chain.read(asker.functions.answer()) == PENG.planned_uyuan_per_kwh
    assert fees(world, desk.key.address) == FEE_WEI
    assert desk.journal.transaction_counts() == {"mined": 1}


@pytest.mark.parametrize("kind", ["Asker", "BurningAsker", "BabblingAsker"])
@pytest.mark.parametrize("nodes", [1, 255, 511])
def test_deliver__energy_in_the_dearest_report__has_enough_gas(
    world: World, desk: Desk, nodes: int, kind: str
) -> None:
    crowd(world, nodes)
    period = world.market.schedule.period_at(world.now()) + 1
    world.warp(world.market.schedule.close(period))
    readings = [measured(node, 2**40 - 1, 2**40 - 1) for node in range(1, nodes + 1)]
    world.report(period, readings)
    asker = create_asker(world, kind)
    ask(world, asker, EXPORT, period, node=nodes, gas=1_000_000)
    (query,) = desk.queries()
    assert desk.do(delivery(query, *readings, nodes=nodes))
    desk.done()

    assert desk.journal.transaction_counts() == {"mined": 1}
    assert desk.queries() == []
    if kind == "Asker":
        assert world.chain.read(asker.functions.answer()) == 2**40 - 1
        assert world.chain.read(asker.functions.gasGiven()) > 1_000_000 - 70_000


def test_deliver__somebody_was_faster__sends_nothing_and_lets_it_rest(
    world: World, desk: Desk
) -> None:
    period = priced_period(world)
    id_ = ask(world, create_asker(world), PLANNED, period)
    (query,) = desk.queries()
    world.chain.send(world.stranger, deliver_call(world, id_))

    assert not desk.do(delivery(query))

    assert desk.journal.transaction_counts() == {}
    purpose, now = delivery(query).purpose, desk.head.at
    assert desk.sender.holds(purpose, now + ERRAND_REST_S - 1)
    assert not desk.sender.holds(purpose, now + ERRAND_REST_S)


def test_deliver__overtaken_in_the_same_block__is_no_alarm(
    world: World, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    period = priced_period(world)
    id_ = ask(world, create_asker(world), PLANNED, period)
    (query,) = desk.queries()
    rpc(world.url, "evm_setAutomine", [False])
    world.chain.submit(world.stranger, deliver_call(world, id_), gas=1_000_000)
    assert desk.do(delivery(query))
    rpc(world.url, "evm_setAutomine", [True])
    rpc(world.url, "evm_mine")
    with caplog.at_level(logging.INFO):
        desk.done()

    assert desk.journal.transaction_counts() == {"reverted": 1}
    (line,) = [record for record in caplog.records if record.msg == "refused"]
    assert line.levelno == logging.INFO
    assert "UnknownQuery" in str(line.fields["problem"])  # type: ignore[attr-defined]
    assert fees(world, desk.key.address) == 0


def test_query__whose_answer_is_taken_back__is_open_again(world: World, desk: Desk) -> None:
    period = priced_period(world)
    id_ = ask(world, create_asker(world), PLANNED, period)
    (query,) = desk.queries()
    with undone(world):
        world.chain.send(world.stranger, deliver_call(world, id_))
        assert desk.queries() == []
    world.warp(world.now() + 60)
    assert desk.queries() == [query]


def test_deliver__many_at_once__only_a_few_are_under_way(world: World, desk: Desk) -> None:
    asker, period = create_asker(world), priced_period(world)
    for _ in range(MOST_ERRANDS + 2):
        ask(world, asker, PLANNED, period)
    rpc(world.url, "evm_setAutomine", [False])
    sent = [desk.do(delivery(query)) for query in desk.queries()]
    rpc(world.url, "evm_setAutomine", [True])
    rpc(world.url, "evm_mine")
    assert sent == [True] * MOST_ERRANDS + [False] * 2
    desk.done()
    assert [desk.do(delivery(query)) for query in desk.queries()] == [True] * 2


def test_collect__what_was_earned__is_paid_out_and_only_once(world: World, desk: Desk) -> None:
    purse = Purse(world.market, desk.key.address)
    assert not desk.do(CollectFees())
    world.warp(world.now() + ERRAND_REST_S + 1)
    ask(world, create_asker(world), PLANNED, priced_period(world))
    (query,) = desk.queries()
    assert desk.do(delivery(query))
    purse.look(LOOK_BLOCKS)
    assert purse.earned_wei == FEE_WEI

    desk.done()
    assert desk.do(CollectFees())
    (tx,) = desk.sent()
    assert tx["gas"] == COLLECT_GAS
    desk.done()

    assert desk.journal.transaction_counts() == {"mined": 2}
    assert fees(world, desk.key.address) == 0
    assert not desk.do(CollectFees())
