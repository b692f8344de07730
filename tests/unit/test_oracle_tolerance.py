"""Seats that read a little differently: what still counts as the same, and what never does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.packing import decode_readings
from market.types import MeterReading
from oracle.config import NodeConfig
from oracle.duties import report
from oracle.duties.report import Leniency, corrections, objections
from oracle.duties.situation import ProposeReport, Situation
from oracle.tolerance import EXACT, Tolerance
from tests.desk import CLOSE, PERIOD, WEEK, Desk, measured, substituted

FIVE_WH = Tolerance(wh=5)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def near(desk: Desk, now: int = CLOSE, seat: int = 0) -> Situation:
    return replace(desk.at(now, seat), tolerance=FIVE_WH)


def votes(desk: Desk) -> list[bool]:
    return [vote.support for vote in report.vote(near(desk))]


energies = st.integers(0, 2**40 - 1)
readings = st.builds(measured, st.just(1), energies) | st.builds(substituted, st.just(1), energies)
words = st.none() | readings
tolerances = st.builds(Tolerance, st.integers(0, 1_000), st.floats(0, 10))


@given(words, words, tolerances)
def test_covers__any_two_words__both_ways_or_neither(
    a: MeterReading | None, b: MeterReading | None, tolerance: Tolerance
) -> None:
    assert tolerance.covers(a, b) == tolerance.covers(b, a)
    assert tolerance.covers(a, a)
    assert EXACT.covers(a, b) == (a == b)
    if tolerance.covers(a, b) and a and b:
        assert a.quality is b.quality
        most_wh = max(tolerance.wh, tolerance.percent * max(a.export_wh, b.export_wh) / 100)
        assert abs(a.export_wh - b.export_wh) <= most_wh


@pytest.mark.parametrize(
    ("apart_wh", "tolerance", "same"),
    [
        (5, Tolerance(5), True),
        (6, Tolerance(5), False),
        (10, Tolerance(0, 1.0), True),
        (11, Tolerance(0, 1.0), False),
        (10, Tolerance(5, 1.0), True),
    ],
)
def test_near__at_the_edge__the_larger_of_both_counts(
    apart_wh: int, tolerance: Tolerance, same: bool
) -> None:
    assert tolerance.near(1_000, 1_000 - apart_wh) is same


def test_vote__within_the_tolerance__for_and_beyond_it_against(desk: Desk) -> None:
    desk.read(PERIOD, m1=100, m2=200)
    desk.propose(measured(1, 105), measured(2, 195))
    desk.propose(measured(1, 106), measured(2, 200), round_=1)
    desk.propose(measured(1, 100), substituted(2, 200), round_=2)
    assert votes(desk) == [True, False, False]


def test_vote__substitutes__are_as_close_as_what_they_come_from(desk: Desk) -> None:
    desk.read(PERIOD - WEEK, m1=100, m2=200)
    desk.read(PERIOD, m1=100)
    desk.propose(measured(1, 100), substituted(2, 203))
    desk.propose(measured(1, 100), substituted(2, 206), round_=1)
    late = replace(near(desk), now=CLOSE + 30)
    assert [vote.support for vote in report.vote(late)] == [True, False]


def correction(desk: Desk, **values: int) -> Iterator[ProposeReport]:
    desk.read(PERIOD, **values)
    seat = (PERIOD + 1) % 4
    return report.propose(near(desk, CLOSE + 60, seat))


def test_correction__of_less_than_the_tolerance__is_neither_proposed_nor_supported(
    desk: Desk,
) -> None:
    desk.read(PERIOD, m1=100, m2=200)
    desk.propose(measured(1, 100), measured(2, 200))
    desk.accept()
    assert list(correction(desk, m1=104, m2=200)) == []
    desk.propose(measured(1, 104), measured(2, 200), version=2)
    (vote,) = list(report.vote(replace(near(desk), now=CLOSE + 40)))
    assert not vote.support


def test_correction__beyond_the_tolerance__leaves_the_others_as_they_stood(desk: Desk) -> None:
    desk.read(PERIOD, m1=100, m2=200)
    desk.propose(measured(1, 100), measured(2, 200))
    desk.accept()
    (proposed,) = correction(desk, m1=103, m2=260)
    (bucket,) = proposed.buckets
    assert [r.export_wh for r in decode_readings(bucket, 0)] == [100, 260]


def test_corrections__drifting_step_by_step__end_at_what_was_read() -> None:
    own = {1: measured(1, 100)}
    drifted = {1: measured(1, 105)}
    assert corrections({1: measured(1, 110)}, own, drifted, FIVE_WH)
    assert corrections({1: measured(1, 104)}, own, drifted, FIVE_WH)
    assert not corrections({1: measured(1, 98)}, own, {1: measured(1, 106)}, FIVE_WH)


def test_lenient__words_close_together__are_one_quorum() -> None:
    said = {1: [measured(1, 100), measured(1, 103), measured(1, 97), measured(1, 500)]}
    lenient = Leniency(said, 3, {1: substituted(1, 7)}, FIVE_WH)
    own = {1: measured(1, 500)}
    assert lenient.accepts(1, measured(1, 101))
    assert not lenient.accepts(1, measured(1, 500))
    assert not lenient.accepts(1, substituted(1, 7))
    assert objections({1: measured(1, 101)}, own, FIVE_WH)
    assert not objections({1: measured(1, 101)}, own, FIVE_WH, lenient)
    assert lenient.apply(own, substituting=True) == {1: measured(1, 100)}


def test_lenient__words_in_a_chain__need_a_quorum_close_to_one_of_them() -> None:
    said = {1: [measured(1, wh) for wh in (100, 108, 116, 124)]}
    lenient = Leniency(said, 3, {1: substituted(1, 7)}, FIVE_WH)
    assert not lenient.accepts(1, measured(1, 108))
    assert lenient.accepts(1, substituted(1, 9))
    assert lenient.apply({1: measured(1, 100)}, substituting=True) == {1: substituted(1, 7)}


@pytest.mark.parametrize(
    ("source", "stated", "wh"),
    [("sunspec", None, 20), ("sunspec", 3, 3), ("dsmr", None, 0), (None, None, 0), (None, 9, 9)],
)
def test_tolerance__not_stated__is_for_devices_that_every_seat_asks(
    source: str | None, stated: int | None, wh: int
) -> None:
    device = {"kind": source, "meter": "m1", "host": "localhost"}
    live = {"store": "samples.sqlite", "sources": [device]}
    meters = {"live": live} if source else {"profile": "profile.csv"}
    config = NodeConfig.model_validate(
        {
            "rpc_url": "http://localhost",
            "deployment": "deployment.json",
            "seat": 0,
            "journal": "journal.sqlite",
            "key": {"env": "KEY"},
            "meters": {"roster": "meters.csv", **meters},
            "report": {} if stated is None else {"tolerance_wh": stated},
        }
    )
    assert config.tolerance == Tolerance(wh)
