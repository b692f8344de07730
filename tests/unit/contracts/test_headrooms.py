"""Headroom by quorum: who proposes what and when, and what the lines carry then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction

from market.lines import pack_headroom
from market.messages import Proposal, Topic
from tests.unit.contracts.support import accepted, events, refused
from tests.unit.contracts.voting import TABLE, Voting
from tests.world import World

LESS = pack_headroom([30_000, 8_000, 0], [41_000, 1, 599])
NONE = pack_headroom([0, 0, 0], [0, 0, 0])


def digest(headrooms: Sequence[bytes]) -> bytes:
    """Return what a seat signs that agrees on headrooms."""
    return keccak(encode(["bytes32[]"], [[keccak(h) for h in headrooms]]))


def proposed(v: Voting, first: int, headrooms: Sequence[bytes]) -> Proposal:
    """Have the primary propose headrooms."""
    seat = v.primary(first)
    receipt = v.world.chain.send(v.world.seats[seat], v.propose_call(first, headrooms))
    (event,) = events(receipt, v.oracle, "HeadroomProposed")
    assert (event["fromPeriod"], event["proposer"]) == (first, seat)
    assert event["headrooms"] == list(headrooms)
    assert event["digest"] == digest(headrooms)
    return Proposal(Topic.HEADROOM, first, 0, event["round"], event["digest"])


def fix_call(v: Voting, first: int, headrooms: Sequence[bytes]) -> ContractFunction:
    """Return the writing down of headrooms."""
    return v.oracle.functions.fixHeadroom(first, [keccak(h) for h in headrooms])


def fixed(v: Voting, first: int, headrooms: Sequence[bytes]) -> None:
    """Fix headrooms by quorum."""
    v.send(v.vote_call(proposed(v, first, headrooms), (0, 1, 2)))
    receipt = v.send(fix_call(v, first, headrooms))
    written = [(e["period"], e["hash"]) for e in events(receipt, v.oracle, "HeadroomFixed")]
    assert written == [(first + i, keccak(h)[:28]) for i, h in enumerate(headrooms)]


def test_fixed__by_quorum__replaces_the_static_limits_of_its_periods(world: World) -> None:
    v = Voting.on(world)
    first = v.opening(2)
    fixed(v, first, [LESS, NONE])
    assert v.lines(first, LESS).pack() == TABLE.with_headroom(LESS).pack()
    assert v.lines(first + 1, NONE).pack() == TABLE.with_headroom(NONE).pack()
    for other in (first - 1, first + 2):
        assert v.lines(other).pack() == TABLE.pack()


@pytest.mark.parametrize("given", [b"", NONE, LESS[:-1], LESS + b"\0"])
def test_lines__with_other_bytes_than_were_fixed__are_refused(world: World, given: bytes) -> None:
    v = Voting.on(world)
    first = v.opening()
    fixed(v, first, [LESS])
    call = v.grid.functions.linesOf(first, given)
    refused("Grid.WrongHeadroom", call, world.stranger, first, keccak(LESS)[:28])


def test_vote__of_less_than_a_quorum__leaves_the_static_limits(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    v.send(v.vote_call(proposed(v, first, [LESS]), (0, 1)))
    refused("Oracle.NotAccepted", fix_call(v, first, [LESS]), world.stranger, first, digest([LESS]))
    assert v.lines(first).pack() == TABLE.pack()


def test_fix__of_others_than_were_accepted__is_refused(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    v.send(v.vote_call(proposed(v, first, [LESS]), (0, 1, 2)))
    refused("Oracle.NotAccepted", fix_call(v, first, [NONE]), world.stranger, first, digest([NONE]))


def test_fix__again__changes_nothing(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    fixed(v, first, [LESS])
    assert events(v.send(fix_call(v, first, [LESS])), v.oracle, "HeadroomFixed") == []


def test_fix__after_the_gate__is_too_late_for_that_period_only(world: World) -> None:
    v = Voting.on(world)
    first = v.opening(2)
    v.send(v.vote_call(proposed(v, first, [LESS, NONE]), (0, 1, 2)))
    world.warp(world.market.schedule.gate(first))
    receipt = v.send(fix_call(v, first, [LESS, NONE]))
    assert [e["period"] for e in events(receipt, v.oracle, "HeadroomFixed")] == [first + 1]
    assert v.lines(first).pack() == TABLE.pack()


def test_vote__when_the_gate_closes__is_refused_from_that_second(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    call = v.vote_call(proposed(v, first, [LESS]), (0, 1, 2))
    gate = world.market.schedule.gate(first)
    world.warp(gate - 1)
    accepted(call, world.stranger)
    world.warp(gate)
    refused("Oracle.TooLate", call, world.stranger, first, gate)


def test_propose__by_another_seat_or_a_stranger__is_refused(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    seat = v.primary(first)
    right = world.seats[seat].address
    for caller in (world.seats[(seat + 1) % 4], world.stranger):
        call = v.propose_call(first, [LESS])
        refused("Oracle.NotPrimary", call, caller, caller.address, seat, right)


def test_propose__garbage__is_refused_before_anybody_votes(world: World) -> None:
    v = Voting.on(world)
    first = v.opening(2)
    sender = world.seats[v.primary(first)]
    short = v.propose_call(first, [LESS, LESS[:-8]])
    refused("Grid.HeadroomSize", short, sender, 16, 24)
    high = pack_headroom([1, 1, 1], [1, 8_001, 1])
    above = v.propose_call(first, [LESS, high])
    refused("Grid.HeadroomAboveLimit", above, sender, 2, False, 8_001, 8_000)


def test_propose__outside_its_time_or_range__is_refused(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    clock = world.market.schedule
    sender = world.seats[v.primary(first)]
    for count in (0, 97):
        refused("Oracle.RangeOutOfBounds", v.propose_call(first, [LESS] * count), sender, count)
    ahead = v.propose_call(first, [LESS, LESS])
    opens = clock.price_opens(first + 1)
    refused("Oracle.TooEarly", ahead, sender, first + 1, opens)
    world.warp(clock.gate(first))
    late = v.propose_call(first, [LESS])
    sender = world.seats[v.primary(first)]
    refused("Oracle.TooLate", late, sender, first, clock.gate(first))


def test_propose__in_a_later_round__wins_in_place_of_a_silent_quorum(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    proposed(v, first, [NONE])
    world.warp(world.now() + world.market.schedule.round_length_s)
    fixed(v, first, [LESS])
    assert v.lines(first, LESS).pack() == TABLE.with_headroom(LESS).pack()


def test_vote__for_headroom__is_no_vote_on_anything_else(world: World) -> None:
    v = Voting.on(world)
    p = proposed(v, v.opening(), [LESS])
    for topic in (Topic.PRICES, Topic.REPORT):
        other = replace(p, topic=topic)
        refused("Oracle.UnknownProposal", v.vote_call(other, (0,)), world.stranger,
                p.period, 0, p.round, p.digest)  # fmt: skip


def test_headroom__of_a_period_a_ring_earlier__is_gone(world: World) -> None:
    v = Voting.on(world)
    first = v.opening()
    fixed(v, first, [LESS])
    clock = world.market.schedule
    later = first + clock.price_horizon_s // clock.length_s + 2
    assert v.lines(later).pack() == TABLE.pack()
    world.warp(clock.price_opens(later))
    fixed(v, later, [NONE])
    assert v.lines(later, NONE).pack() == TABLE.with_headroom(NONE).pack()
    assert world.chain.read(v.oracle.functions.headroomOf(first)) == bytes(28)
