"""Settlement in several transactions: the same money, whoever interferes."""

from __future__ import annotations

import pytest
from web3.contract.contract import ContractFunction

from market import keeper
from market.types import Options
from tests.unit.contracts.support import (
    FUNDS_UYUAN,
    accepted,
    cleared,
    crowd,
    measured,
    offer,
    refused,
)
from tests.unit.contracts.test_master import SETTLED, settle_call, stage
from tests.world import PENG, World, undone


def two_buckets(world: World) -> int:
    """Return a reported period with positions in two buckets."""
    crowd(world, 256)
    for node in (0, 1, 256):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period, seller=1, buyer=256))
    cleared(world, period)
    world.warp(world.market.schedule.close(period))
    world.report(period, [measured(1, export_wh=8_000), measured(256, import_wh=11_000)])
    return period


def next_chunk(world: World, period: int) -> ContractFunction:
    """Return the next chunk of one bucket, as a keeper would send it."""
    return keeper.settle_call(world.market, world.history, period, 1)


def test_settle__bucket_by_bucket__moves_what_one_call_would(world: World) -> None:

    period = two_buckets(world)
    with undone(world):
        assert world.keeper.settle(period, 2)
        at_once = [world.worth(node) for node in (0, 1, 256)]
    chunks = 0
    while stage(world, period) != SETTLED:
        world.chain.send(world.stranger, next_chunk(world, period))
        chunks += 1
    assert chunks == 6  # two buckets in three passes
    assert [world.worth(node) for node in (0, 1, 256)] == at_once
    assert at_once[1] != FUNDS_UYUAN


@pytest.mark.parametrize("alone", [1, 2, 3, 4])
def test_settle__the_rest_at_once__moves_what_one_call_would(world: World, alone: int) -> None:
    """Node 2 compensates half of node 1's shortage, whoever changes the pace in between."""
    crowd(world, 256)
    for node in (0, 1, 2, 256):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period, seller=1, buyer=256))
    world.declare(period, 2, Options.RESERVE)
    cleared(world, period)
    world.warp(world.market.schedule.close(period))
    ends = measured(1, export_wh=8_000), measured(256, import_wh=10_000)
    world.report(period, [ends[0], measured(2, export_wh=1_000), ends[1]])
    with undone(world):
        assert world.keeper.settle(period, 2)
        at_once = [world.worth(node) for node in (0, 1, 2, 256)]

    for _ in range(alone):
        world.chain.send(world.stranger, next_chunk(world, period))
    while stage(world, period) != SETTLED:
        call = keeper.settle_call(world.market, world.history, period, 2)
        world.chain.send(world.stranger, call)

    assert [world.worth(node) for node in (0, 1, 2, 256)] == at_once
    assert at_once[2] == FUNDS_UYUAN + PENG.compensation_uyuan_per_kwh


def test_settle__stopping_inside_one_of_several_buckets__is_refused(world: World) -> None:
    period = two_buckets(world)
    positions = world.history.position_buckets(period)
    readings = world.history.report_buckets(period, 1)
    for most in (0, 1):
        call = settle_call(world, period, positions, [], readings, most=most)
        refused("Master.CannotStop", call, world.stranger, 2, 2, most)


def crowded(world: World, nodes: int) -> int:
    """Return a reported period in which node 1 bought 10 kWh of the last of many nodes."""
    crowd(world, nodes)
    for node in (0, 1, nodes):
        world.fund(node, FUNDS_UYUAN)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    world.agree(offer(period, seller=nodes, buyer=1))
    cleared(world, period)
    world.warp(world.market.schedule.close(period))
    rest = [measured(node, import_wh=node) for node in range(2, nodes)]
    ends = measured(1, import_wh=10_000), measured(nodes, export_wh=10_000)
    world.report(period, [ends[0], *rest, ends[1]])
    return period


def test_settle__some_nodes_at_a_time__moves_what_one_call_would(world: World) -> None:
    period = crowded(world, 70)
    nodes = (0, 1, 2, 33, 69, 70)
    with undone(world):
        assert world.keeper.settle(period)
        at_once = [world.worth(node) for node in nodes]
    calls = 0
    while stage(world, period) != SETTLED:
        call = keeper.settle_call(world.market, world.history, period, 1, 32)
        world.chain.send(world.stranger, call)
        calls += 1
    assert calls == 9  # 32, 32 and 6 nodes in three passes
    assert [world.worth(node) for node in nodes] == at_once
    assert at_once[1] == FUNDS_UYUAN - 4_379_000


