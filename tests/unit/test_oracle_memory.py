"""What a node keeps in mind: the periods in which something can still happen, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracle.journal import Event, Journal
from oracle.node import REST_S
from oracle.view import MOST_PERIODS, MissingEvent, View
from tests.paper import BLOCKS_PER_PERIOD, SCHEDULE, PaperNode

WINDOW = (SCHEDULE.window_s + REST_S) // SCHEDULE.length_s
PERIODS = 3 * WINDOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_live__long_after_periods_ended__keeps_a_window_of_them(path: Path) -> None:
    node = PaperNode(path, nodes=2)
    node.live(PERIODS)
    assert node.known <= WINDOW + 1
    assert node.follower.view.floor == PERIODS - WINDOW
    assert len(node.follower.view.fixed) <= WINDOW + 1


def test_restart__floor_stands__only_what_is_above_is_replayed(path: Path) -> None:
    node = PaperNode(path, nodes=2)
    node.live(PERIODS)
    node.journal.close()

    again = PaperNode(path, nodes=2)

    before, after = node.follower.view, again.follower.view
    assert (after.floor, after.periods.keys()) == (before.floor, before.periods.keys())
    assert after.meters == before.meters
    assert after.fixed == before.fixed
    replayed = sum(1 for _ in again.journal.events(after.floor - MOST_PERIODS))
    assert replayed < sum(1 for _ in again.journal.events())
    again.live(PERIODS + 1)
    assert again.follower.view.floor == PERIODS + 1 - WINDOW


def test_rewind__below_what_ended_periods__they_are_known_again(path: Path) -> None:
    node = PaperNode(path, nodes=2)
    node.live(PERIODS)
    node.journal.rewind((PERIODS - 10) * BLOCKS_PER_PERIOD)
    node.journal.close()
    again = PaperNode(path, nodes=2)
    assert again.follower.view.floor == PERIODS - 10 - WINDOW
    again.live(PERIODS)
    assert again.follower.view.floor == PERIODS - WINDOW


def test_apply__of_an_ended_period__is_ignored() -> None:
    view = View(floor=500)
    ballot = {"topic": 1, "version": 2, "round": 0, "seat": 1, "support": True}
    for period in (3, 499):
        view.apply([Event(9, 0, "Voted", 0, {**ballot, "period": period})])
    with pytest.raises(MissingEvent):
        view.apply([Event(9, 0, "Voted", 0, {**ballot, "period": 500})])


def test_floor__of_old_blocks__is_kept_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    for block in (1, 2, 10_000):
        journal.raise_floor(block, block)
        journal.extend([], {block: bytes(32)})
    journal.rewind(9_999)
    assert journal.floor() == 2
    journal.rewind(1)
    assert journal.floor() == 0
    journal.close()
