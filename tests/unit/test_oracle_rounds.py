"""When a node asks its meters: at once, again while they are waited for, and rarely afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.duties.situation import Situation
from oracle.meters.source import Reading
from oracle.rounds import REREAD_REST, REREAD_S, MeterRounds
from tests.desk import CLOCK, CLOSE, PERIOD, Desk, Known

PATIENCE_S = 30


class Counting(Known):
    """A source that notes what it is asked, and takes time for it if told to."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.takes_s = 0.0
        self._watch = watch

    def read(self, period: int) -> Iterator[Reading]:
        self.asked.append(period)
        self._watch.now_s += self.takes_s
        yield from super().read(period)


class Watch:
    """The monotonic clock."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr("oracle.rounds.time", made)
    return made


@pytest.fixture
def source(watch: Watch) -> Counting:
    return Counting(watch)


@pytest.fixture
def desk(tmp_path: Path, source: Counting) -> Desk:
    made = Desk(tmp_path)
    made.readings._source = source
    return made


def at(desk: Desk, now: int, periods: range = range(PERIOD, PERIOD + 1)) -> Situation:
    return replace(desk.at(now), periods=periods, patience_s=PATIENCE_S)


def test_read__before_the_close__nobody_is_asked(desk: Desk, source: Counting) -> None:
    MeterRounds().read(at(desk, CLOSE - 1))
    assert source.asked == []


def test_read__meter_that_is_waited_for__is_asked_with_every_block(
    desk: Desk, source: Counting
) -> None:
    rounds = MeterRounds()
    source.values[PERIOD] = {"m1": 5}
    for second in range(4):
        rounds.read(at(desk, CLOSE + second))
    assert source.asked.count(PERIOD) >= 4
    source.values[PERIOD] = {"m1": 5, "m2": 6}
    rounds.read(at(desk, CLOSE + 4))
    assert desk.readings.is_complete(PERIOD, desk.view.meters)


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "patience over"])
def test_read__nothing_is_waited_for__asked_again_once_a_second(
    desk: Desk, source: Counting, watch: Watch, complete: bool
) -> None:
    rounds = MeterRounds()
    source.values[PERIOD] = {"m1": 5, "m2": 6} if complete else {"m1": 5}
    later = CLOSE + PATIENCE_S
    rounds.read(at(desk, later))
    watch.now_s += REREAD_S
    rounds.read(at(desk, later))
    source.asked.clear()
    for _ in range(10):
        rounds.read(at(desk, later))
    assert source.asked == []
    watch.now_s += REREAD_S
    rounds.read(at(desk, later))
    assert set(source.asked) == {PERIOD}


def test_read__source_that_takes_long__rests_ten_times_as_long(
    desk: Desk, source: Counting, watch: Watch
) -> None:
    rounds = MeterRounds()
    source.values[PERIOD] = {"m1": 5, "m2": 6}
    rounds.read(at(desk, CLOSE))
    watch.now_s += REREAD_S
    source.takes_s = 3.0
    rounds.read(at(desk, CLOSE))
    source.asked.clear()
    watch.now_s += 3.0 * REREAD_REST - 0.5
    rounds.read(at(desk, CLOSE))
    assert source.asked == []
    watch.now_s += 0.5
    rounds.read(at(desk, CLOSE))
    assert source.asked == [PERIOD]


def test_read__several_periods__late_ones_have_all_their_turn(
    desk: Desk, source: Counting, watch: Watch
) -> None:
    rounds = MeterRounds()
    periods = range(PERIOD, PERIOD + 6)
    for period in periods:
        source.values[period] = {"m1": 5, "m2": 6}
    now = CLOCK.close(periods[-1]) + PATIENCE_S
    rounds.read(at(desk, now, periods))
    source.asked.clear()
    for _ in periods:
        watch.now_s += REREAD_S
        rounds.read(at(desk, now, periods))
    assert sorted(source.asked) == list(periods)
