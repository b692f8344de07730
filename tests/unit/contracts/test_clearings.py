"""The vote on a clearing: support, objections that name a line, derates, and who can do what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from web3.types import TxReceipt

from market.lines import Derate
from market.messages import Objection, Proposal, Topic
from tests.unit.contracts.support import accepted, events, malleable, refused, send_at
from tests.unit.contracts.voting import ROOT, TABLE, Voting
from tests.world import World, account

OTHER_ROOT = b"\x08" * 32
UP_2 = Derate(2, up=True, limit_wh=5_000)
DEEPER = UP_2._replace(limit_wh=4_000)
GAS_TARGET = 110_000


def equivocated(v: Voting, receipt: TxReceipt) -> list[int]:
    """Return the seats a transaction found to contradict themselves."""
    return [e["seat"] for e in events(receipt, v.oracle, "Equivocated")]


# -- support


def test_vote__of_a_quorum__makes_the_clearing_stand(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    v.send(v.vote_call(p, (0, 3)))
    assert v.standing(p.period) == (0, ROOT, False)
    assert v.ballot(p) == (ROOT, 0b1001, 0, False)
    receipt = v.send(v.vote_call(p, (1,)))
    (event,) = events(receipt, v.oracle, "Accepted")
    assert (event["topic"], event["version"], event["digest"]) == (Topic.CLEARING, 0, ROOT)
    assert v.standing(p.period) == (0, ROOT, True)
    assert v.ballot(p) == (ROOT, 0b1011, 0, True)


def test_vote__said_twice__counts_once(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    v.send(v.vote_call(p, (0, 0, 1)))
    v.send(v.vote_call(p, (0, 1)))
    assert v.standing(p.period) == (0, ROOT, False)


def test_vote__against_without_a_line__is_refused(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    call = v.vote_call(p, (2,), support=False)
    refused("Oracle.OpposedWithoutALine", call, world.stranger, 2)


@pytest.mark.parametrize(
    "changes",
    [{"digest": OTHER_ROOT}, {"version": 1}, {"round": 1}, {"period": 1_000}],
    ids=str,
)
def test_vote__on_what_is_not_checked__is_refused(world: World, changes: dict[str, object]) -> None:
    v = Voting.on(world)
    p = replace(v.checked(), **changes)  # type: ignore[arg-type]
    values = (p.period, p.version, p.round, p.digest)
    refused("Oracle.UnknownProposal", v.vote_call(p, (0,)), world.stranger, *values)
    refused("Oracle.UnknownProposal", v.object_call(p, [(0, UP_2)]), world.stranger, *values)


def test_vote__with_no_root__is_refused(world: World) -> None:
    v = Voting.on(world)
    p = replace(v.checked(), digest=bytes(32))
    v.send(v.master.functions.check(p.period, bytes(32)))
    refused("Oracle.UnknownProposal", v.vote_call(p, (0, 1, 2)), world.stranger,
            p.period, 0, 0, bytes(32))  # fmt: skip


def test_object__to_a_report__is_refused(world: World) -> None:
    v = Voting.on(world)
    p = replace(v.checked(), topic=Topic.REPORT)
    refused("Oracle.UnknownProposal", v.object_call(p, [(0, UP_2)]), world.stranger,
            p.period, 0, 0, ROOT)  # fmt: skip


def test_words__from_the_last_call_on__are_refused(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    vote, objection = v.vote_call(p, (0,)), v.object_call(p, [(0, UP_2)])
    start = world.market.schedule.start(p.period)
    world.warp(start - 1)
    accepted(vote, world.stranger)
    accepted(objection, world.stranger)
    world.warp(start)
    refused("Oracle.TooLate", vote, world.stranger, p.period, start)
    refused("Oracle.TooLate", objection, world.stranger, p.period, start)


def test_vote__in_the_last_second__counts(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    last = world.market.schedule.start(p.period) - 1
    send_at(world, last, world.stranger, v.vote_call(p, (0, 1, 2)))
    assert v.standing(p.period)[2]


def test_vote__signed_by_another_or_changed__is_refused(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    domain = v.domain
    signature = p.sign(world.seats[0], domain, support=True)
    for seat, damaged in ((1, signature), (0, malleable(signature)), (0, b"")):
        call = v.oracle.functions.vote(p.as_tuple(), [(seat, True, damaged)])
        refused("Oracle.BadVote", call, world.stranger, seat, world.seats[seat].address)


# -- objections


def test_object__by_one_seat__binds_nothing(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    receipt = v.send(v.object_call(p, [(2, UP_2)]))
    (event,) = events(receipt, v.oracle, "Objected")
    assert (event["seat"], event["line"], event["up"], event["limitWh"]) == (2, 2, True, 5_000)
    assert v.lines(p.period).pack() == TABLE.pack()
    assert v.standing(p.period) == (0, ROOT, False)
    read = v.oracle.functions.objectionOf
    assert tuple(world.chain.read(read(p.period, 0, 2))) == (2, True, 5_000)
    assert tuple(world.chain.read(read(p.period, 1, 2))) == (0, False, 0)
    named = v.send(v.vote_call(p, (0, 1, 3)))
    assert [e["seat"] for e in events(named, v.oracle, "Dissented")] == [2]
    assert v.standing(p.period) == (0, ROOT, True)


@pytest.mark.parametrize("bundled", [True, False], ids=["bundled", "one by one"])
@pytest.mark.parametrize("up", [True, False])
def test_object__by_more_than_a_third__lowers_to_the_larger_limit_and_reopens(
    world: World, up: bool, bundled: bool
) -> None:
    v = Voting.on(world)
    p = v.checked()
    words = [(0, Derate(2, up, 300)), (3, Derate(2, up, 200))]
    if bundled:
        receipt = v.send(v.object_call(p, words))
    else:
        for word in words:
            receipt = v.send(v.object_call(p, [word]))
    (event,) = events(receipt, v.grid, "Derated")
    assert (event["period"], event["line"], event["up"], event["limitWh"]) == (p.period, 2, up, 300)
    assert v.lines(p.period).pack() == TABLE.derated([Derate(2, up, 300)]).pack()
    assert v.lines(p.period + 1).pack() == TABLE.pack()
    assert v.standing(p.period) == (1, bytes(32), False)


def test_object__by_three_at_once__binds_at_what_two_are_content_with(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    limits = (8_999, 4_000, 5_000)
    words = [(seat, UP_2._replace(limit_wh=limits[seat])) for seat in range(3)]
    v.send(v.object_call(p, words))
    assert v.lines(p.period).limit_wh(2, up=True) == 5_000


@pytest.mark.parametrize("size", [4, 7, 10])
def test_object__by_all_the_seats_that_may_lie__binds_nothing_until_one_more_does(
    world: World, size: int
) -> None:
    v = Voting.on(world, seats=[account(40 + seat) for seat in range(size)])
    liars = (size - 1) // 3
    p = v.checked()
    v.send(v.object_call(p, [(seat, UP_2._replace(limit_wh=seat)) for seat in range(liars)]))
    assert v.lines(p.period).pack() == TABLE.pack()
    v.send(v.object_call(p, [(liars, UP_2)]))
    assert v.lines(p.period).limit_wh(2, up=True) == UP_2.limit_wh
    assert v.standing(p.period)[0] == 1


@pytest.mark.parametrize(
    "other", [Derate(3, up=True, limit_wh=5), Derate(2, up=False, limit_wh=5)], ids=str
)
def test_object__to_different_lines__does_not_add_up(world: World, other: Derate) -> None:
    v = Voting.on(world)
    p = v.checked()
    v.send(v.object_call(p, [(0, UP_2), (1, other)]))
    assert v.lines(p.period).pack() == TABLE.pack()
    assert v.standing(p.period) == (0, ROOT, False)


@pytest.mark.parametrize("limit_wh", [9_000, 9_001, 2**32 - 1])
def test_object__with_what_held_or_more__is_refused(world: World, limit_wh: int) -> None:
    v = Voting.on(world)
    call = v.object_call(v.checked(), [(1, Derate(2, up=True, limit_wh=limit_wh))])
    refused("Oracle.NothingLowered", call, world.stranger, 1, limit_wh, 9_000)


def test_object__in_the_next_attempt__must_go_below_the_derate(world: World) -> None:
    v = Voting.on(world)
    v.send(v.object_call(v.checked(), [(0, UP_2), (1, UP_2)]))
    p = v.checked(OTHER_ROOT, v.world.market.schedule.period_at(world.now()) + 1)
    assert (p.version, v.standing(p.period)) == (1, (1, OTHER_ROOT, False))
    again = v.object_call(p, [(0, UP_2)])
    refused("Oracle.NothingLowered", again, world.stranger, 0, 5_000, 5_000)
    v.send(v.object_call(p, [(0, DEEPER), (1, DEEPER)]))
    assert v.lines(p.period).limit_wh(2, up=True) == 4_000
    assert v.standing(p.period)[0] == 2


def test_object__to_no_line_or_with_a_wrong_headroom__is_refused(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    unknown = v.object_call(p, [(0, Derate(4, up=True, limit_wh=1))])
    refused("Grid.UnknownLine", unknown, world.stranger, 4, 3)
    wrong = v.object_call(p, [(0, UP_2)], headroom=bytes(24))
    refused("Grid.WrongHeadroom", wrong, world.stranger, p.period, bytes(28))


def test_object__changed_by_the_relayer__is_refused(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    o = Objection(p, *UP_2)
    signature = o.sign(world.seats[0], v.domain)
    for changed in (
        replace(o, limit_wh=4_999),
        replace(o, line=3),
        replace(o, up=False),
    ):
        call = v.oracle.functions.object(p.as_tuple(), [changed.as_tuple(0, signature)], b"")
        refused("Oracle.BadVote", call, world.stranger, 0, world.seats[0].address)
    call = v.oracle.functions.object(p.as_tuple(), [o.as_tuple(9, signature)], b"")
    refused("Oracle.UnknownSeat", call, world.stranger, 9, 4)


def foreign(v: Voting, p: Proposal, signed: Proposal, seat: int = 0) -> None:
    """Require that words signed for one clearing are not taken for another."""
    o = Objection(signed, *UP_2)
    signature = o.sign(v.world.seats[seat], v.domain)
    call = v.oracle.functions.object(p.as_tuple(), [o.as_tuple(seat, signature)], b"")
    refused("Oracle.BadVote", call, v.world.stranger, seat, v.world.seats[seat].address)
    vote = (seat, True, signed.sign(v.world.seats[seat], v.domain, support=True))
    call = v.oracle.functions.vote(p.as_tuple(), [vote])
    refused("Oracle.BadVote", call, v.world.stranger, seat, v.world.seats[seat].address)


def test_words__of_another_attempt_or_period__are_good_for_that_only(world: World) -> None:
    v = Voting.on(world)
    first = v.checked()
    v.send(v.object_call(first, [(0, UP_2), (1, UP_2)]))
    second = v.checked(ROOT, first.period)
    assert second.version == 1
    foreign(v, second, first)
    foreign(v, second, replace(second, period=second.period + 1))


def test_words__on_an_attempt_that_is_over__change_nothing(world: World) -> None:
    v = Voting.on(world)
    first = v.checked()
    v.send(v.object_call(first, [(0, UP_2), (1, UP_2)]))
    v.checked(OTHER_ROOT, first.period)
    for call in (v.vote_call(first, (0, 1, 2)), v.object_call(first, [(2, DEEPER), (3, DEEPER)])):
        assert v.send(call)["logs"] == []
    assert v.standing(first.period) == (1, OTHER_ROOT, False)


def test_object__after_the_quorum__changes_nothing(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    v.send(v.vote_call(p, (0, 1, 2)))
    assert v.send(v.object_call(p, [(3, UP_2), (2, UP_2)]))["logs"] == []
    assert v.lines(p.period).pack() == TABLE.pack()
    assert v.standing(p.period) == (0, ROOT, True)


# -- two words of one seat


def test_words__for_and_against__count_once_and_name_the_seat(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    v.send(v.vote_call(p, (0,)))
    receipt = v.send(v.object_call(p, [(0, UP_2), (1, UP_2)]))
    assert equivocated(v, receipt) == [0]
    assert v.ballot(p) == (ROOT, 0b0001, 0b0010, False)
    assert equivocated(v, v.send(v.vote_call(p, (1,)))) == [1]
    assert v.ballot(p) == (ROOT, 0b0001, 0b0010, False)


def test_object__to_two_lines__counts_once_and_names_the_seat(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    for changed in (DEEPER, Derate(2, up=False, limit_wh=5_000), Derate(3, up=True, limit_wh=1)):
        receipt = v.send(v.object_call(p, [(0, UP_2), (0, changed)]))
        assert equivocated(v, receipt) == [0]
    assert tuple(world.chain.read(v.oracle.functions.objectionOf(p.period, 0, 0))) == UP_2
    assert equivocated(v, v.send(v.object_call(p, [(0, UP_2)]))) == []


def test_evidence__of_two_roots_in_one_attempt__names_the_seat(world: World) -> None:
    v = Voting.on(world)
    p = v.checked()
    other = replace(p, digest=OTHER_ROOT)
    words = [q.sign(world.seats[1], v.domain, support=True) for q in (p, other)]
    call = v.oracle.functions.fileEvidence(
        p.as_tuple(), (1, True, words[0]), other.as_tuple(), (1, True, words[1])
    )
    assert equivocated(v, v.send(call)) == [1]


# -- gas


def test_gas__of_a_whole_vote_on_used_storage__is_below_the_target(world: World) -> None:
    v = Voting.on(world)
    ring = world.market.schedule.price_horizon_s // world.market.schedule.length_s + 2
    first = v.checked()
    fresh = v.send(v.vote_call(first, (0, 1, 2)))["gasUsed"]
    again = v.checked(OTHER_ROOT, first.period + ring)
    steady = v.send(v.vote_call(again, (0, 1, 2)))["gasUsed"]
    assert v.standing(again.period)[2]
    assert steady < fresh
    assert steady <= GAS_TARGET, f"{steady:,} gas"
