"""What clearing a book costs on a feeder, master, book and grid included, and how it grows."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from random import Random

import pytest

from market.chain import TX_GAS_LIMIT
from market.clear_calls import clear_call, prove
from market.clearing import Rule
from market.clearing.claims import ZONE_BYTES
from market.devnet import Anvil
from market.messages import Order, Step
from market.packing import bucket_of
from tests.bare_chain import Chain
from tests.gas.trade import FIRST_PERIOD, Costs, gas_world, populate
from tests.pair_books import random_book
from tests.pool_books import PoolCase, Pools
from tests.world import PENG

SNAPSHOT = Path(__file__).with_name("clear_snapshot.json")
RURAL1 = Path(__file__).resolve().parents[2] / "data" / "simbench-rural1" / "grid.json"
BUSES = 15
BATCH = 50
SIZES = (2, 100, 400)

TRANSACTION_BYTES = 128 * 1024


def order(period: int, node: int) -> Order:
    """Return a node's order, the same in every run: odd nodes sell, even ones buy."""
    draw = Random(node)
    limit = draw.randint(PENG.selling_uyuan_per_kwh, PENG.compensation_uyuan_per_kwh)
    step = Step(node % 2 == 1, draw.randint(1_000, 9_000), limit)
    return Order(node, period, period, (step,))


@cache
def measure(nodes: int) -> dict[str, int]:
    """Clear an order of every node, without and with zones of their own prices."""
    with gas_world(RURAL1) as world:
        populate(world, nodes, Costs(), BUSES)
        schedule = world.market.schedule
        for bucket in range(bucket_of(nodes) + 1):
            mine = [n for n in range(1, nodes + 1) if bucket_of(n) == bucket]
            for first in range(0, len(mine), BATCH):
                batch = [order(FIRST_PERIOD, n) for n in mine[first : first + BATCH]]
                world.place_batch(FIRST_PERIOD, batch)
        world.warp(schedule.gate(FIRST_PERIOD))
        proof = prove(world.market, world.history, FIRST_PERIOD)
        call = clear_call(world.market, world.history, FIRST_PERIOD)
        receipt = world.chain.send(world.stranger, call)
        assert world.history.state(FIRST_PERIOD).stage == 1
        return {"zones": len(proof.claim) // ZONE_BYTES, "gas": receipt["gasUsed"]}


@pytest.mark.parametrize("nodes", SIZES)
def test_gas__of_a_clearing__is_the_snapshots(nodes: int) -> None:
    known = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.exists() else {}
    if os.environ.get("SUBGRID_GAS") == "write":
        known[f"{nodes} orders"] = measure(nodes)
        SNAPSHOT.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        return
    assert measure(nodes) == known[f"{nodes} orders"], "if that is meant, run: SUBGRID_GAS=write"


def test_gas__of_a_hundred_orders__is_below_its_ceiling() -> None:
    assert measure(100)["gas"] <= 600_000


def test_gas__of_more_orders__grows_no_faster_than_they_do() -> None:
    few, many = measure(100)["gas"], measure(400)["gas"]
    assert many <= 4.2 * few
    assert (many - few) // 300 <= 2_500


@pytest.mark.parametrize("rule", [Rule.UNIFORM, Rule.PLANNED])
@pytest.mark.parametrize(("buses", "room_wh"), [(1, 0), (129, 300_000)], ids=["free", "bound"])
def test_gas__of_five_thousand_orders_in_calls__fits_transactions(
    rule: Rule, buses: int, room_wh: int
) -> None:
    book = random_book(5_000, buses, room_wh)
    case = PoolCase(rule, book, planned=425_000)
    claim, state, spent = case.claim(), b"", []
    with Anvil() as anvil:
        chain = Chain(anvil.url)
        pools = Pools(chain)
        for begin in range(0, book.buckets, 5):
            part, last = slice(begin, begin + 5), begin + 5 >= book.buckets
            data = pools.data(case, claim, state=state, buckets=part, last=last)
            assert len(data) < TRANSACTION_BYTES
            spent.append(pools.spend(rule, data))
            _, state = pools.check(case, claim, state=state, buckets=part, last=last)
    assert max(spent) < TX_GAS_LIMIT
    assert sum(spent) < 5_000 * 2_500
