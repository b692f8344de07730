"""What a pair of orders costs, everything included: one buys, one sells, from order to money."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest

from market.clearing import Rule
from tests.gas.pair import play
from tests.gas.test_clear_gas import BUSES, RURAL1
from tests.gas.trade import FIRST_PERIOD, Costs, gas_world, populate

SNAPSHOT = Path(__file__).with_name("pair.json")
RING = 128
"""Periods this far apart share the book's storage."""

CEILING = 75_000
"""Gas of a pair at 100 orders on storage that has been used before."""

CLEARING_CEILING = 600_000


CASES = (
    (2, Rule.UNIFORM),
    (100, Rule.UNIFORM),
    (400, Rule.UNIFORM),
    (100, Rule.PLANNED),
    (100, Rule.PAIRWISE),
)


@cache
def measure(nodes: int, rule: Rule = Rule.UNIFORM) -> dict[str, dict[str, int]]:
    """Play two periods that share storage, the first writing it, the second rewriting it."""
    fresh, steady = Costs(), Costs()
    with gas_world(RURAL1, rule) as world:
        populate(world, nodes, Costs(), BUSES)
        play(world, FIRST_PERIOD, nodes, fresh)
        play(world, FIRST_PERIOD + RING, nodes, steady)
    return {"fresh": _summary(fresh, nodes), "steady": _summary(steady, nodes)}


def _summary(costs: Costs, nodes: int) -> dict[str, int]:
    period = sum(costs.steps.values())
    return {**costs.steps, "period": period, "per pair": period // (nodes // 2)}


@pytest.mark.parametrize(("nodes", "rule"), CASES)
def test_gas__of_a_pair_of_orders__is_the_snapshots(nodes: int, rule: Rule) -> None:
    name = f"{nodes} orders, {rule.value}"
    known = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.exists() else {}
    if os.environ.get("SUBGRID_GAS") == "write":
        known[name] = measure(nodes, rule)
        SNAPSHOT.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        return
    assert measure(nodes, rule) == known[name], "if that is meant, run: SUBGRID_GAS=write"


@pytest.mark.parametrize("rule", Rule)
def test_gas__of_a_pair_among_a_hundred_orders__is_below_its_ceiling(rule: Rule) -> None:
    assert measure(100, rule)["steady"]["per pair"] <= CEILING


@pytest.mark.parametrize("rule", Rule)
def test_gas__of_clearing_a_hundred_orders__is_below_its_ceiling(rule: Rule) -> None:
    assert measure(100, rule)["steady"]["clear"] <= CLEARING_CEILING
