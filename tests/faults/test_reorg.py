"""A chain that takes blocks back: the nodes notice, forget what those told, and say it again."""

from __future__ import annotations

from pathlib import Path

import pytest
from web3.types import EventData

from market.devnet import rpc
from market.messages import Topic
from oracle.follower import Follower
from oracle.journal import Event, Journal
from tests.committee import Clock, Committee, Settings
from tests.faults.days import (
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    await_logged,
    logged,
)
from tests.village import Village

pytestmark = pytest.mark.faults

SHALLOW, DEEP = 1, 5
"""Confirmations that end before, and after, what is taken back."""

STEP_S = 5
"""Chain time between blocks: a round holds what a proposal needs to be confirmed and voted on."""


def test_committee__settlement_taken_back__is_forgotten_and_settled_again(
    village: Village, tmp_path: Path
) -> None:
    """Votes and settlement go, deeper than the confirmations the nodes wait for."""
    world, schedule = village.world, village.world.market.schedule
    period, before = village.first, village.worths()
    clock = Clock(world.market, step_s=STEP_S)
    with village.committee(tmp_path, Settings(village.meters, confirmations=SHALLOW)) as committee:
        clock.await_cleared(period)
        clock.await_cleared(period + 1)
        clock.warp(schedule.close(period))
        clock.await_settled(period)
        await_calm(village, committee, clock)
        for seat in committee.seats:
            assert knows(committee, seat, "PeriodSettled", period)

        take_back(village, told_of(village, "ReportProposed", period)[0])
        assert not world.history.state(period).settled
        await_logged(clock, committee, committee.seats, "reorganised")
        clock.await_settled(period)
        await_calm(village, committee, clock)
        assert_said_once(village, committee)
        assert_read_once(village, committee, [period])
        for seat in committee.seats:
            assert told(committee, seat) == canonical(village, tmp_path / f"fresh{seat}.sqlite")
    assert_as_undisturbed(village, before, [period])


def test_committee__unconfirmed_votes_taken_back__are_cast_again(
    village: Village, tmp_path: Path
) -> None:
    """No node has followed the blocks that go, so no cursor shows that they are gone."""
    world, schedule = village.world, village.world.market.schedule
    period, before = village.first, village.worths()
    clock = Clock(world.market, step_s=STEP_S)
    settings = Settings(village.meters, confirmations=DEEP)
    with village.committee(tmp_path, settings) as committee:
        clock.await_cleared(period)
        clock.await_cleared(period + 1)
        clock.warp(schedule.close(period))
        clock.until(lambda: len(report_votes(village, period)) >= 3, "the votes")
        assert take_back(village, report_votes(village, period)[0]) <= DEEP

        clock.await_settled(period)
        await_calm(village, committee, clock)
        assert not any(logged(committee, seat, "reorganised") for seat in committee.seats)
        assert_said_once(village, committee)
        assert_read_once(village, committee, [period])
    assert_as_undisturbed(village, before, [period])


def told_of(village: Village, event: str, period: int, **filters: int) -> list[EventData]:
    """Return the oracle's events of a period, first to last."""
    world = village.world
    return world.chain.events(world.market.oracle, event, from_block=0, period=period, **filters)


def report_votes(village: Village, period: int) -> list[EventData]:
    """Return the votes on a period's reports."""
    return told_of(village, "Voted", period, topic=int(Topic.REPORT))


def take_back(village: Village, first: EventData) -> int:
    """Replace the blocks from an event's on by empty ones; return how many."""
    chain = village.world.chain
    depth = chain.block_number() - first["blockNumber"] + 1
    rpc(village.world.url, "anvil_reorg", [depth, []])
    assert chain.w3.eth.get_block(first["blockNumber"])["hash"] != first["blockHash"]
    return int(depth)


def told(committee: Committee, seat: int) -> list[Event]:
    """Return what a node's journal holds of the chain."""
    journal = Journal(committee.journal(seat), read_only=True)
    events = list(journal.events())
    journal.close()
    return events


def knows(committee: Committee, seat: int, event: str, period: int) -> bool:
    """Return whether a node's journal holds an event of a period."""
    return any(e.name == event and e.args["period"] == period for e in told(committee, seat))


def canonical(village: Village, path: Path) -> list[Event]:
    """Return what the chain tells whoever follows it anew."""
    journal = Journal(path)
    follower = Follower(village.world.market, journal, SHALLOW, 1_000)
    follower.sync(follower.look())
    events = list(journal.events())
    journal.close()
    return events
