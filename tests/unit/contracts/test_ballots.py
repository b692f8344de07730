"""One quorum: rounds and primaries, votes, rejection, dissent, and evidence of double words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from market.messages import Domain, Proposal, Topic, compact
from market.packing import pack_readings, root_of
from market.types import MeterReading
from tests.unit.contracts.support import (
    accepted,
    events,
    malleable,
    measured,
    refused,
)
from tests.world import World

FOREIGN = "0x" + "11" * 20


def closed(world: World) -> int:
    """Admit two nodes and return a period that has just closed."""
    world.join(2)
    period = world.market.schedule.period_at(world.now()) + 1
    world.warp(world.market.schedule.close(period))
    return period


def next_round(world: World, period: int) -> None:
    """Wait for the next round of reporting."""
    schedule = world.market.schedule
    ahead = world.round_of(period) + 1
    world.warp(schedule.close(period) + ahead * schedule.round_length_s)


def proposal_call(
    world: World, period: int, readings: Sequence[MeterReading], version: int = 1
) -> ContractFunction:
    """Return the proposing of a report."""
    buckets = pack_readings(readings)
    return world.market.oracle.functions.proposeReport(period, version, buckets)


def seat_vote(
    world: World, proposal: Proposal, seat: int, *, support: bool = True
) -> tuple[int, bool, bytes]:
    """Return a seat's signed word."""
    signature = proposal.sign(world.seats[seat], world.market.domain, support=support)
    return (seat, support, signature)


def vote_call(
    world: World, proposal: Proposal, *votes: tuple[int, bool, bytes]
) -> ContractFunction:
    """Return the counting of votes."""
    return world.market.oracle.functions.vote(proposal.as_tuple(), list(votes))


def ballot(world: World, p: Proposal) -> tuple[bytes, int, int, bool]:
    """Return how a round stands."""
    call = world.market.oracle.functions.ballotOf(int(p.topic), p.period, p.version, p.round)
    digest, yes, no, won = world.chain.read(call)
    return digest, yes, no, won


def seen(world: World, receipt: TxReceipt, name: str) -> list[int]:
    """Return the seats of a transaction's events of one kind."""
    return [e["seat"] for e in events(receipt, world.market.oracle, name)]


# -- rounds and primaries


def test_propose__in_each_round__is_the_right_of_one_seat_in_turn(world: World) -> None:
    period = closed(world)
    call = proposal_call(world, period, [measured(1)])
    for expected in range(6):
        primary = (period + expected) % 4
        assert world.round_of(period) == expected
        accepted(call, world.seats[primary])
        for seat in {0, 1, 2, 3} - {primary}:
            who = world.seats[seat].address
            right = world.seats[primary].address
            refused("Oracle.NotPrimary", call, world.seats[seat], who, primary, right)
        next_round(world, period)


def test_propose__at_the_boundary_of_a_round__turns_at_the_very_second(world: World) -> None:
    period = closed(world)
    call = proposal_call(world, period, [measured(1)])
    turn = world.market.schedule.close(period) + world.market.schedule.round_length_s
    world.warp(turn - 1)
    accepted(call, world.seats[period % 4])
    world.warp(turn)
    accepted(call, world.seats[(period + 1) % 4])


def test_propose__twice_in_a_round__is_refused(world: World) -> None:
    period = closed(world)
    made = world.propose(period, [measured(1)])
    again = proposal_call(world, period, [measured(1, 5)])
    refused("Oracle.AlreadyProposed", again, world.seats[(period + made.round) % 4],
            period, 1, made.round)  # fmt: skip


# -- counting


def test_vote__by_quorum__accepts_with_the_third_of_four(world: World) -> None:
    period = closed(world)
    proposal = world.propose(period, [measured(1)])
    world.vote(proposal, (0, 1))
    assert ballot(world, proposal) == (proposal.digest, 0b0011, 0, False)
    receipt = world.vote(proposal, (3,))
    assert ballot(world, proposal) == (proposal.digest, 0b1011, 0, True)
    (event,) = events(receipt, world.market.oracle, "Accepted")
    assert event["digest"] == proposal.digest
    latest = world.market.oracle.functions.latestReport(period)
    assert world.chain.read(latest) == [1, proposal.digest]


