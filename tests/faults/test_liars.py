"""Seats that lie, and one that contradicts itself."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from market.messages import Proposal, Topic
from tests.committee import Clock, Settings, paused
from tests.faults.days import (
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    await_logged,
    live,
    named,
)
from tests.village import Village

pytestmark = pytest.mark.faults

METER = "load-1"


def test_committee__one_seat_lies_for_hours__truth_wins_and_only_the_liar_is_named(
    village: Village, tmp_path: Path
) -> None:
    """It proposes its lies in its own turns, and opposes the truth in those of others."""
    world, schedule = village.world, village.world.market.schedule
    periods = range(village.first, village.first + 8)
    liar = periods[0] % 4
    # The voter's periods are those in which it gets to speak before the others have decided.
    opposed = periods[5:7]
    lies = [{"kind": "lie", "meter": METER, "import_wh": 1, "export_wh": 0}]
    lying = replace(Settings(village.meters), faults=lies)
    before, clock = village.worths(), Clock(world.market)
    with village.committee(tmp_path, own={liar: lying}) as committee:
        for _ in live(village, clock, periods[:5], trade_every=1):
            pass
        for period in opposed:
            late = next(seat for seat in range(4) if seat not in (liar, period % 4))
            clock.await_cleared(period + 1)
            with paused(committee.pid(late)):
                clock.warp(schedule.close(period))
                heard = partial(said, village, "Voted", period, liar)
                clock.until(heard, "the liar's vote")
            clock.await_settled(period)
            assert said(village, "Dissented", period, liar)
        for _ in live(village, clock, periods[7:]):
            pass
        for seat in committee.seats:
            text = f"proposal rejected proposer={liar} "
            await_logged(clock, committee, [seat], text)
            await_logged(clock, committee, [seat], f"seat opposed what was accepted seat={liar} ")
        await_calm(village, committee, clock)
        assert_said_once(village, committee)
        assert_read_once(village, committee, periods, set(committee.seats) - {liar})
    assert_as_undisturbed(village, before, periods)
    assert set(named(world, "Dissented")) == {liar}
    rejected = named(world, "ProposalRejected", key="proposer")
    own_turns = [period for period in periods if period % 4 == liar]
    assert set(rejected) == {liar}
    assert rejected[liar] >= len(own_turns)


def test_committee__seat_votes_both_ways__is_named_on_chain_and_in_every_log(
    village: Village, tmp_path: Path
) -> None:
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
            world.vote(proposal, [liar], support=False)
            world.vote(proposal, [liar], support=True)
            assert named(world, "Equivocated") == {liar: 1}
        await_logged(clock, committee, (primary, witness), f"seat contradicts itself seat={liar} ")
        # Also two words that never met in a ballot are evidence, from whoever has them.
        other = replace(proposal, digest=b"\x01" * 32)
        votes = [
            (liar, True, p.sign(world.seats[liar], world.market.domain, support=True))
            for p in (proposal, other)
        ]
        evidence = oracle.functions.fileEvidence(
            proposal.as_tuple(), votes[0], other.as_tuple(), votes[1]
        )
        world.chain.send(world.stranger, evidence)
        assert named(world, "Equivocated") == {liar: 2}
        clock.await_settled(period)
        seats = (primary, witness, late)
        for seat in seats:
            await_logged(clock, committee, [seat], f"seat contradicts itself seat={liar} ", times=2)
        await_calm(village, committee, clock, seats)
        assert_said_once(village, committee, seats)
        assert_read_once(village, committee, [period], seats)
    assert named(world, "Dissented") == {liar: 1}
    assert_as_undisturbed(village, before, range(period, period + 1))


def said(village: Village, event: str, period: int, seat: int) -> bool:
    """Return whether an event of a period names a seat."""
    oracle = village.world.market.oracle
    found = village.world.chain.events(oracle, event, from_block=0, period=period)
    return any(entry["args"]["seat"] == seat for entry in found)
