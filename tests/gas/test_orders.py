"""What an order costs to place, to the unit of gas, against the committed snapshot.

`SUBGRID_GAS=write pytest tests/gas` writes a new snapshot after a deliberate change.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.gas.orders import BATCH, FIRST_PERIOD, RING, SINGLES, fill
from tests.gas.trade import Costs, gas_world, populate

SNAPSHOT = Path(__file__).with_name("orders.json")
NODES = 2 * BATCH + SINGLES
BATCHED_CEILING, OWN_CEILING = 15_900, 62_100
"""Most gas of an order of a full batch, and of one by own transaction, in storage used before."""

BATCHES = ("first batch", "batch")

Gas = dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def gas() -> Gas:
    """Gas by order in two periods that share storage: one writes it, the other rewrites it."""
    fresh, steady = Costs(), Costs()
    with gas_world() as world:
        populate(world, NODES, Costs())
        fill(world, FIRST_PERIOD, NODES, fresh)
        world.warp(world.market.schedule.gate(FIRST_PERIOD))
        world.keeper.clear(FIRST_PERIOD)
        world.warp(world.market.schedule.gate(FIRST_PERIOD + RING - 3))
        fill(world, FIRST_PERIOD + RING, NODES, steady)
        assert len(world.history.book(FIRST_PERIOD + RING).by_node()) == NODES
    return {
        phase: {k: v // BATCH if k in BATCHES else v for k, v in costs.steps.items()}
        for phase, costs in (("fresh", fresh), ("steady", steady))
    }


def test_gas__of_placing_orders__is_the_snapshots(gas: Gas) -> None:
    if os.environ.get("SUBGRID_GAS") == "write":
        SNAPSHOT.write_text(json.dumps(gas, indent=2) + "\n", encoding="utf-8")
        return
    known = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert gas == known, "if that is meant, run: SUBGRID_GAS=write pytest tests/gas"


def test_gas__of_an_order_in_a_batch__is_a_quarter_of_one_alone(gas: Gas) -> None:
    for phase in gas.values():
        assert 4 * phase["batch"] < phase["relayed"]


def test_gas__of_orders_in_used_storage__is_below_its_ceilings(gas: Gas) -> None:
    assert gas["steady"]["first batch"] <= BATCHED_CEILING
    assert gas["steady"]["own"] <= OWN_CEILING
