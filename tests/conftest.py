"""Fixtures: one chain and market per test process, every test on a snapshot of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.world import World, new_world, undone

settings.register_profile(
    "subgrid", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("subgrid")


@pytest.fixture(scope="session")
def _session_world() -> Iterator[World]:
    with new_world() as world:
        yield world


@pytest.fixture
def world(_session_world: World) -> Iterator[World]:
    """A freshly deployed market; what a test does to it is undone."""
    with undone(_session_world) as world:
        yield world
