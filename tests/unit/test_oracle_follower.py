"""The follower at an endpoint that lags: what it kept back is read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import event_abi_to_log_topic

from market.types import MeterReading, Quality
from oracle.follower import EndpointLags, Follower
from oracle.journal import Journal
from tests.world import World

CHUNK_BLOCKS = 1_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def lagging(world: World, method: str, answer: object) -> Callable[..., Any]:
    real = world.chain.raw

    def raw(asked: str, *params: object) -> Any:  # noqa: ANN401
        return answer if asked == method else real(asked, *params)

    return raw


def test_sync__votes_on_a_proposal_kept_back__reads_again(
    world: World, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.join(1)
    period = world.free_period(3)
    world.warp(world.market.schedule.close(period))
    follower = Follower(world.market, journal, 0, CHUNK_BLOCKS)
    follower.sync(follower.look())
    proposal = world.propose(period, [MeterReading(1, Quality.MEASURED, 5, 0)])
    with monkeypatch.context() as patch:
        patch.setattr(world.chain, "raw", lagging(world, "eth_getLogs", []))
        follower.sync(follower.look())
    world.vote(proposal, (0, 1, 2))

    follower.sync(follower.look())

    assert follower.view.period(period).version == 1


def test_sync__proposal_kept_back_for_good__says_so_and_goes_on_once_it_is_told(
    world: World, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.join(1)
    period = world.free_period(3)
    world.warp(world.market.schedule.close(period))
    world.report(period, [MeterReading(1, Quality.MEASURED, 5, 0)])
    follower = Follower(world.market, journal, 0, CHUNK_BLOCKS)
    topic = "0x" + event_abi_to_log_topic(world.market.oracle.events.ReportProposed.abi).hex()
    real = world.chain.raw

    def forgetful(method: str, *params: object) -> Any:  # noqa: ANN401
        answer = real(method, *params)
        if method == "eth_getLogs":
            return [entry for entry in answer if entry["topics"][0] != topic]
        return answer

    monkeypatch.setattr(world.chain, "raw", forgetful)
    with pytest.raises(EndpointLags, match="use an endpoint"):
        follower.sync(follower.look())
    monkeypatch.undo()

    follower.sync(follower.look())
    assert follower.view.period(period).version == 1


def test_follower__journal_lacks_a_proposal__starts_and_reads_again(
    world: World, journal: Journal
) -> None:
    world.join(1)
    period = world.free_period(3)
    world.warp(world.market.schedule.close(period))
    world.report(period, [MeterReading(1, Quality.MEASURED, 5, 0)])
    follower = Follower(world.market, journal, 0, CHUNK_BLOCKS)
    follower.sync(follower.look())
    events = [event for event in journal.events() if event.name != "ReportProposed"]
    head = follower.look()
    journal.rewind(0)
    journal.extend(events, {head.number: head.hash})

    again = Follower(world.market, journal, 0, CHUNK_BLOCKS)
    again.sync(again.look())

    assert again.view.period(period).version == 1


def test_sync__block_gone_once_its_logs_are_told__follows_nothing(
    world: World, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.join(1)
    follower = Follower(world.market, journal, 0, CHUNK_BLOCKS)
    head = follower.look()
    monkeypatch.setattr(world.chain, "raw", lagging(world, "eth_getBlockByNumber", None))
    with pytest.raises(EndpointLags, match="gone again"):
        follower.sync(head)
    monkeypatch.undo()
    assert journal.cursor() is None
    follower.sync(head)
    assert set(follower.view.meters) == {1}
