"""What a seat says of the wires: headroom beside the base load, and words on checked clearings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from market.grid import Grid
from market.lines import SINGLE_BUS, Lines, pack_headroom, table_of
from market.messages import Proposal, Topic
from market.packing import pack_positions, root_of
from market.types import Options, Position
from oracle.config import ConfigError, GridConfig
from oracle.duties import clearing, headroom
from oracle.duties.situation import FixHeadroom, Object, ProposeHeadroom, Situation, Vote
from oracle.meters.roster import Meter, Role, Roster
from oracle.wires import open_wires
from tests.desk import CLOCK, PERIOD, SIGNERS, Desk

FILE = Path(__file__).parents[2] / "data" / "simbench-rural1" / "grid.json"
GRID = Grid.load(FILE)
TREE = GRID.tree
TABLE = table_of(TREE, 900)
STATIC = Lines.unpack(TABLE)
DAY = 96
FAR = 14
LAST = PERIOD + DAY
"""The period whose headroom is decided: the day before it is known."""
OPENS = max(CLOCK.price_opens(LAST), CLOCK.close(PERIOD))
MIDDLE = (OPENS + CLOCK.gate(LAST)) // 2
NOT_TOLD = 20_000


def meter(name: str, position: int) -> Meter:
    return Meter(name, "", TREE.buses[position], Role.PROSUMER, 1_000_000, 1_000_000)


ROSTER = Roster([meter("near", 1), meter("far", FAR), meter("stranger", FAR)])
MEMBERS = ("near", "far")
HEAVY_WH = 46_000
"""What every line on the way may carry by its static limit, and one does not bear."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path, ROSTER, MEMBERS)
    made.view.buses.update({1: 1, 2: FAR})
    made.wires = open_wires(GridConfig(file=FILE), TABLE, ROSTER)
    return made


def less(export_wh: int) -> bytes:
    """Return the headroom that base load at the far bus leaves."""
    up_wh, down_wh = STATIC.up_wh[1:].copy(), STATIC.down_wh[1:].copy()
    for branch in TREE.path(FAR):
        up_wh[branch] = min(max(0, up_wh[branch] - export_wh), up_wh[branch])
        down_wh[branch] = min(max(0, down_wh[branch] + export_wh), down_wh[branch])
    return pack_headroom(up_wh, down_wh)


# -- the feeder


def test_open__configuration_and_market_that_do_not_fit__are_refused(tmp_path: Path) -> None:
    config = GridConfig(file=FILE)
    assert open_wires(None, SINGLE_BUS, ROSTER) is None
    with pytest.raises(ConfigError, match="without wires"):
        open_wires(config, SINGLE_BUS, ROSTER)
    with pytest.raises(ConfigError, match="give its grid file"):
        open_wires(None, TABLE, ROSTER)
    with pytest.raises(ConfigError, match="not the feeder"):
        open_wires(config, TABLE[:-1] + b"\0", ROSTER)
    lost = Roster([replace(ROSTER["far"], bus=999)])
    with pytest.raises(ConfigError, match="bus 999"):
        open_wires(config, TABLE, lost)
    with pytest.raises(ConfigError, match="cannot be read"):
        open_wires(GridConfig(file=tmp_path / "none.json"), TABLE, ROSTER)


# -- headroom


def primary_of(period: int, now: int) -> int:
    return (period + CLOCK.price_round(period, now)) % len(SIGNERS)


def due(desk: Desk, now: int = MIDDLE) -> list[ProposeHeadroom]:
    """Return what the primary has to propose for the period under test."""
    s = replace(desk.at(now, primary_of(LAST, now)), first_period=LAST)
    return list(headroom.propose(s))


def proposed(desk: Desk, *headrooms: bytes, round_: int = 0) -> Proposal:
    hashes = b"".join(keccak(h) for h in headrooms)
    desk.tell(
        "HeadroomProposed",
        MIDDLE,
        fromPeriod=LAST,
        round=round_,
        proposer=(LAST + round_) % 4,
        digest=keccak(hashes),
        headrooms=headrooms,
    )
    return Proposal(Topic.HEADROOM, LAST, 0, round_, keccak(hashes))


def headroom_votes(desk: Desk, now: int = MIDDLE) -> list[Vote]:
    return list(headroom.vote(replace(desk.at(now), first_period=LAST)))