def test_settle__in_steps_too_small__is_refused(world: World) -> None:
    period = crowded(world, 40)
    call = keeper.settle_call(world.market, world.history, period, 1, 31)
    refused("Master.CannotStop", call, world.stranger, 1, 40, 31)


def test_settle__money_between_two_calls__is_out_of_the_grid_companys_reach(world: World) -> None:
    period = crowded(world, 40)
    vault = world.market.vault.functions
    world.chain.send(world.grid, vault.withdraw(0, FUNDS_UYUAN))
    for _ in range(5):  # all counted and matched in two steps each, then the buyer pays
        call = keeper.settle_call(world.market, world.history, period, 1, 32)
        world.chain.send(world.stranger, call)

    assert world.chain.read(vault.transitOf(period)) == 4_379_000
    refused("Vault.InsufficientFree", vault.withdraw(0, 1), world.grid, 0, 1, 0)

    assert world.keeper.settle(period)
    assert world.chain.read(vault.transitOf(period)) == 0
    assert world.balance(40) == (FUNDS_UYUAN + 4_379_000, 0)


def test_settle__a_bucket_too_dear_for_one_transaction__is_settled_in_parts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid company without money makes every credit a claim: the dearest a node can be."""
    crowd(world, 255)
    period = world.free_period()
    world.warp(world.market.schedule.price_deadline(period))
    cleared(world, period)
    world.warp(world.market.schedule.close(period))
    world.report(period, [measured(node, export_wh=10_000) for node in range(1, 256)])
    monkeypatch.setattr("market.chain.TX_GAS_LIMIT", 2**22)
    call = keeper.settle_call(world.market, world.history, period)
    assert world.chain.estimate(call) is None

    assert world.keeper.settle(period)
    assert stage(world, period) == SETTLED
    claims = world.market.vault.functions.claimsOf
    assert {world.chain.read(claims(node)) for node in (1, 128, 255)} == {1_000_000}


def test_settle__chunk_repeated__is_a_no_op(world: World) -> None:
    period = two_buckets(world)
    chunk = next_chunk(world, period)
    world.chain.send(world.stranger, chunk)
    under_way = world.chain.read(world.market.master.functions.jobHash(period))
    assert any(under_way)
    receipt = world.chain.send(world.deployer, chunk)  # a griefer, or somebody too late
    assert receipt["logs"] == []
    assert world.chain.read(world.market.master.functions.jobHash(period)) == under_way
    assert world.keeper.settle(period, 1)
    assert stage(world, period) == SETTLED


def test_settle__begun_in_tiny_chunks_by_a_griefer__is_finished_by_anybody(world: World) -> None:
    period = two_buckets(world)
    chunk = next_chunk(world, period)
    world.chain.send(world.stranger, chunk)
    # Another begins from scratch meanwhile: it neither restarts nor harms the one under way.
    whole = settle_call(
        world, period, world.history.position_buckets(period), [],
        world.history.report_buckets(period, 1),
    )  # fmt: skip
    assert accepted(whole, world.deployer) is False
    assert world.keeper.settle(period, 2)
    assert stage(world, period) == SETTLED


def test_settle__new_version_between_chunks__finishes_the_old_then_corrects(world: World) -> None:
    period = two_buckets(world)
    world.chain.send(world.stranger, next_chunk(world, period))
    world.warp(world.now() + world.market.schedule.round_length_s)
    world.report(
        period, [measured(1, export_wh=10_000), measured(256, import_wh=10_000)], version=2
    )
    assert world.keeper.settle(period, 1)
    assert world.history.state(period).version == 1
    assert world.keeper.settle(period, 1)
    assert world.history.state(period).version == 2
    assert world.worth(1) == FUNDS_UYUAN + 4_379_000
    assert world.worth(256) == FUNDS_UYUAN - 4_379_000


def test_settle__window_ends_between_chunks__stays_provisional_and_can_be_finalised(
    world: World,
) -> None:
    period = two_buckets(world)
    world.chain.send(world.stranger, next_chunk(world, period))
    world.warp(world.market.schedule.window_end(period))
    assert world.keeper.settle(period, 1)
    assert stage(world, period) == SETTLED
    assert not world.keeper.settle(period, 1)  # nobody was silent, so nothing can change
