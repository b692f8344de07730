"""The follower's cursor and view against a chain that is reorganised, and one that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from market.chain import WrongChain
from market.devnet import rpc
from market.types import MeterReading, Quality
from oracle.follower import Follower
from oracle.journal import Journal
from oracle.view import View
from tests.world import YUAN, World, default_schedule, new_world


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def follow(world: World, journal: Journal, confirmations: int = 0, chunk: int = 3) -> Follower:
    follower = Follower(world.market, journal, confirmations, chunk)
    follower.sync(follower.look())
    return follower


def report(world: World, export_wh: int) -> int:
    """Fix a report of the running period's predecessor, and return the period."""
    period = world.market.schedule.period_at(world.now())
    world.warp(world.market.schedule.close(period))
    world.report(period, [MeterReading(1, Quality.MEASURED, export_wh, 0)])
    return period


def facts(view: View) -> object:
    """Return what a view says, for comparison."""
    return (
        view.meters,
        view.seats(0),
        {p: (k.version, [b.buckets for b in k.ballots.values()]) for p, k in view.periods.items()},
    )


def test_sync__blocks_taken_back__view_is_that_of_the_new_chain(
    world: World, journal: Journal, tmp_path: Path
) -> None:
    world.join(1)
    world.warp(world.market.schedule.start(2))
    snapshot = rpc(world.url, "evm_snapshot")
    period = report(world, export_wh=100)
    follower = follow(world, journal)
    assert follower.view.period(period).reports[1].readings()[1].export_wh == 100

    rpc(world.url, "evm_revert", [snapshot])
    assert report(world, export_wh=200) == period
    follower.sync(follower.look())

    assert follower.view.period(period).reports[1].readings()[1].export_wh == 200
    fresh = follow(world, Journal(tmp_path / "fresh.sqlite"))
    assert facts(follower.view) == facts(fresh.view)
    assert journal.cursor() == (world.chain.block_number(), follower.look().hash)


def test_sync__chain_got_shorter__what_was_undone_is_forgotten(
    world: World, journal: Journal
) -> None:
    world.join(1)
    world.warp(world.market.schedule.start(2))
    snapshot = rpc(world.url, "evm_snapshot")
    period = report(world, export_wh=100)
    follower = follow(world, journal)

    rpc(world.url, "evm_revert", [snapshot])
    follower.sync(follower.look())

    assert follower.view.period(period).reports == {}
    assert list(journal.events()) == [e for e in journal.events() if e.block <= follower.followed]


def test_follower__restarted__knows_what_happened_while_it_was_down(
    world: World, journal: Journal
) -> None:
    world.join(1)
    world.warp(world.market.schedule.start(2))
    follow(world, journal)
    period = report(world, export_wh=100)

    assert follow(world, journal).view.period(period).version == 1


def test_sync__with_confirmations__stays_behind_the_head(world: World, journal: Journal) -> None:
    world.join(1)
    follower = follow(world, journal, confirmations=2)
    assert follower.followed == world.chain.block_number() - 2
    assert follower.view.meters == {}

    rpc(world.url, "anvil_mine", ["0x2"])
    follower.sync(follower.look())
    assert set(follower.view.meters) == {1}


def test_sync__another_chain_at_the_endpoint__stops_and_keeps_the_journal(
    journal: Journal,
) -> None:
    with new_world() as world:
        world.join(1)
        world.fund(1, YUAN)
        follower = follow(world, journal)
        known = list(journal.events())
        with new_world(default_schedule(1_900_000_000)) as other:
            follower._chain = other.chain
            with pytest.raises(WrongChain, match="was reset"):
                follower.sync(follower.look())
    assert list(journal.events()) == known
