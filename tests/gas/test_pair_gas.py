"""What a pair of orders costs, everything included: one buys, one sells, from order to money."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest

from tests.gas.pair import play
from tests.gas.test_clear_gas import BUSES, RURAL1
from tests.gas.trade import FIRST_PERIOD, Costs, gas_world, populate

SNAPSHOT = Path(__file__).with_name("pair.json")
SIZES = (2, 100, 400)
RING = 128
"""Periods this far apart share the book's storage."""

CEILING = 75_000
"""Gas of a pair at 100 orders on storage that has been used before."""


@cache
def measure(nodes: int) -> dict[str, dict[str, int]]:
    """Play two periods that share storage, the first writing it, the second rewriting it."""
    fresh, steady = Costs(), Costs()
    with gas_world(RURAL1) as world:
        populate(world, nodes, Costs(), BUSES)
        play(world, FIRST_PERIOD, nodes, fresh)
        play(world, FIRST_PERIOD + RING, nodes, steady)
    return {"fresh": _summary(fresh, nodes), "steady": _summary(steady, nodes)}


def _summary(costs: Costs, nodes: int) -> dict[str, int]:
    period = sum(costs.steps.values())
    return {**costs.steps, "period": period, "per pair": period // (nodes // 2)}


@pytest.mark.parametrize("nodes", SIZES)
def test_gas__of_a_pair_of_orders__is_the_snapshots(nodes: int) -> None:
    known = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.exists() else {}
    if os.environ.get("SUBGRID_GAS") == "write":
        known[f"{nodes} orders"] = measure(nodes)
        SNAPSHOT.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        return
    assert measure(nodes) == known[f"{nodes} orders"], "if that is meant, run: SUBGRID_GAS=write"


def test_gas__of_a_pair_among_a_hundred_orders__is_below_its_ceiling() -> None:
    assert measure(100)["steady"]["per pair"] <= CEILING
