"""Every example of the libraries' own test sets that can be had as a package.

Only nemreader's source archive holds examples: market test files of NEM12 from many networks.
Those of dsmr-parser, pyocmf and smartmeter-datacollector are in no package; `meter_messages.py` and
`dlms.py` beside this folder make messages of these formats.
"""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from oracle.meters import nem12
from oracle.meters.sample import ParseError, Register, Sample

ARCHIVE = Path(__file__).resolve().parents[2] / ".cache" / "examples" / "nemreader-0.9.2.tar.gz"
ROOT = "nemreader-0.9.2/examples/"

SCALES = {"wh": Decimal(1), "kwh": Decimal(1_000), "mwh": Decimal(1_000_000)}

MALFORMED = {
    "invalid/Example_NEM12_15min_200_30min_300.csv": "96 values",
    "invalid/Example_NEM12_30min_200_15min_300.csv": "no quality behind 48 values",
    "invalid/Example_NEM12_30min_200_15min_400.csv": "no quality behind 48 values",
    "invalid/Example_NEM12_incomplete_interval.csv": "48 values",
    "nem12/NEM12#Scenario10#ETSAMDP#NEMMCO.zip": "48 values",
}
"""Files with bad records, and what is said of them; the other records count."""

WELL_FORMED = {
    "invalid/Example_NEM12_15min_200_30min_400.csv": "qualities may be of fewer intervals than all",
    "invalid/Example_NEM12_empty.csv": "a file may hold no day",
}
"""What nemreader calls invalid and is read here, with the reason."""


@cache
def examples() -> dict[str, bytes]:
    """Return the example files by their place in the archive, unpacked."""
    assert ARCHIVE.exists(), f"{ARCHIVE} is missing: `make test` fetches it"
    found = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            name = member.name.removeprefix(ROOT)
            if file is None or name == member.name:
                continue
            raw = file.read()
            if name.lower().endswith(".zip"):
                with zipfile.ZipFile(io.BytesIO(raw)) as packed:
                    (inner,) = packed.namelist()
                    found[name] = packed.read(inner)
            elif name.lower().endswith(".csv"):
                found[name] = raw
    return found


def is_nem12(raw: bytes) -> bool:
    return raw.startswith(b"100,NEM12")


def added_up(raw: bytes) -> Iterator[tuple[tuple[str, Register], Decimal]]:
    """Yield the values of whole days by meter and direction in Wh, record by record."""
    channel: tuple[str, Register, Decimal] | None = None
    count = 0
    for row in csv.reader(raw.decode("utf-8-sig").splitlines()):
        if row[:1] == ["200"]:
            register = {"E": Register.IMPORT, "B": Register.EXPORT}.get(row[4][:1].upper())
            scale = SCALES.get(row[7].strip().lower())
            count = 1440 // int(row[8])
            channel = (row[1], register, scale) if register and scale else None
        elif row[:1] == ["300"] and channel is not None and len(row) >= count + 3:
            meter, register, scale = channel
            if row[count + 2] != "N":
                yield (meter, register), scale * sum(map(Decimal, row[2 : count + 2]))


def read(raw: bytes) -> tuple[list[Sample], list[str]]:
    found = list(nem12.read(raw, "example"))
    samples = [item for item in found if isinstance(item, Sample)]
    return samples, [item.why for item in found if not isinstance(item, Sample)]


def test_nem12_examples__are_all_there() -> None:
    files = examples()
    assert len([name for name in files if is_nem12(files[name])]) >= 110
    assert {*MALFORMED, *WELL_FORMED} <= files.keys()


def test_nem12_examples__well_formed__come_to_what_their_records_add_up_to() -> None:
    files = {
        name: raw
        for name, raw in examples().items()
        if is_nem12(raw) and name not in MALFORMED and b"\n400," not in raw
    }
    assert len(files) >= 20
    for name, raw in files.items():
        samples, refused = read(raw)
        assert refused == [], name
        sums: Counter[tuple[str, Register]] = Counter()
        for sample in samples:
            sums[sample.meter, sample.register] += sample.value_wh
        expected: Counter[tuple[str, Register]] = Counter()
        exact: dict[tuple[str, Register], Decimal] = {}
        for key, value in added_up(raw):
            exact[key] = exact.get(key, Decimal(0)) + value
        for key, value in exact.items():
            expected[key] = int(value)
        assert sums.keys() == exact.keys(), name
        for key, total in exact.items():
            # Each value is rounded down to a Wh.
            intervals = sum((s.meter, s.register) == key for s in samples)
            channels = 4
            assert total - channels * intervals < sums[key] <= total, name


@pytest.mark.parametrize("qualified", [True, False])
def test_nem12_examples__all_others__are_read_without_a_complaint(qualified: bool) -> None:
    for name, raw in examples().items():
        if is_nem12(raw) and name not in MALFORMED and (b"\n400," in raw) is qualified:
            assert read(raw)[1] == [], name


@pytest.mark.parametrize("name", MALFORMED)
def test_nem12_example__with_bad_records__is_refused_record_by_record(name: str) -> None:
    _, refused = read(examples()[name])

    assert refused
    assert MALFORMED[name] in refused[0]


def test_nem12_example__of_days_finer_than_its_channel__gives_no_energy() -> None:
    samples, _ = read(examples()["invalid/Example_NEM12_30min_200_15min_300.csv"])

    assert samples == []


def test_examples__that_are_no_nem12__are_refused_whole() -> None:
    others = {name: raw for name, raw in examples().items() if not is_nem12(raw)}
    assert len(others) >= 30
    for name, raw in others.items():
        with pytest.raises(ParseError, match="does not begin with a record 100,NEM12"):
            list(nem12.read(raw, name))
