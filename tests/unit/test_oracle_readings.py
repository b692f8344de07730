"""What a node keeps of its meters, and what it says of those that do not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle.journal import Journal
from oracle.meters.roster import Meter, Role, Roster, meter_key
from oracle.meters.source import Quality, Reading, Refusal
from oracle.readings import SHOWN_REFUSALS, OwnReadings
from tests.desk import CLOSE, PERIOD, WEEK, Desk

METERS = tuple(f"m{n}" for n in range(12))
ROSTER = Roster(Meter(meter, "", 0, Role.CONSUMER, 10_000, 0) for meter in METERS)


class Partly:
    """A source of which some meters are silent; it counts how often it is asked."""

    def __init__(self, *silent: str) -> None:
        self.silent = silent
        self.asked: list[int] = []

    def read(self, period: int) -> Iterator[Reading | Refusal]:
        self.asked.append(period)
        for meter in METERS:
            if meter in self.silent:
                yield Refusal(meter, period, "here", f"{meter} is silent", "Wait")
            else:
                yield Reading(meter, period, 7, 0, Quality.MEASURED, "test")


def readings(folder: Path, source: Partly) -> OwnReadings:
    return OwnReadings(Journal(folder / "journal.sqlite"), source, ROSTER, lambda: CLOSE)


def test_collect__many_refusals__some_are_spelled_out_and_the_rest_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = readings(tmp_path, Partly(*METERS))
    for _ in range(3):
        own.collect(PERIOD)
    own.collect(PERIOD + 1)

    told = [(r.message, getattr(r, "fields", {}).get("period")) for r in caplog.records]
    for period in (PERIOD, PERIOD + 1):
        assert told.count(("reading refused", period)) == SHOWN_REFUSALS
        assert told.count(("more readings refused", period)) == 1
    more = [r for r in caplog.records if r.message == "more readings refused"]
    assert vars(more[0])["fields"]["more"] == len(METERS) - SHOWN_REFUSALS


def test_collect__refusals_one_by_one__each_is_spelled_out_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Partly("m1")
    own = readings(tmp_path, source)
    own.collect(PERIOD)
    source.silent = ("m1", "m2")
    own.collect(PERIOD)

    assert [record.message for record in caplog.records] == ["reading refused"] * 2


def test_collect__while_it_is_waited_for__nothing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    readings(tmp_path, Partly("m1")).collect(PERIOD, tell=False)

    assert not caplog.records


def test_substitute__week_before_never_read__is_asked_for_once_and_journalled(
    tmp_path: Path,
) -> None:
    source = Partly("m1")
    own = readings(tmp_path, source)
    for node, meter in enumerate(METERS, 1):
        found = own.substitute(PERIOD, node, meter_key(meter))
        assert (found is None) == (meter == "m1")

    assert source.asked == [PERIOD - WEEK]
    journal = Journal(tmp_path / "journal.sqlite", read_only=True)
    assert journal.readings(PERIOD - WEEK) == {m: (7, 0) for m in METERS if m != "m1"}


def test_substitute__week_before_all_read__needs_no_source(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.read(PERIOD - WEEK, m1=3, m2=4)
    desk.source.values.clear()
    found = desk.readings.substitute(PERIOD, 2, meter_key("m2"))

    assert found is not None
    assert found.export_wh == 4