def test_vote__repeated__counts_once(world: World) -> None:
    period = closed(world)
    proposal = world.propose(period, [measured(1)])
    receipt = world.vote(proposal, (0, 0, 0))
    assert seen(world, receipt, "Voted") == [0]
    receipt = world.vote(proposal, (0,))
    assert seen(world, receipt, "Voted") == []
    assert ballot(world, proposal) == (proposal.digest, 1, 0, False)


def test_vote__changed_mind__counts_the_first_and_names_the_seat(world: World) -> None:
    period = closed(world)
    proposal = world.propose(period, [measured(1)])
    world.vote(proposal, (2,))
    receipt = world.vote(proposal, (2,), support=False)
    assert seen(world, receipt, "Equivocated") == [2]
    assert ballot(world, proposal) == (proposal.digest, 0b100, 0, False)


def test_vote__against_by_two_of_four__rejects_and_names_the_proposer(world: World) -> None:
    period = closed(world)
    proposal = world.propose(period, [measured(1)])
    receipt = world.vote(proposal, (0,), support=False)
    assert events(receipt, world.market.oracle, "ProposalRejected") == []
    receipt = world.vote(proposal, (1,), support=False)
    (event,) = events(receipt, world.market.oracle, "ProposalRejected")
    assert event["proposer"] == (period + proposal.round) % 4
    receipt = world.vote(proposal, (2,), support=False)
    assert events(receipt, world.market.oracle, "ProposalRejected") == []  # named once

    next_round(world, period)
    world.report(period, [measured(1, 7)])
    assert world.chain.read(world.market.oracle.functions.latestReport(period))[0] == 1


def test_vote__accepted_against_a_seat__names_the_dissenter(world: World) -> None:
    period = closed(world)
    proposal = world.propose(period, [measured(1)])
    world.vote(proposal, (1,), support=False)
    receipt = world.vote(proposal, (0, 2, 3))
    assert seen(world, receipt, "Dissented") == [1]


def test_vote__of_an_earlier_round__still_wins(world: World) -> None:
    period = closed(world)
    early = world.propose(period, [measured(1, 1)])
    world.vote(early, (0, 1))
    next_round(world, period)
    late = world.propose(period, [measured(1, 2)])
    world.vote(late, (0, 1))
    world.vote(early, (2,))
    latest = world.market.oracle.functions.latestReport(period)
    assert world.chain.read(latest) == [1, early.digest]

    receipt = world.vote(late, (2,))  # the first quorum stands
    assert seen(world, receipt, "Voted") == []
    assert world.chain.read(latest) == [1, early.digest]


def test_vote__after_acceptance__changes_nothing(world: World) -> None:
    period = closed(world)
    proposal = world.propose(period, [measured(1)])
    world.vote(proposal, (0, 1, 2))
    receipt = world.vote(proposal, (3,), support=False)
    assert seen(world, receipt, "Voted") == []
    assert ballot(world, proposal) == (proposal.digest, 0b0111, 0, True)


# -- what does not count


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": b"\1" * 32},
        {"round": 99},
        {"version": 2},
        {"topic": Topic.PRICES},
        {"digest": bytes(32), "round": 99},
    ],
    ids=str,
)
def test_vote__on_what_nobody_proposed__is_refused(
    world: World, changes: dict[str, object]
) -> None:
    period = closed(world)
    p = replace(world.propose(period, [measured(1)]), **changes)  # type: ignore[arg-type]
    call = vote_call(world, p, seat_vote(world, p, 0))
    refused("Oracle.UnknownProposal", call, world.stranger, period, p.version, p.round, p.digest)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: replace(d, chain_id=d.chain_id + 1), id="other chain"),
        pytest.param(lambda d: replace(d, oracle=FOREIGN), id="other contract"),
        pytest.param(lambda d: replace(d, market=b"\1" * 32), id="other market"),
    ],
)
def test_vote__signed_for_elsewhere__is_refused(
    world: World, change: Callable[[Domain], Domain]
) -> None:
    p = world.propose(closed(world), [measured(1)])
    signature = p.sign(world.seats[0], change(world.market.domain), support=True)
    call = vote_call(world, p, (0, True, signature))
    refused("Oracle.BadVote", call, world.stranger, 0, world.seats[0].address)


@pytest.mark.parametrize("change", [malleable, compact, lambda s: s + b"\0", lambda _: b""])
def test_vote__with_damaged_signature__is_refused(
    world: World, change: Callable[[bytes], bytes]
) -> None:
    p = world.propose(closed(world), [measured(1)])
    seat, support, signature = seat_vote(world, p, 0)
    call = vote_call(world, p, (seat, support, change(signature)))
    refused("Oracle.BadVote", call, world.stranger, 0, world.seats[0].address)


