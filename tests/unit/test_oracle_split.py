"""Four seats whose meters told them different things: what becomes of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from market.packing import pack_readings, root_of
from market.types import MeterReading
from oracle.duties import report
from oracle.duties.report import Leniency, objections
from tests.desk import CLOCK, CLOSE, PERIOD, SIGNERS, WEEK, Desk, measured, substituted

SEATS = len(SIGNERS)
STEP_S = 15
MOST_ROUNDS = 12
LIE = (measured(1, 99), measured(2, 98))


@dataclass(frozen=True)
class Accepted:
    """A report that won, and the round it was proposed in."""

    round: int
    readings: Mapping[int, MeterReading]


class Room:
    """Four desks that hear of each other's proposals and votes as the contract counts them."""

    def __init__(self, folder: Path, read: list[dict[str, int]], week_before: list[int]) -> None:
        self.desks = []
        for seat, (values, earlier) in enumerate(zip(read, week_before, strict=True)):
            (folder / str(seat)).mkdir()
            desk = Desk(folder / str(seat))
            desk.read(PERIOD - WEEK, m1=1, m2=earlier)
            desk.read(PERIOD, **values)
            self.desks.append(desk)
        self.accepted: Accepted | None = None
        self.proposed: list[tuple[int, int]] = []
        self.now = CLOSE

    def run(self, liar: int | None = None, is_up: Callable[[int, int], bool] | None = None) -> None:
        """Go on until a report is accepted or the rounds are over."""
        while self.accepted is None and self.round < MOST_ROUNDS:
            for seat in range(SEATS):
                if is_up is None or is_up(seat, self.round):
                    self._act(seat, lies=seat == liar)
            self.now += STEP_S

    @property
    def round(self) -> int:
        return CLOCK.report_round(PERIOD, self.now)

    def _act(self, seat: int, *, lies: bool) -> None:
        desk = self.desks[seat]
        situation = desk.at(self.now, seat)
        if lies:
            taken = (1, self.round) in desk.view.period(PERIOD).ballots
            if (PERIOD + self.round) % SEATS == seat and not taken:
                self._propose(seat, tuple(pack_readings(LIE)))
        else:
            for proposed in report.propose(situation):
                self._propose(seat, proposed.buckets)
        votes = {vote.proposal.round: vote.support for vote in report.vote(situation)}
        for ballot in list(desk.view.period(PERIOD).ballots.values()):
            round_ = ballot.proposal.round
            if lies and seat not in ballot.votes:
                self._vote(seat, round_, support=ballot.proposer == seat)
            elif not lies and round_ in votes:
                self._vote(seat, round_, support=votes[round_])

    def _propose(self, seat: int, buckets: tuple[bytes, ...]) -> None:
        self.proposed.append((self.round, seat))
        for desk in self.desks:
            desk.tell(
                "ReportProposed",
                self.now,
                period=PERIOD,
                version=1,
                round=self.round,
                proposer=seat,
                root=root_of(buckets),
                buckets=buckets,
            )

    def _vote(self, seat: int, round_: int, *, support: bool) -> None:
        if self.accepted:
            return
        about = {"topic": 1, "period": PERIOD, "version": 1, "round": round_}
        for desk in self.desks:
            desk.tell("Voted", self.now, seat=seat, support=support, **about)
        ballot = self.desks[0].view.period(PERIOD).ballots[1, round_]
        yes = sum(ballot.votes.values())
        if yes == 3:
            self.accepted = Accepted(round_, ballot.readings())
        elif len(ballot.votes) - yes == 2:
            for desk in self.desks:
                desk.tell("ProposalRejected", self.now, **about)


SIX, SEVEN, SILENT = {"m1": 5, "m2": 6}, {"m1": 5, "m2": 7}, {"m1": 5}


@pytest.mark.parametrize(
    "read",
    [
        [SIX, SIX, SEVEN, SEVEN],
        [SIX, SEVEN, SIX, SEVEN],
        [SIX, SIX, SILENT, SILENT],
        [SIX, SIX, SEVEN, SILENT],
        [SIX, SEVEN, {"m1": 5, "m2": 8}, {"m1": 5, "m2": 9}],
    ],
    ids=["two and two", "in turn", "silent to two", "and silent to one", "to each its own"],
)
def test_split__no_quorum_for_one_meter__it_is_substituted_and_the_others_stay(
    tmp_path: Path, read: list[dict[str, int]]
) -> None:
    room = Room(tmp_path, read, [4] * SEATS)
    room.run()
    assert room.accepted == Accepted(SEATS, {1: measured(1, 5), 2: substituted(2, 4)})


def test_split__profiles_split_too__the_node_is_left_out(tmp_path: Path) -> None:
    room = Room(tmp_path, [SIX, SIX, SEVEN, SEVEN], [3, 3, 4, 4])
    room.run()
    assert room.accepted is not None
    assert room.accepted.readings == {1: measured(1, 5)}
    assert room.accepted.round < 2 * SEATS


