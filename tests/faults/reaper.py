"""Strikes processes at random instants, the same ones for the same seed as far as blocks go."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.committee import Committee

BLOCKS_PER_PERIOD = 9
"""A clearing, a proposal, four votes, a settlement, and the clock's own blocks."""

LONGEST_DELAY_S = 0.05
"""Real time by which a strike misses its block: long enough for any instant of a node's turn."""


@dataclass(frozen=True, slots=True)
class Strike:
    """When to strike whom: so many blocks into a period, and a moment later."""

    victims: tuple[str, ...]
    blocks: int
    delay_s: float


class Reaper:
    """Strikes what it is told to, to be hung into a `Clock` as `on_look`."""

    def __init__(self, blows: Mapping[str, Callable[[], None]]) -> None:
        """Take the blows by the names of their victims."""
        self.struck: list[str] = []
        self._blows = blows
        self._due: list[tuple[int, float, Strike]] = []
        self._waiting: list[Strike] = []

    def aim(self, strike: Strike) -> None:
        """Strike some blocks from now."""
        self._waiting.append(strike)

    def __call__(self, block: int) -> None:
        """Strike if it is time."""
        self._due += [(block + s.blocks, s.delay_s, s) for s in self._waiting]
        self._waiting.clear()
        for entry in list(self._due):
            number, delay_s, strike = entry
            if block < number:
                continue
            self._due.remove(entry)
            # The instant inside a node's turn is the point: no event marks it.
            time.sleep(delay_s)
            for victim in strike.victims:
                self._blows[victim]()
                self.struck.append(victim)

    @property
    def is_done(self) -> bool:
        """Whether every strike has been made."""
        return not self._waiting and not self._due


def name(seat: int) -> str:
    """Return what a seat's node is called."""
    return f"seat {seat}"


def kills(committee: Committee, *, restart: bool = True) -> dict[str, Callable[[], None]]:
    """Return the blows that kill a committee's nodes, and start them again at once or not.

    A node takes a second to come back, so those of one strike are away together.
    """

    def kill(seat: int) -> None:
        committee.kill(seat)
        if restart:
            committee.launch(seat)

    return {name(seat): lambda seat=seat: kill(seat) for seat in committee.seats}  # type: ignore[misc]


def plan(seed: int, periods: Sequence[int], times: Mapping[str, int]) -> dict[int, Strike]:
    """Return strikes by period: every victim so many times, sometimes two at once."""
    draw = random.Random(seed)
    victims = [victim for victim, count in times.items() for _ in range(count)]
    draw.shuffle(victims)
    groups: list[tuple[str, ...]] = []
    while victims:
        pair = len(victims) > 1 and victims[-1] != victims[-2] and draw.random() < 0.2
        groups.append(tuple(victims.pop() for _ in range(2 if pair else 1)))
    when = draw.sample(periods, len(groups))
    return {
        period: Strike(group, draw.randrange(BLOCKS_PER_PERIOD), draw.uniform(0, LONGEST_DELAY_S))
        for period, group in zip(when, groups, strict=True)
    }
