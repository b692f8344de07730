"""The profile source over Parquet files, good, badly typed and damaged."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.source import Quality, Reading, Refusal, SourceError


@pytest.fixture
def roster() -> Roster:
    return Roster([Meter("house", "Load 1", 3, Role.CONSUMER, 4000, 0)])


def write(path: Path, **columns: Sequence[object]) -> Path:
    # Here, so that a pyarrow that cannot be imported fails these tests and not their collection.
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, write_page_checksum=True)
    return path


def test_read__typed_columns__name_file_and_record(tmp_path: Path, roster: Roster) -> None:
    path = write(
        tmp_path / "profile.parquet",
        row=[0, 1],
        meter=["house", "house"],
        export_wh=[0, 0],
        import_wh=[5, 6],
    )
    assert list(ProfileSource(path, roster).read(1)) == [
        Reading("house", 1, 6, 0, Quality.MEASURED, f"{path}:record 1")
    ]


def test_read__floats_and_nulls__are_whole_or_refused(tmp_path: Path, roster: Roster) -> None:
    path = write(
        tmp_path / "profile.parquet",
        meter=["house"] * 5,
        row=[0, 1, 2, 3, None],
        import_wh=[5.0, math.nan, 0.5, None, 1.0],
        export_wh=[0] * 5,
    )
    source = ProfileSource(path, roster)
    answers = [next(iter(source.read(period))) for period in range(4)]
    assert isinstance(answers[0], Reading)
    assert answers[0].import_wh == 5
    for answer, why in zip(answers[1:], ("NaN", "not a whole number", "empty"), strict=True):
        assert isinstance(answer, Refusal)
        assert why in answer.why
    (stray,) = source.strays
    assert stray.where == f"{path}:record 4"


def test_open__wrong_unit_or_missing_column__names_it(tmp_path: Path, roster: Roster) -> None:
    path = write(
        tmp_path / "profile.parquet", meter=["house"], row=[0], import_kwh=[1], export_wh=[0]
    )
    with pytest.raises(SourceError, match="'import_kwh' stands where 'import_wh' is expected"):
        ProfileSource(path, roster)
    write(path, meter=["house"], import_wh=[1], export_wh=[0])
    with pytest.raises(SourceError, match="'row' is missing"):
        ProfileSource(path, roster)


def test_open__file_is_not_there__says_so(tmp_path: Path, roster: Roster) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        ProfileSource(tmp_path / "none.parquet", roster)


def test_open__cut_anywhere__uses_none_of_it(tmp_path: Path, roster: Roster) -> None:
    path = write(
        tmp_path / "profile.parquet", meter=["house"], row=[0], import_wh=[5], export_wh=[0]
    )
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match="cut or damaged") as caught:
            ProfileSource(path, roster)
        assert caught.value.where == str(path)
        assert "Copy the file again" in caught.value.fix


def test_open__byte_of_the_data_changed__is_told_by_its_checksum(
    tmp_path: Path, roster: Roster
) -> None:
    import pyarrow.parquet as pq

    rows = list(range(500))
    path = write(
        tmp_path / "profile.parquet",
        meter=["house"] * 500,
        row=rows,
        import_wh=[(row * 7919) % 1000 for row in rows],
        export_wh=[0] * 500,
    )
    raw = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(2)
    # The last byte of a column chunk is data, not a header.
    place = chunk.dictionary_page_offset + chunk.total_compressed_size - 1
    raw[place] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(SourceError, match="cut or damaged"):
        ProfileSource(path, roster)
