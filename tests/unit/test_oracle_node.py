"""A node's loop: nothing that fails keeps the rest from being done."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from market.chain import ChainUnreachable, Reverted
from oracle.duties.situation import Settle, Situation
from oracle.endpoints import Endpoints
from oracle.journal import Journal
from oracle.monitor import Pulse
from oracle.node import Node

PERIODS = range(5, 0, -1)


class Actor:
    """Fails at one period."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem
        self.done: list[int] = []

    def do(self, action: Settle, *_args: object) -> bool:
        if action.period == 4:
            raise self.problem
        self.done.append(action.period)
        return True


def settle(_situation: Situation) -> Iterator[Settle]:
    for period in PERIODS:
        yield Settle(period)


def node(**parts: object) -> Any:  # noqa: ANN401
    """Return a node of which only some parts are there."""
    node = Node.__new__(Node)
    for name, part in parts.items():
        setattr(node, f"_{name}", part)
    return node


def test_do__journal_fails__stops() -> None:
    actor = Actor(sqlite3.OperationalError("database or disk is full"))
    with pytest.raises(sqlite3.OperationalError):
        node(actor=actor, view=None, head=None)._do(settle, None)
    assert actor.done == [5]


@pytest.mark.parametrize("problem", [Reverted("settle", "Stuck", ()), KeyError(4)])
def test_do__one_action_fails__the_others_are_done(problem: Exception) -> None:
    actor = Actor(problem)
    node(actor=actor, view=None, head=None)._do(settle, None)
    assert actor.done == [period for period in PERIODS if period != 4]


def test_do__endpoint_gone__stops() -> None:
    actor = Actor(ChainUnreachable("http://here", "down"))
    with pytest.raises(ChainUnreachable):
        node(actor=actor, view=None, head=None)._do(settle, None)
    assert actor.done == [5]


def test_run__something_unforeseen__is_logged_and_the_node_lives_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    looks: list[int] = []

    def look() -> None:
        looks.append(len(looks))
        if len(looks) == 3:
            stop.set()
        raise KeyError("odd")

    node(
        follower=SimpleNamespace(look=look),
        endpoints=Endpoints(["http://here"]),
        pulse=Pulse(),
        config=SimpleNamespace(poll_s=0.001, seat=0),
        journal=Journal(tmp_path / "journal.sqlite"),
    ).run(stop)
    assert looks == [0, 1, 2]
    assert [r.message for r in caplog.records].count("chain fails") == 3
