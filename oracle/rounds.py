"""Which periods' meters are asked when: what has closed, what is waited for, what may come late."""

from __future__ import annotations

import time
from collections.abc import Iterable

from oracle.duties.situation import Situation

REREAD_S = 1.0
REREAD_REST = 10
"""Pause between two looks for readings that come late: a second, or so many times what the look
took, for thousands of meters take a while."""

REREAD_INCOMPLETE = 4
REREAD_COMPLETE = 1
"""Earlier periods whose meters are then asked again."""


class MeterRounds:
    """Asks the meters of one node, block by block."""

    def __init__(self) -> None:
        """Have asked for nothing yet."""
        self._read_until = 0
        self._incomplete: set[int] = set()
        self._reread, self._reread_at = 0, 0.0

    def read(self, s: Situation) -> None:
        """Read what has closed, and ask again for some of what has been read."""
        window = [
            period
            for period in s.periods
            if s.schedule.close(period) <= s.now < s.schedule.window_end(period)
        ]
        if not window:
            return
        fresh = [period for period in window if period > self._read_until]
        earlier = [period for period in window if period <= self._read_until]
        awaited = [period for period in earlier if self._is_awaited(s, period)]
        self._collect(s, (*fresh, *awaited))
        began = time.monotonic()
        if began >= self._reread_at:
            self._collect(s, self._others(period for period in earlier if period not in awaited))
            took_s = time.monotonic() - began
            self._reread_at = time.monotonic() + max(REREAD_S, REREAD_REST * took_s)
        self._read_until = max(self._read_until, window[-1])
        s.readings.forget(before=window[0])

    def forget(self, before: int) -> None:
        """Drop the periods before one, in which nothing can happen any more."""
        self._incomplete = {period for period in self._incomplete if period >= before}

    def _collect(self, s: Situation, periods: Iterable[int]) -> None:
        for period in periods:
            # What has not come yet is no refusal while it is waited for.
            late = s.now >= s.schedule.close(period) + s.patience_s
            s.readings.collect(period, tell=late)
            complete = s.readings.is_complete(period, s.view.meters)
            (self._incomplete.discard if complete else self._incomplete.add)(period)

    def _is_awaited(self, s: Situation, period: int) -> bool:
        """Return whether a period's report waits for readings that may still come."""
        waiting = s.now < s.schedule.close(period) + s.patience_s
        return waiting and period in self._incomplete and s.view.period(period).version == 0

    def _others(self, earlier: Iterable[int]) -> list[int]:
        """Return which of earlier periods to ask for again now."""
        self._reread += 1
        earlier = list(earlier)
        incomplete = [period for period in earlier if period in self._incomplete]
        again = self._in_turn(incomplete, REREAD_INCOMPLETE)
        return [*again, *self._in_turn(earlier, REREAD_COMPLETE)]

    def _in_turn(self, periods: list[int], count: int) -> list[int]:
        """Return some periods, others with every block; the latest are asked most."""
        if len(periods) <= count:
            return periods
        first = self._reread * count
        return [periods[(first + i) % len(periods)] for i in range(count)]