def test_vote__turned_round_by_the_relayer__is_refused(world: World) -> None:
    p = world.propose(closed(world), [measured(1)])
    _, _, signature = seat_vote(world, p, 0, support=True)
    call = vote_call(world, p, (0, False, signature))
    refused("Oracle.BadVote", call, world.stranger, 0, world.seats[0].address)


def test_vote__with_anothers_signature__is_refused(world: World) -> None:
    p = world.propose(closed(world), [measured(1)])
    _, _, signature = seat_vote(world, p, 0)
    call = vote_call(world, p, (1, True, signature))
    refused("Oracle.BadVote", call, world.stranger, 1, world.seats[1].address)


def test_vote__of_no_seat__is_refused(world: World) -> None:
    p = world.propose(closed(world), [measured(1)])
    call = vote_call(world, p, (4, True, seat_vote(world, p, 0)[2]))
    refused("Oracle.UnknownSeat", call, world.stranger, 4, 4)


def test_vote__when_the_window_ends__is_refused_from_that_second(world: World) -> None:
    period = closed(world)
    p = world.propose(period, [measured(1)])
    call = vote_call(world, p, seat_vote(world, p, 0))
    end = world.market.schedule.window_end(period)
    world.warp(end - 1)
    accepted(call, world.stranger)
    world.warp(end)
    refused("Oracle.TooLate", call, world.stranger, period, end)


# -- evidence


def evidence(
    world: World, first: Proposal, second: Proposal, *, seats: tuple[int, int] = (1, 1),
    support: tuple[bool, bool] = (True, True),
) -> ContractFunction:  # fmt: skip
    """Return the filing of two words as evidence."""
    return world.market.oracle.functions.fileEvidence(
        first.as_tuple(),
        seat_vote(world, first, seats[0], support=support[0]),
        second.as_tuple(),
        seat_vote(world, second, seats[1], support=support[1]),
    )


def test_evidence__of_two_digests_in_one_round__names_the_seat(world: World) -> None:
    period = closed(world)
    first = Proposal(Topic.REPORT, period, 1, 0, root_of([b"a"]))
    second = replace(first, digest=root_of([b"b"]))
    receipt = world.chain.send(world.stranger, evidence(world, first, second))
    (event,) = events(receipt, world.market.oracle, "Equivocated")
    assert (event["seat"], event["signer"]) == (1, world.seats[1].address)


def test_evidence__for_and_against_one_digest__names_the_seat(world: World) -> None:
    p = Proposal(Topic.PRICES, closed(world), 0, 3, b"\7" * 32)
    call = evidence(world, p, p, support=(True, False))
    receipt = world.chain.send(world.stranger, call)
    assert seen(world, receipt, "Equivocated") == [1]


@pytest.mark.parametrize(
    ("changes", "seats"),
    [
        pytest.param({}, (1, 1), id="the same word"),
        pytest.param({"round": 1, "digest": b"\1" * 32}, (1, 1), id="another round"),
        pytest.param({"period": 2, "digest": b"\1" * 32}, (1, 1), id="another period"),
        pytest.param({"version": 2, "digest": b"\1" * 32}, (1, 1), id="another version"),
        pytest.param({"topic": Topic.PRICES, "digest": b"\1" * 32}, (1, 1), id="another topic"),
        pytest.param({"digest": b"\1" * 32}, (1, 2), id="another seat"),
    ],
)
def test_evidence__of_no_contradiction__is_refused(
    world: World, changes: dict[str, object], seats: tuple[int, int]
) -> None:
    first = Proposal(Topic.REPORT, 3, 1, 0, b"\7" * 32)
    second = replace(first, **changes)  # type: ignore[arg-type]
    refused("Oracle.NoContradiction", evidence(world, first, second, seats=seats), world.stranger)


def test_evidence__forged__is_refused(world: World) -> None:
    first = Proposal(Topic.REPORT, 3, 1, 0, b"\7" * 32)
    second = replace(first, digest=b"\1" * 32)
    forged = (1, True, second.sign(world.stranger, world.market.domain, support=True))
    call = world.market.oracle.functions.fileEvidence(
        first.as_tuple(), seat_vote(world, first, 1), second.as_tuple(), forged
    )
    refused("Oracle.BadVote", call, world.stranger, 1, world.seats[1].address)
