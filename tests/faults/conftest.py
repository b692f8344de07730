"""Fixtures: a village on a chain of its own, for processes outlive what a snapshot would undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.chains import MortalChain
from tests.live import past_schedule
from tests.village import Village
from tests.world import new_world


@pytest.fixture
def village() -> Iterator[Village]:
    with new_world(accounts=80) as world:
        yield Village(world)


@pytest.fixture
def chain(tmp_path: Path) -> MortalChain:
    """A chain that can be struck, for `past_village`."""
    return MortalChain(tmp_path, past_schedule().epoch_s)


@pytest.fixture
def past_village(chain: MortalChain) -> Iterator[Village]:
    """A village that began some days ago, on a chain that can be struck."""
    with new_world(past_schedule(), anvil=chain) as world:
        yield Village(world)
