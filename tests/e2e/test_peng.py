"""The paper's story: A sells B 10 kWh, C is a reserve node (Peng, section V)."""

from __future__ import annotations

import pytest

from market.messages import Agreement
from market.types import MeterReading, Options, Quality
from tests.world import YUAN, World

A, B, C = 1, 2, 3


def measured(node: int, export_wh: int = 0, import_wh: int = 0) -> MeterReading:
    """Return a meter's word."""
    return MeterReading(node, Quality.MEASURED, export_wh, import_wh)


@pytest.mark.parametrize(
    ("delivered_wh", "taken_wh", "reserve_wh", "nets_uyuan"),
    [
        pytest.param(10_000, 10_000, 0, (4_379_000, -4_379_000, 0), id="as planned"),
        pytest.param(8_000, 10_000, 2_000, (3_307_200, -4_379_000, 1_071_800), id="short"),
        pytest.param(12_000, 12_000, 0, (5_038_400, -5_038_400, 0), id="over"),
    ],
)
def test_agreement__delivered_otherwise__everybody_gets_what_the_paper_says(
    world: World,
    delivered_wh: int,
    taken_wh: int,
    reserve_wh: int,
    nets_uyuan: tuple[int, int, int],
) -> None:
    """From signatures to moved money, in the order of a period's life."""
    world.join(3)
    for node in (0, A, B, C):
        world.fund(node, 1_000 * YUAN)
    period, schedule = world.free_period(), world.market.schedule
    world.warp(schedule.price_deadline(period))
    world.agree(Agreement(period, A, B, 10_000, 437_900, 0, 0, Options.OFFER, Options.TAKE))
    world.declare(period, C, Options.RESERVE)

    world.warp(schedule.gate(period))
    world.keeper.clear(period)
    world.warp(schedule.close(period))
    world.report(
        period,
        [measured(A, delivered_wh), measured(B, import_wh=taken_wh), measured(C, reserve_wh)],
    )
    assert world.keeper.settle(period)

    assert tuple(world.worth(node) - 1_000 * YUAN for node in (A, B, C)) == nets_uyuan
    assert world.worth(0) == 1_000 * YUAN
    assert [world.balance(node)[1] for node in (A, B, C)] == [0, 0, 0]
