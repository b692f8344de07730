"""Takes a book of orders through a whole period and notes what each step costs in gas."""

from __future__ import annotations

from market import keeper
from market.clear_calls import fitting_clear_call
from market.messages import Proposal, Topic
from market.packing import bucket_of, pack_readings, root_of
from market.types import MeterReading, Quality
from tests.gas.test_clear_gas import BATCH, order
from tests.gas.trade import Costs
from tests.world import World


def play(world: World, period: int, nodes: int, costs: Costs) -> None:
    """Order, clear with wires, vote, deviate, report, vote and settle one period."""
    schedule, chain = world.market.schedule, world.chain
    world.warp(schedule.price_deadline(period))
    for first in range(1, nodes + 1, BATCH):
        batch = [order(period, node) for node in range(first, min(first + BATCH, nodes + 1))]
        for bucket in {bucket_of(o.node) for o in batch}:
            mine = [o for o in batch if bucket_of(o.node) == bucket]
            costs.note("order", world.place_batch(period, mine))
    world.warp(schedule.gate(period))
    call, _gas = fitting_clear_call(world.market, world.history, period)
    costs.note("clear", chain.send(world.stranger, call))
    costs.note("vote on it", world.approve_clearing(period))

    world.warp(schedule.close(period))
    buckets = pack_readings(_readings(world, period, nodes))
    report = world.market.oracle.functions.proposeReport(period, 1, buckets)
    round_ = world.round_of(period)
    costs.note("report", chain.send(world.primary(period), report))
    proposal = Proposal(Topic.REPORT, period, 1, round_, root_of(buckets))
    costs.note("vote on that", world.vote(proposal, (0, 1, 2)))
    while not world.history.state(period).settled:
        call = keeper.settle_call(world.market, world.history, period)
        costs.note("settle", chain.send(world.stranger, call))


def _readings(world: World, period: int, nodes: int) -> list[MeterReading]:
    """Return readings in which everybody deviates a little from what the clearing gave it."""
    plans = {p.node: p for p in world.history.positions(period)}
    readings = []
    for node in range(1, nodes + 1):
        plan, off_wh = plans[node], 37 * (node % 7) + 10
        out_wh, in_wh = (plan.sold_wh, 0) if node % 2 else (0, plan.bought_wh)
        readings.append(
            MeterReading(
                node,
                Quality.MEASURED,
                out_wh + off_wh if node % 2 else out_wh,
                in_wh if node % 2 else in_wh + off_wh,
            )
        )
    return readings
