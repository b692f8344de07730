"""The profile source over CSV and gzipped CSV files, good and bad."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.source import MeterSource, Quality, Reading, Refusal, SourceError

HEADER = "meter,row,import_wh,export_wh\n"
Write = Callable[[str], Path]


@pytest.fixture
def roster() -> Roster:
    return Roster(
        [
            Meter("house", "Load 1", 3, Role.CONSUMER, 4000, 0),
            Meter("roof", "SGen 1", 4, Role.GENERATOR, 0, 10_000),
        ]
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "profile.csv"
        path.write_bytes(text.encode())
        return path

    return write_file


def readings(source: MeterSource, period: int) -> dict[str, tuple[int, int]]:
    found = [answer for answer in source.read(period) if isinstance(answer, Reading)]
    assert len({reading.meter for reading in found}) == len(found)
    return {reading.meter: (reading.import_wh, reading.export_wh) for reading in found}


def refusals(source: MeterSource, period: int) -> list[Refusal]:
    return [answer for answer in source.read(period) if isinstance(answer, Refusal)]


def test_read__names_file_and_line_of_each_reading(write: Write, roster: Roster) -> None:
    path = write(HEADER + "house,0,200,0\nroof,0,0,2500\nhouse,1,210,0\nroof,1,0,0\n")
    assert list(ProfileSource(path, roster).read(1)) == [
        Reading("house", 1, 210, 0, Quality.MEASURED, f"{path}:4"),
        Reading("roof", 1, 0, 0, Quality.MEASURED, f"{path}:5"),
    ]


def test_read__again__gives_the_same(write: Write, roster: Roster) -> None:
    source = ProfileSource(write(HEADER + "house,0,200,0\nhouse,0,200,0\nroof,0,0,-1\n"), roster)
    assert list(source.read(0)) == list(source.read(0))


def test_read__with_offsets__maps_rows_to_periods(write: Write, roster: Roster) -> None:
    rows = "".join(f"house,{row},{row},0\n" for row in range(10))
    source = ProfileSource(write(HEADER + rows), roster, first_period=1_000_000, first_row=4)
    assert readings(source, 1_000_000) == {"house": (4, 0)}
    assert readings(source, 1_000_005) == {"house": (9, 0)}
    for period in (999_999, 1_000_006):
        (gap,) = refusals(source, period)
        assert (gap.meter, gap.period) == ("house", period)
        assert "no row" in gap.why
        assert "periods 1000000 to 1000005" in gap.fix


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_read__any_line_end_column_order_and_quotes__is_the_same(
    write: Write, roster: Roster, end: str
) -> None:
    lines = ["\ufeffexport_wh,note,row,meter,import_wh", '0,"a, b",0,"house",200', "", ""]
    assert readings(ProfileSource(write(end.join(lines)), roster), 0) == {"house": (200, 0)}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("house,0,-3,0", "negative"),
        ("house,0,nan,0", "NaN"),
        ("house,0,0.2,0", "not a whole number"),
        ("house,0,,0", "empty"),
        ("house,0,1001,0", "capacity allows 1000 Wh"),
        ("house,0,0,1", "capacity allows 0 Wh"),
    ],
)
def test_read__bad_reading__is_refused_and_the_others_go_on(
    write: Write, roster: Roster, row: str, why: str
) -> None:
    path = write(f"{HEADER}{row}\nroof,0,0,2500\nhouse,1,7,0\n")
    source = ProfileSource(path, roster)
    (refusal,) = refusals(source, 0)
    assert (refusal.meter, refusal.period, refusal.where) == ("house", 0, f"{path}:2")
    assert why in refusal.why
    assert readings(source, 0) == {"roof": (0, 2500)}
    assert readings(source, 1) == {"house": (7, 0)}


def test_read__unknown_meter__is_refused_where_it_stands(write: Write, roster: Roster) -> None:
    path = write(HEADER + "house,0,1,0\nbarn,0,1,0\nhouse,1,1,0\n")
    source = ProfileSource(path, roster)
    (refusal,) = refusals(source, 0)
    assert (refusal.meter, refusal.where) == ("barn", f"{path}:3")
    assert "not in the roster" in refusal.why
    assert list(readings(source, 0)) == ["house"]
    # Only meters of the roster are missed.
    assert refusals(source, 1) == []


def test_read__row_repeated__is_kept_once_and_told(write: Write, roster: Roster) -> None:
    path = write(HEADER + "house,0,5,0\nhouse,0,5.0,0\nroof,0,0,1\n")
    source = ProfileSource(path, roster)
    assert readings(source, 0) == {"house": (5, 0), "roof": (0, 1)}
    (refusal,) = refusals(source, 0)
    assert refusal.kept
    assert refusal.where == f"{path}:3"
    assert f"{path}:2" in refusal.why


def test_read__rows_contradict__refuses_all_of_them(write: Write, roster: Roster) -> None:
    path = write(HEADER + "house,0,5,0\nhouse,0,6,0\nhouse,0,5,0\nroof,0,0,1\n")
    source = ProfileSource(path, roster)
    assert readings(source, 0) == {"roof": (0, 1)}
    assert [refusal.where for refusal in refusals(source, 0)] == [f"{path}:{n}" for n in (2, 3, 4)]
    assert not any(refusal.kept for refusal in refusals(source, 0))


def test_read__good_row_beside_a_bad_one_of_its_kind__is_refused_too(
    write: Write, roster: Roster
) -> None:
    source = ProfileSource(write(HEADER + "house,0,5,0\nhouse,0,nan,0\n"), roster)
    assert readings(source, 0) == {}
    assert len(refusals(source, 0)) == 2


def test_read__last_row_cut_in_its_number__is_refused_for_its_meter(
    write: Write, roster: Roster
) -> None:
    path = write(HEADER + "house,0,5,0\nroof,0,0,1\nhouse,1,5,0\nroof,1,0,25")
    source = ProfileSource(path, roster)
    assert readings(source, 0) == {"house": (5, 0), "roof": (0, 1)}
    assert readings(source, 1) == {"house": (5, 0)}
    (refusal,) = refusals(source, 1)
    assert (refusal.meter, refusal.where) == ("roof", f"{path}:5")
    assert "may be cut" in refusal.why
    assert "Restore the file" in refusal.fix


def test_read__last_row_cut_in_its_name__is_told_with_the_gap(write: Write, roster: Roster) -> None:
    path = write(HEADER + "house,0,5,0\nroof,0,0,1\nhouse,1,5,0\nro")
    source = ProfileSource(path, roster)
    (stray,) = source.strays
    assert stray.where == f"{path}:5"
    (gap,) = refusals(source, 1)
    assert gap.meter == "roof"
    assert "may be cut" in gap.why


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("house,0,5", "3 cells"),
        ("house,0,5,0,9", "5 cells"),
        ('house,0,"5,0', "cannot be parsed"),
        ("house,one,5,0", "row of meter 'house' is 'one', not a whole number"),
        ("house,-1,5,0", "row of meter 'house' is negative"),
        (",0,5,0", "not an id"),
    ],
)
def test_read__row_without_a_place__is_a_stray_and_spoils_no_other(
    write: Write, roster: Roster, row: str, why: str
) -> None:
    path = write(f"{HEADER}{row}\nhouse,0,5,0\nroof,0,0,1\n")
    source = ProfileSource(path, roster)
    (stray,) = source.strays
    assert stray.where == f"{path}:2"
    assert why in stray.why
    assert readings(source, 0) == {"house": (5, 0), "roof": (0, 1)}


@pytest.mark.parametrize(
    ("header", "why", "fix"),
    [
        ("meter,row,import_kwh,export_wh", "'import_kwh' stands where 'import_wh'", "whole Wh"),
        ("meter,row,import_wh,export_w", "'export_w' stands where 'export_wh'", "whole Wh"),
        ("meter,row,export_wh", "'import_wh' is missing", "meter, row, import_wh, export_wh"),
        ("meter,time,import_wh,export_wh", "'row' is missing", "meter, row, import_wh"),
        ("meter,row,row,import_wh,export_wh", "'row' is there twice", "Keep one"),
        ("meter;row;import_wh;export_wh", "'meter' is missing", "meter, row"),
        ("", "has no header", "meter, row"),
    ],
)
def test_open__wrong_header__names_file_column_and_remedy(
    write: Write, roster: Roster, header: str, why: str, fix: str
) -> None:
    path = write(f"{header}\nhouse,0,5,0\n")
    with pytest.raises(SourceError) as caught:
        ProfileSource(path, roster)
    assert caught.value.where == f"{path}:1"
    assert why in caught.value.why
    assert fix in caught.value.fix


def test_open__no_row_that_can_be_used__says_why(write: Write, roster: Roster) -> None:
    with pytest.raises(SourceError, match="has no rows"):
        ProfileSource(write(HEADER), roster)
    with pytest.raises(SourceError, match=r"no usable row; .*profile\.csv:2: .* 3 cells"):
        ProfileSource(write(HEADER + "house,0,5\n"), roster)


def test_open__file_is_not_there_or_of_another_kind__says_so(
    tmp_path: Path, roster: Roster
) -> None:
    with pytest.raises(SourceError, match="No such file"):
        ProfileSource(tmp_path / "none.csv", roster)
    with pytest.raises(SourceError, match=r"Give a \.csv, \.csv\.gz or \.parquet file"):
        ProfileSource(tmp_path / "profile.xlsx", roster)


def test_open__not_utf_8__names_the_byte(tmp_path: Path, roster: Roster) -> None:
    path = tmp_path / "profile.csv"
    path.write_bytes(HEADER.encode() + b"h\xe4user,0,5,0\n")
    with pytest.raises(SourceError, match=f"not UTF-8 at byte {len(HEADER) + 1}"):
        ProfileSource(path, roster)


def test_open__gzip__reads_as_plain(tmp_path: Path, roster: Roster) -> None:
    path = tmp_path / "profile.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "house,0,5,0\n").encode()))
    assert readings(ProfileSource(path, roster), 0) == {"house": (5, 0)}


def test_open__gzip_cut_anywhere__uses_none_of_it(tmp_path: Path, roster: Roster) -> None:
    whole = gzip.compress((HEADER + "house,0,5,0\nhouse,1,6,0\n").encode())
    path = tmp_path / "profile.csv.gz"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match="cut or damaged") as caught:
            ProfileSource(path, roster)
        assert caught.value.where == str(path)
        assert "Copy the file again" in caught.value.fix