@pytest.mark.parametrize("export_wh", [5_000, 60_000])
def test_propose__base_load__leaves_the_rest_and_never_more_than_the_limit(
    desk: Desk, export_wh: int
) -> None:
    desk.read(PERIOD, stranger=export_wh, near=NOT_TOLD, far=NOT_TOLD)
    (found,) = due(desk)
    assert found.first == LAST
    assert found.headrooms[0] == less(export_wh)


def test_propose__members_only__proposes_nothing(desk: Desk) -> None:
    desk.read(PERIOD, near=NOT_TOLD, far=NOT_TOLD)
    assert due(desk) == []


@pytest.mark.parametrize("seat", range(len(SIGNERS)))
def test_propose__first_day_of_a_market__expects_nothing_and_proposes_nothing(
    desk: Desk, seat: int
) -> None:
    first = 1
    now = (CLOCK.price_opens(first) + CLOCK.gate(first)) // 2
    assert list(headroom.propose(replace(desk.at(now, seat), first_period=first))) == []


def test_propose__too_early_or_not_in_turn__proposes_nothing(desk: Desk) -> None:
    desk.read(PERIOD, stranger=5_000)
    assert due(desk, MIDDLE - 1) == []
    other = (primary_of(LAST, MIDDLE) + 1) % 4
    assert list(headroom.propose(replace(desk.at(MIDDLE, other), first_period=LAST))) == []
    desk.wires = None
    assert due(desk) == []


def test_propose__in_its_round_already_or_rejected__not_again(desk: Desk) -> None:
    desk.read(PERIOD, stranger=5_000)
    (found,) = due(desk)
    proposed(desk, *found.headrooms, round_=found.round)
    assert due(desk) == []
    now = MIDDLE + CLOCK.round_length_s
    assert [again.headrooms for again in due(desk, now)] == [found.headrooms]
    desk.tell(
        "ProposalRejected", now, topic=2, period=LAST, version=0, round=found.round, proposer=0
    )
    assert due(desk, now) == []


@pytest.mark.parametrize(
    ("export_wh", "support"), [(5_000, True), (7_000, True), (8_000, False), (0, False)]
)
def test_vote__within_five_percent_of_the_limit__for_and_beyond_against(
    desk: Desk, export_wh: int, support: bool
) -> None:
    desk.read(PERIOD, stranger=5_000)
    proposed(desk, less(export_wh))
    (vote,) = headroom_votes(desk)
    assert vote.support is support
    assert support or f"period {LAST}: line " in vote.reason


def test_vote__before_the_day_before_is_over__opposes(desk: Desk) -> None:
    proposed(desk, less(0), less(0))
    (vote,) = headroom_votes(desk, CLOCK.close(PERIOD))
    assert not vote.support
    assert "not over" in vote.reason


def test_vote__once_decided_or_said__no_more(desk: Desk) -> None:
    p = proposed(desk, less(0))
    assert len(headroom_votes(desk)) == 1
    said = {"topic": 2, "period": LAST, "version": 0, "round": 0}
    desk.tell("Voted", MIDDLE, **said, seat=0, support=True)
    assert headroom_votes(desk) == []
    proposed(desk, less(0), round_=1)
    desk.tell("Accepted", MIDDLE, **said, digest=p.digest)
    assert headroom_votes(desk) == []


def test_fix__accepted__until_it_is_written_down(desk: Desk) -> None:
    p = proposed(desk, less(5_000))
    assert list(headroom.fix(desk.at(MIDDLE, LAST % 4))) == []
    desk.tell("Accepted", MIDDLE, topic=2, period=LAST, version=0, round=0, digest=p.digest)
    (fix,) = headroom.fix(desk.at(MIDDLE, LAST % 4))
    assert fix == FixHeadroom(LAST, 0, (less(5_000),))
    desk.tell("HeadroomFixed", MIDDLE, period=LAST, hash=keccak(less(5_000))[:28])
    assert list(headroom.fix(desk.at(MIDDLE, LAST % 4))) == []
    assert desk.view.votes.headrooms[LAST] == less(5_000)


# -- clearings


def position(node: int, sold_wh: int = 0, bought_wh: int = 0) -> Position:
    return Position(node, Options.NONE, sold_wh, bought_wh, 0, 0, 0)


