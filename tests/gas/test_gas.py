"""What a trade costs, to the unit of gas, against the committed snapshot.

`SUBGRID_GAS=write pytest tests/gas` writes a new snapshot after a deliberate change.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from market.chain import TX_GAS_LIMIT
from market.contracts import ARTIFACTS, artifact
from tests.gas.trade import FIRST_PERIOD, RING, Costs, gas_world, populate, trade

SNAPSHOT = Path(__file__).with_name("snapshot.json")
CODE_SIZE_LIMIT_BYTES = 24_576
PERIOD_STEPS = ("agree", "clear", "propose", "vote", "settle")

Gas = dict[str, dict[str, int]]


def measure(nodes: int) -> Gas:
    """Measure two periods that share storage, the first writing it, the second rewriting it."""
    start, fresh, steady = Costs(), Costs(), Costs()
    with gas_world() as world:
        populate(world, nodes, start)
        trade(world, FIRST_PERIOD, nodes, fresh)
        trade(world, FIRST_PERIOD + RING, nodes, steady)
    return {
        "start": {**start.steps, "largest transaction": start.largest},
        "fresh": summary(fresh, nodes),
        "steady": summary(steady, nodes),
    }


def summary(costs: Costs, nodes: int) -> dict[str, int]:
    """Return a period's steps with their sum, and that by agreement."""
    total = sum(costs.steps.values())
    return {
        **costs.steps,
        "period": total,
        "per agreement": total // (nodes // 2),
        "largest transaction": costs.largest,
    }


@pytest.fixture(scope="module", params=[2, 100, 400], ids=lambda n: f"{n} nodes")
def measured(request: pytest.FixtureRequest) -> tuple[int, Gas]:
    """The gas of markets of several sizes."""
    return request.param, measure(request.param)


def difference(old: Gas, new: Gas) -> str:
    """Say in a table what changed."""
    lines = [f"{'step':<28}{'snapshot':>12}{'now':>12}{'change':>9}"]
    for phase in sorted(old.keys() | new.keys()):
        before, after = old.get(phase, {}), new.get(phase, {})
        for step in sorted(before.keys() | after.keys()):
            was, is_now = before.get(step, 0), after.get(step, 0)
            if was != is_now:
                change = f"{100 * (is_now - was) / was:+.2f}%" if was else "new"
                lines.append(f"{phase + ' ' + step:<28}{was:>12,}{is_now:>12,}{change:>9}")
    return "\n".join(lines) if len(lines) > 1 else ""


def test_gas__of_a_whole_period__is_the_snapshots(measured: tuple[int, Gas]) -> None:
    nodes, gas = measured
    known = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.exists() else {}
    key = f"{nodes} nodes"
    if os.environ.get("SUBGRID_GAS") == "write":
        ordered = {**known, key: gas}
        ordered = dict(sorted(ordered.items(), key=lambda item: int(item[0].split()[0])))
        SNAPSHOT.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
        return
    changed = difference(known.get(key, {}), gas)
    assert not changed, (
        f"\ngas with {key} differs from {SNAPSHOT.name}:\n{changed}\n"
        "if that is meant, run: SUBGRID_GAS=write pytest tests/gas"
    )


def test_gas__of_the_dearest_transaction__fits_a_transaction(measured: tuple[int, Gas]) -> None:
    _, gas = measured
    assert all(phase["largest transaction"] < TX_GAS_LIMIT for phase in gas.values())


def test_gas__of_used_storage__is_below_that_of_fresh(measured: tuple[int, Gas]) -> None:
    _, gas = measured
    assert gas["steady"]["agree"] < gas["fresh"]["agree"]
    assert set(PERIOD_STEPS) <= set(gas["steady"])


@pytest.mark.parametrize("name", ARTIFACTS)
def test_size__of_every_contract__fits_a_chain(name: str) -> None:
    assert 0 < len(artifact(name).runtime) <= CODE_SIZE_LIMIT_BYTES