@pytest.mark.parametrize("liar", range(SEATS))
def test_split__one_seat_lies_about_all__truth_wins_in_a_strict_round(
    tmp_path: Path, liar: int
) -> None:
    room = Room(tmp_path, [SIX] * SEATS, [4] * SEATS)
    room.run(liar)
    assert room.accepted is not None
    assert room.accepted.round < SEATS
    assert room.accepted.readings == {1: measured(1, 5), 2: measured(2, 6)}


@pytest.mark.parametrize("liar", range(SEATS))
def test_split__seat_and_meter_lie__only_the_meters_own_node_suffers(
    tmp_path: Path, liar: int
) -> None:
    read = [SIX] * SEATS
    read[(liar + 1) % SEATS] = SEVEN
    room = Room(tmp_path, read, [4] * SEATS)
    room.run(liar)
    assert room.accepted is not None
    assert room.accepted.readings == {1: measured(1, 5), 2: substituted(2, 4)}
    assert room.accepted.round < 2 * SEATS


def test_split__two_meters_lie_to_one_seat_each__what_a_quorum_read_stands(tmp_path: Path) -> None:
    room = Room(tmp_path, [{"m1": 8, "m2": 6}, SEVEN, SIX, SIX], [4] * SEATS)
    room.run()
    assert room.accepted == Accepted(SEATS, {1: measured(1, 5), 2: measured(2, 6)})


def test_split__two_seats_away_in_the_strict_rounds__still_a_report(tmp_path: Path) -> None:
    room = Room(tmp_path, [SIX, SIX, SEVEN, SEVEN], [4] * SEATS)
    room.run(is_up=lambda seat, round_: seat < 2 or round_ > SEATS)
    assert room.accepted is not None
    assert room.accepted.readings == {1: measured(1, 5), 2: substituted(2, 4)}


def test_objections__lenient__what_a_quorum_said_or_less() -> None:
    own = {1: measured(1, 9), 2: measured(2, 9)}
    said = {
        1: [measured(1, 9), measured(1, 7), measured(1, 7)],
        2: [measured(2, 9), measured(2, 8), measured(2, 8), measured(2, 8)],
    }
    lenient = Leniency(said, 3, {1: substituted(1, 4)})
    agreed = {2: measured(2, 8)}
    assert not objections({1: substituted(1, 4), **agreed}, own, leniency=lenient)
    assert not objections(agreed, own, leniency=lenient)
    assert not objections(own, own, leniency=lenient)
    assert objections({1: substituted(1, 4), **agreed}, own)
    assert objections({1: substituted(1, 3), **agreed}, own, leniency=lenient)
    assert objections({1: measured(1, 4), **agreed}, own, leniency=lenient)
    assert objections({1: measured(1, 9), 2: substituted(2, 4)}, own, leniency=lenient)
    assert objections({1: measured(1, 9)}, own, leniency=lenient)


def test_vote__agreed_by_a_quorum__not_replaced_in_a_lenient_round(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.read(PERIOD - WEEK, m1=1, m2=4)
    desk.read(PERIOD, **SIX)
    desk.propose(measured(1, 5), measured(2, 6), round_=1)
    desk.propose(measured(1, 5), substituted(2, 4), round_=4)
    assert [vote.support for vote in desk.votes(CLOSE)] == [True, True]
    desk.propose(measured(1, 5), measured(2, 6), round_=2)
    assert [vote.support for vote in desk.votes(CLOSE)] == [True, False, True]


@pytest.mark.parametrize("read", [SIX, {}])
def test_vote__empty_buckets_behind_the_last__opposed(tmp_path: Path, read: dict[str, int]) -> None:
    desk = Desk(tmp_path)
    desk.read(PERIOD, **read)
    buckets = tuple(pack_readings(desk.readings.opinion(PERIOD, desk.view.meters).values()))
    padded = ((buckets or (b"",)), (*(buckets or (b"",)), b""))
    for round_, offered in enumerate(padded):
        desk.tell(
            "ReportProposed",
            CLOSE,
            period=PERIOD,
            version=1,
            round=round_,
            proposer=round_,
            root=root_of(offered),
            buckets=offered,
        )
    right, dear = desk.votes(CLOSE)
    assert (right.support, dear.support) == (True, False)
    assert "buckets" in dear.reason


def test_vote__rejected__support_is_still_told_in_strict_rounds_only(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.read(PERIOD, **SIX)
    told = []
    for round_, export_wh in ((0, 6), (1, 7), (SEATS, 6)):
        desk.propose(measured(1, 5), measured(2, export_wh), round_=round_)
        desk.tell("ProposalRejected", CLOSE, topic=1, period=PERIOD, version=1, round=round_)
        told.append([(vote.proposal.round, vote.support) for vote in desk.votes(CLOSE)])
    assert told == [[(0, True)]] * 3


def test_propose__nobody_else_spoke__lenient_report_keeps_what_was_read(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.read(PERIOD - WEEK, m1=1, m2=4)
    desk.read(PERIOD, **SIX)
    later = CLOSE + SEATS * CLOCK.round_length_s
    (proposed,) = report.propose(desk.at(later, PERIOD % SEATS))
    assert proposed.buckets == tuple(pack_readings([measured(1, 5), measured(2, 6)]))
