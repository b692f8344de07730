"""The roster: capacities, the check of raw values, the roster file."""

import math
from pathlib import Path

import pytest

from oracle.meters.roster import (
    COLUMNS,
    MAX_ENERGY_WH,
    Meter,
    Role,
    Roster,
    capacity_wh_per_period,
    load_roster,
)
from oracle.meters.source import Quality, Reading, Refusal, SourceError

HEADER = ",".join(COLUMNS)


@pytest.fixture
def roster() -> Roster:
    return Roster(
        [
            Meter("house", "Load 1", 3, Role.CONSUMER, 4000, 0),
            Meter("roof", "SGen 1", 4, Role.GENERATOR, 0, 10_001),
        ]
    )


@pytest.mark.parametrize(
    ("capacity_w", "period_s", "expected_wh"),
    [(4000, 900, 1000), (10_001, 900, 2500), (3, 900, 0), (0, 900, 0), (7, 3600, 7)],
)
def test_capacity__per_period__rounds_down(
    capacity_w: int, period_s: int, expected_wh: int
) -> None:
    assert capacity_wh_per_period(capacity_w, period_s) == expected_wh


@pytest.mark.parametrize(("capacity_w", "period_s"), [(-1, 900), (1, 0)])
def test_capacity__out_of_range__is_refused(capacity_w: int, period_s: int) -> None:
    with pytest.raises(ValueError, match="give 0 W or more and 1 s or more"):
        capacity_wh_per_period(capacity_w, period_s)


@pytest.mark.parametrize("raw", [1000, 1000.0, "1000", " 1000 ", "1000.0", "+1000"])
def test_admit__whole_number_up_to_capacity__is_a_reading(roster: Roster, raw: object) -> None:
    reading = roster.admit("house", 7, raw, "0", "file:3")
    assert reading == Reading("house", 7, 1000, 0, Quality.MEASURED, "file:3")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (-1, "negative"),
        ("-5", "negative"),
        (math.nan, "NaN"),
        ("nan", "NaN"),
        (math.inf, "not a whole number"),
        ("1e400", "not a whole number"),
        (0.5, "not a whole number"),
        ("0.202", "not a whole number"),
        (2.0**54, "not a whole number"),
        ("", "empty"),
        (None, "empty"),
        ("twelve", "not a whole number"),
        ("1_000", "not a whole number"),
        ("1e3", "not a whole number"),
        ("\u0661\u0662", "not a whole number"),
        ("9" * 5000, "not a whole number"),
        (True, "not a number"),
        (b"12", "not a number"),
        (1001, "its capacity allows 1000 Wh in 900 s"),
    ],
)
def test_admit__bad_value__says_meter_column_and_remedy(
    roster: Roster, raw: object, why: str
) -> None:
    refusal = roster.admit("house", 7, raw, 0, "file:3")
    assert isinstance(refusal, Refusal)
    assert (refusal.meter, refusal.period, refusal.where) == ("house", 7, "file:3")
    assert "import_wh of meter 'house'" in refusal.why
    assert why in refusal.why
    assert "Wh" in refusal.fix or "direction" in refusal.fix


def test_admit__energy_in_a_direction_without_capacity__is_refused(roster: Roster) -> None:
    refusal = roster.admit("house", 0, 0, 1, "file:3")
    assert isinstance(refusal, Refusal)
    assert "export_wh" in refusal.why
    assert "allows 0 Wh" in refusal.why


def test_admit__unknown_meter__is_refused(roster: Roster) -> None:
    refusal = roster.admit("barn", 0, 0, 0, "file:3")
    assert isinstance(refusal, Refusal)
    assert str(refusal) == (
        "file:3: meter 'barn' is not in the roster. Correct the id or admit the meter"
    )


def test_roster__keeps_the_order_of_its_meters(roster: Roster) -> None:
    assert list(roster) == ["house", "roof"]
    assert len(roster) == 2
    assert roster["roof"].bus == 4


def test_roster__same_id_twice__is_refused(roster: Roster) -> None:
    with pytest.raises(ValueError, match="'house' is there twice"):
        Roster([roster["house"], roster["house"]])


def test_roster__capacity_beyond_a_packed_reading__is_refused() -> None:
    Roster([Meter("big", "", 0, Role.GENERATOR, MAX_ENERGY_WH, 0)], period_s=3600)
    with pytest.raises(ValueError, match="at most 1099511627775 Wh"):
        Roster([Meter("big", "", 0, Role.GENERATOR, MAX_ENERGY_WH + 1, 0)], period_s=3600)


def test_load_roster__with_a_byte_order_mark_and_more_columns__is_read(tmp_path: Path) -> None:
    path = tmp_path / "meters.csv"
    path.write_text(f"\ufeff{HEADER},note\nhouse,Load 1,3,consumer,4000,0,old\n", "utf-8")
    assert load_roster(path)["house"] == Meter("house", "Load 1", 3, Role.CONSUMER, 4000, 0)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (HEADER.replace("bus", "node") + "\n", ":1", "column 'bus' is missing"),
        (f"{HEADER}\nhouse,L,3,consumer,4 kW,0\n", ":2", "import_capacity_w is '4 kW'"),
        (f"{HEADER}\nhouse,L,3,consumer,-4,0\n", ":2", "import_capacity_w is negative"),
        (f"{HEADER}\nhouse,L,3,consumer\n", ":2", "import_capacity_w is empty"),
        (f"{HEADER}\nhouse,L,3,baker,4,0\n", ":2", "role 'baker' is unknown"),
        (f"{HEADER}\n,L,3,consumer,4,0\n", ":2", "meter is empty"),
        (f"{HEADER}\na,L,3,consumer,4,0\na,L,3,consumer,4,0\n", ":3", "'a' is there twice"),
        (f"{HEADER}\na,L,3,consumer,{10**17},0\n", "", "a report holds at most"),
        (f"{HEADER}\n", "", "has no meters"),
        ("", ":1", "column 'meter' is missing"),
    ],
)
def test_load_roster__bad_file__names_file_line_and_remedy(
    tmp_path: Path, text: str, line: str, why: str
) -> None:
    path = tmp_path / "meters.csv"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        load_roster(path)
    assert caught.value.where == f"{path}{line}"
    assert why in caught.value.why
    assert caught.value.fix


def test_load_roster__no_file_or_no_text__says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        load_roster(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="cannot be read"):
        load_roster(tmp_path / "binary.csv")
