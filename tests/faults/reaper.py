"""Kills node processes at random instants, the same ones for the same seed as far as blocks go."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.committee import Committee

BLOCKS_PER_PERIOD = 9
"""A clearing, a proposal, four votes, a settlement, and the clock's own blocks."""

LONGEST_DELAY_S = 0.05
"""Real time by which a kill misses its block: long enough for any instant of a node's turn."""


@dataclass(frozen=True, slots=True)
class Strike:
    """When to kill whom: so many blocks into a period, and a moment later."""

    seats: tuple[int, ...]
    blocks: int
    delay_s: float


class Reaper:
    """Kills what it is told to, to be hung into a `Clock` as `on_look`."""

    def __init__(self, committee: Committee, *, restart: bool = True) -> None:
        """Take aim at a committee.

        Args:
            committee: The nodes.
            restart: Whether to start at once again what was killed.
        """
        self.killed: list[int] = []
        self._committee, self._restart = committee, restart
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
            for seat in strike.seats:
                self._committee.kill(seat)
                self.killed.append(seat)
            if self._restart:
                for seat in strike.seats:
                    self._committee.launch(seat)

    @property
    def is_done(self) -> bool:
        """Whether every strike has been made."""
        return not self._waiting and not self._due


def plan(
    seed: int, periods: Sequence[int], seats: range, strikes_per_seat: int
) -> dict[int, Strike]:
    """Return strikes by period: every seat as often, sometimes two at once."""
    draw = random.Random(seed)
    victims = [seat for seat in seats for _ in range(strikes_per_seat)]
    draw.shuffle(victims)
    groups: list[tuple[int, ...]] = []
    while victims:
        pair = len(victims) > 1 and victims[-1] != victims[-2] and draw.random() < 0.2
        groups.append(tuple(victims.pop() for _ in range(2 if pair else 1)))
    when = draw.sample(periods, len(groups))
    return {
        period: Strike(group, draw.randrange(BLOCKS_PER_PERIOD), draw.uniform(0, LONGEST_DELAY_S))
        for period, group in zip(when, groups, strict=True)
    }
