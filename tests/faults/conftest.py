"""Fixtures: a village on a chain of its own, for processes outlive what a snapshot would undo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.village import Village
from tests.world import new_world


@pytest.fixture
def village() -> Iterator[Village]:
    with new_world(accounts=80) as world:
        yield Village(world)