def check(desk: Desk, wh: int, *, attempt: int = 0, fake: bool = False) -> Proposal:
    """Have a clearing checked in which the near node sells to the far one."""
    positions: Sequence[Position] = (position(1, sold_wh=wh), position(2, bought_wh=wh))
    buckets = pack_positions(positions)
    if fake:
        desk.tell("PositionsFixed", 0, period=LAST, bucket=0, root=b"\1" * 32, positions=b"")
    root = root_of(buckets)
    told = {"period": LAST, "bucket": 0, "root": root, "positions": buckets[0]}
    desk.tell("PositionsFixed", CLOCK.gate(LAST), **told)
    told = {"period": LAST, "attempt": attempt, "root": root, "buckets": 1, "claim": b""}
    desk.tell("Checked", CLOCK.gate(LAST), **told)
    return Proposal(Topic.CLEARING, LAST, attempt, 0, root)


def words(desk: Desk, now: int | None = None, seat: int = 0) -> list[Vote | Object]:
    s: Situation = desk.at(CLOCK.gate(LAST) if now is None else now, seat)
    return list(clearing.vote(replace(s, periods=range(LAST, LAST + 1))))


def test_word__on_what_fits__is_support(desk: Desk) -> None:
    p = check(desk, 10_000, fake=True)
    assert words(desk) == [Vote(p, True, "within all limits")]


def test_word__on_a_line_beyond_what_it_bears__names_it(desk: Desk) -> None:
    desk.read(PERIOD, stranger=1)
    p = check(desk, HEAVY_WH)
    (word,) = words(desk)
    assert isinstance(word, Object)
    assert word.proposal == p
    assert word.derate.line in [branch + 1 for branch in TREE.path(FAR)]
    assert word.derate.limit_wh < HEAVY_WH


def test_word__on_what_only_agreements_can_load_a_line_with__is_support(desk: Desk) -> None:
    p = check(desk, 700_000)
    (word,) = words(desk)
    assert isinstance(word, Vote)
    assert (word.proposal, word.support) == (p, True)


def test_word__after_a_derate__must_go_below_it(desk: Desk) -> None:
    check(desk, HEAVY_WH)
    (word,) = words(desk)
    assert isinstance(word, Object)
    # What binds is the larger limit of another seat.
    bound = word.derate._replace(limit_wh=HEAVY_WH - 1_000)
    told = {"line": bound.line, "up": bound.up, "limitWh": bound.limit_wh}
    desk.tell("Derated", 0, period=LAST, **told)
    desk.tell("Reopened", 0, period=LAST, attempt=1)
    assert words(desk) == []
    p = check(desk, bound.limit_wh, attempt=1)
    (again,) = words(desk)
    assert isinstance(again, Object)
    assert again.proposal == p
    assert again.derate.line == bound.line
    assert again.derate.limit_wh < bound.limit_wh
    assert desk.view.votes.derates[LAST] == [bound]


def test_word__after_the_last_call_or_once_said_or_decided__is_none(desk: Desk) -> None:
    p = check(desk, 10_000)
    start = CLOCK.start(LAST)
    assert len(words(desk, start - 1)) == 1
    assert words(desk, start) == []
    said = {"topic": 3, "period": LAST, "version": 0, "round": 0}
    desk.tell("Voted", 0, **said, seat=0, support=True)
    assert words(desk) == []
    assert len(words(desk, seat=1)) == 1
    told = {"line": 1, "up": True, "limitWh": 1}
    desk.tell("Objected", 0, period=LAST, attempt=0, seat=1, **told)
    assert words(desk, seat=1) == []
    desk.tell("Accepted", 0, **said, digest=p.digest)
    assert words(desk, seat=2) == []


def test_word__of_an_attempt_that_is_over__is_left_alone(desk: Desk) -> None:
    check(desk, 10_000)
    desk.tell("Reopened", 0, period=LAST, attempt=1)
    check(desk, 9_000, attempt=1)
    said = {"topic": 3, "period": LAST, "version": 0, "round": 0}
    desk.tell("Voted", 0, **said, seat=0, support=True)
    assert len(words(desk)) == 1


def test_word__without_wires__is_support(desk: Desk) -> None:
    desk.wires = None
    check(desk, 700_000)
    assert [word.reason for word in words(desk)] == ["there are no wires"]
