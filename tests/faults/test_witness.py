"""What nodes hear beside events: seats that contradict themselves, and their own key's voice."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from market.chain import Reverted
from market.messages import Proposal, Topic
from oracle.cli import app
from tests.committee import Clock, paused
from tests.faults.days import (
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    await_logged,
    live,
    logged,
    named,
)
from tests.faults.test_liars import said
from tests.village import Village

pytestmark = pytest.mark.faults


def cli(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def test_committee__seat_signs_two_words_no_ballot_counts__is_convicted_by_the_others(
    village: Village, tmp_path: Path
) -> None:
    """One counts, the other is refused for its proposal is nowhere: only calldata has both."""
    world, schedule = village.world, village.world.market.schedule
    oracle, period = world.market.oracle, village.first
    before, clock = village.worths(), Clock(world.market)
    primary, witness, late, liar = ((period + i) % 4 for i in range(4))
    with village.committee(tmp_path) as committee:
        clock.await_cleared(period)
        clock.await_cleared(period + 1)
        # The test has the liar's key and speaks for it.
        committee.kill(liar)
        with paused(committee.pid(late)):
            clock.warp(schedule.close(period))
            clock.until(lambda: said(village, "Voted", period, witness), "a vote")
            (told,) = world.chain.events(oracle, "ReportProposed", from_block=0, period=period)
            args = told["args"]
            proposal = Proposal(Topic.REPORT, period, 1, args["round"], bytes(args["root"]))
            other = replace(proposal, digest=b"\x01" * 32)
            world.vote(proposal, [liar])
            vote = (liar, True, other.sign(world.seats[liar], world.market.domain, support=True))
            call = oracle.functions.vote(other.as_tuple(), [vote])
            with pytest.raises(Reverted, match="UnknownProposal"):
                world.chain.send(world.stranger, call, gas=300_000)
            # Nobody is to be convicted by a forged word.
            forged = other.sign(world.stranger, world.market.domain, support=True)
            call = oracle.functions.vote(other.as_tuple(), [(primary, True, forged)])
            with pytest.raises(Reverted):
                world.chain.send(world.stranger, call, gas=300_000)
            assert not named(world, "Equivocated")
            clock.until(lambda: bool(named(world, "Equivocated")), "the evidence", step_s=1)
        clock.await_settled(period)
        await_logged(clock, committee, (primary, witness, late), "seat contradicts itself")
        for _ in live(village, clock, [period + 1]):
            pass
        honest = (primary, witness, late)
        await_calm(village, committee, clock, honest)
        assert_said_once(village, committee, honest)
        assert_read_once(village, committee, [period, period + 1], honest)
    assert named(world, "Equivocated") == {liar: 1}
    assert_as_undisturbed(village, before, [period, period + 1])


def test_node__its_key_is_used_by_somebody_else__stops_speaking_until_told_otherwise(
    village: Village, tmp_path: Path
) -> None:
    world, schedule = village.world, village.world.market.schedule
    period, victim = village.first, village.first % 4
    before, clock = village.worths(), Clock(world.market)
    key = world.seats[victim]
    with village.committee(tmp_path) as committee:
        clock.await_cleared(period)
        clock.await_cleared(period + 1)
        # Somebody with the same key and a journal of his own; what he says need not even count.
        nowhere = Proposal(Topic.REPORT, period, 1, 0, b"\x01" * 32)
        call = world.market.oracle.functions.vote(nowhere.as_tuple(), [])
        with pytest.raises(Reverted, match="UnknownProposal"):
            world.chain.send(key, call, gas=300_000)
        await_logged(clock, committee, [victim], "key used elsewhere")
        clock.warp(schedule.close(period))
        clock.until(partial(said, village, "Voted", period, (period + 1) % 4), "others' votes")
        clock.await_settled(period)
        # The victim was the first round's primary and said nothing.
        (told,) = world.chain.events(
            world.market.oracle, "ReportProposed", from_block=0, period=period
        )
        assert told["args"]["proposer"] != victim
        assert not said(village, "Voted", period, victim)
        assert committee.is_alive(victim)
        assert logged(committee, victim, "key used elsewhere") == 1

        committee.stop(victim)
        cli("resume", "--config", committee.configuration(victim))
        committee.start(victim)
        assert logged(committee, victim, "keeps quiet") == 1
        # From now on there is no quorum without it.
        committee.kill((victim + 2) % 4)
        for _ in live(village, clock, [period + 1, period + 2]):
            pass
        assert said(village, "Voted", period + 2, victim)
        assert logged(committee, victim, "key used elsewhere") == 1
        others = [(victim + 1) % 4, (victim + 3) % 4]
        alive = [*others, victim]
        await_calm(village, committee, clock, alive)
        assert_said_once(village, committee, others)
        assert_read_once(village, committee, range(period, period + 3), alive)
    assert_as_undisturbed(village, before, range(period, period + 3))


def test_node__journal_restored_from_a_backup__says_nothing_twice(
    village: Village, tmp_path: Path
) -> None:
    """What was said after the backup is known to the chain alone."""
    world, victim = village.world, 0
    periods = range(village.first, village.first + 6)
    before, clock = village.worths(), Clock(world.market)
    backup = tmp_path / "backup.sqlite"
    with village.committee(tmp_path) as committee:
        config = committee.configuration(victim)
        for _ in live(village, clock, periods[:1], trade_every=1):
            pass
        assert "good; seat 0" in cli("backup", backup, "--config", config)
        for _ in live(village, clock, periods[1:3], trade_every=1):
            pass
        await_calm(village, committee, clock)
        committee.kill(victim)
        committee.journal(victim).write_bytes(b"\xff" * 8_192)
        assert "good; seat 0" in cli("check", backup)
        cli("restore", backup, "--config", config)
        committee.start(victim)
        for _ in live(village, clock, periods[3:], trade_every=1):
            pass
        await_calm(village, committee, clock)
        assert logged(committee, victim, "keeps quiet") == 1
        assert not logged(committee, victim, "key used elsewhere")
        assert not named(world, "Equivocated")
        cli("verify", "--config", config)
        assert "otherwise, 0 not read; voted for" in cli("replay", "--config", config)
        assert_said_once(village, committee, set(committee.seats) - {victim})
        assert_read_once(village, committee, periods)
    assert_as_undisturbed(village, before, periods)
