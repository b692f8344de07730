"""One seat of four does everything its key lets it do; the test has its key and speaks for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from web3.contract.contract import ContractFunction

from market.chain import Reverted
from market.messages import Proposal, Topic
from market.packing import pack_readings, root_of
from market.types import MeterReading, Quality
from tests.committee import Clock
from tests.faults.days import (
    AHEAD,
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    await_logged,
    logged,
    named,
)
from tests.faults.test_liars import said
from tests.village import Village

pytestmark = pytest.mark.faults

FLOOD_CALLS = 12
FLOOD_VOTES = 150
"""Signatures a call carries: more than a node checks of a block."""

MOST_GAS = 16_000_000


def test_committee__one_seat_of_four_is_byzantine_for_hours__the_others_settle_the_truth(
    village: Village, tmp_path: Path
) -> None:
    """It lies, proposes garbage, equivocates, replays, floods and withholds, in this order."""
    world, schedule = village.world, village.world.market.schedule
    oracle, domain = world.market.oracle, world.market.domain
    periods = range(village.first, village.first + 6)
    before, clock = village.worths(), Clock(world.market)
    liar = periods[1] % 4
    key = world.seats[liar]
    honest = [seat for seat in range(4) if seat != liar]
    # Its own turn again, in which nothing comes from it.
    withheld = periods[5]

    def refused(call: ContractFunction) -> None:
        with pytest.raises(Reverted):
            world.chain.send(key, call, gas=MOST_GAS)

    with village.committee(tmp_path) as committee:
        committee.kill(liar)
        for period in periods:
            clock.await_cleared(period)
            clock.warp(schedule.start(period))
            village.trade(period + AHEAD)
            clock.await_cleared(period + 1)
            clock.warp(schedule.close(period))
            if period == periods[1]:
                # Its own turn: impossible bytes, then the wildest values that can be packed.
                refused(oracle.functions.proposeReport(period, 1, [b"\xff" * 7]))
                absurd = [
                    MeterReading(node, Quality.MEASURED, 2**24 - 1, 2**24 - 1)
                    for node in village.nodes
                ]
                buckets = pack_readings(absurd)
                world.chain.send(key, oracle.functions.proposeReport(period, 1, buckets))
                garbage = Proposal(Topic.REPORT, period, 1, 0, root_of(buckets))
                support = (liar, True, garbage.sign(key, domain, support=True))
                # One seat is no quorum, however often it says so.
                call = oracle.functions.vote(garbage.as_tuple(), [support] * 3)
                world.chain.send(key, call)
                assert world.history.latest_version(period) == 0
            if period == periods[2]:
                clock.until(lambda: said(village, "Voted", period, honest[0]), "a vote")  # noqa: B023
                (told,) = world.chain.events(oracle, "ReportProposed", from_block=0, period=period)
                args = told["args"]
                proposal = Proposal(Topic.REPORT, period, 1, args["round"], bytes(args["root"]))
                # It opposes the truth, and supports another one in the same round.
                other = replace(proposal, digest=b"\x03" * 32)
                for word, yes in ((proposal, False), (other, True)):
                    spoke = (liar, yes, word.sign(key, domain, support=yes))
                    call = oracle.functions.vote(word.as_tuple(), [spoke])
                    with suppress(Reverted):
                        world.chain.send(key, call, gas=MOST_GAS)
                # Words of others, put into other rounds, periods and mouths.
                spoken = proposal.sign(world.seats[honest[0]], domain, support=True)
                for other in (
                    replace(proposal, period=period + 1),
                    replace(proposal, version=2),
                    replace(proposal, round=args["round"] + 1),
                ):
                    refused(oracle.functions.vote(other.as_tuple(), [(honest[0], True, spoken)]))
                turned = [(honest[0], False, spoken), (honest[1], True, spoken)]
                for vote in turned:
                    call = oracle.functions.vote(proposal.as_tuple(), [vote])
                    # Refused, or without effect if the others have decided meanwhile.
                    with suppress(Reverted):
                        world.chain.send(key, call, gas=MOST_GAS)
            if period == periods[3]:
                nowhere = Proposal(Topic.REPORT, period, 1, 0, b"\x02" * 32)
                junk = [(seat % 4, True, bytes([seat] * 65)) for seat in range(FLOOD_VOTES)]
                for _ in range(FLOOD_CALLS):
                    refused(oracle.functions.vote(nowhere.as_tuple(), junk))
            clock.await_settled(period)
        await_logged(clock, committee, honest, "seat contradicts itself")
        clock.until(lambda: bool(named(world, "Equivocated")), "the evidence", step_s=1)
        committee.start(liar)
        await_calm(village, committee, clock)
        for seat in honest:
            assert committee.is_alive(seat)
            assert logged(committee, seat, f"proposal rejected proposer={liar} ")
            assert not logged(committee, seat, "failed")
            assert not logged(committee, seat, "key used elsewhere")
        assert_said_once(village, committee, honest)
        assert_read_once(village, committee, periods)
    assert named(world, "Equivocated") == {liar: 1}
    (told,) = world.chain.events(oracle, "ReportProposed", from_block=0, period=withheld)
    assert (told["args"]["proposer"], told["args"]["round"]) == ((liar + 1) % 4, 1)
    assert set(named(world, "ProposalRejected", key="proposer")) == {liar}
    assert_as_undisturbed(village, before, periods)


def test_committee__one_seat_withholds_its_proposals__the_next_one_reports(
    village: Village, tmp_path: Path
) -> None:
    """Its node lives and votes, but no report comes in its rounds."""
    world, schedule = village.world, village.world.market.schedule
    period, before, clock = village.first, village.worths(), Clock(world.market)
    withholding = period % 4
    with village.committee(tmp_path) as committee:
        clock.await_cleared(period)
        clock.await_cleared(period + 1)
        committee.kill(withholding)
        clock.warp(schedule.close(period))
        clock.until(lambda: world.history.latest_version(period) == 1, "the report")
        committee.start(withholding)
        clock.await_settled(period)
        await_calm(village, committee, clock)
        assert_said_once(village, committee)
        assert_read_once(village, committee, [period])
    (told,) = world.chain.events(world.market.oracle, "ReportProposed", from_block=0, period=period)
    assert told["args"]["proposer"] == (withholding + 1) % 4
    assert told["args"]["round"] == 1
    assert_as_undisturbed(village, before, [period])
