"""No bytes make a parser raise anything but its own error, or believe what is out of bounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.meters import csv_mapping, dsmr, espi, messages, nem12, ocmf
from oracle.meters.csv_mapping import CsvMapping
from oracle.meters.sample import MAX_AT_MS, MAX_VALUE_WH, ParseError, Reject, Sample
from oracle.meters.settings import TopicConfig
from tests import meter_messages as made
from tests.hostile import mutated, scalars, trees_of

pytestmark = pytest.mark.filterwarnings("ignore::pyocmf.SpecWarning")

AT = datetime(2026, 11, 20, tzinfo=UTC)

TOPICS = [
    TopicConfig.model_validate(
        {
            "filter": "a/{meter}/+",
            "time": "t",
            "time_unit": unit,
            "device": "d.0",
            "quantities": [{"direction": "import", "value": "v", "unit": "MWh"}],
        }
    )
    for unit in ("s", "ms", "iso")
]
MAPPING = CsvMapping.model_validate(
    {
        "meter_column": "m",
        "time_column": "t",
        "energies": [{"column": "v", "direction": "import", "unit": "kWh"}],
        "interval_s": 900,
        "time_is": "end",
    }
)
KEY = made.public_hex(made.P256)

trees = trees_of("tvdxm")
json_bytes = st.builds(
    lambda tree: json.dumps(tree).encode(),
    trees | st.fixed_dictionaries({"t": trees, "v": trees, "d": trees}),
)


def check(parse: Callable[[], Iterable[Sample | Reject]]) -> None:
    try:
        found = list(parse())
    except ParseError:
        return
    for sample in found:
        if isinstance(sample, Sample):
            assert 0 <= sample.value_wh <= MAX_VALUE_WH
            assert 0 <= sample.at_ms <= MAX_AT_MS + 366 * 86_400_000
            assert sample.since_ms is None or 0 <= sample.since_ms < sample.at_ms
            assert sample.meter.encode()
            assert sample.device.encode() is not None


@given(st.sampled_from(TOPICS), json_bytes | mutated(b'{"t": 1.5, "v": "3", "d": [7]}'), st.text())
def test_any_message__is_read_or_refused(topic: TopicConfig, raw: bytes, level: str) -> None:
    check(lambda: messages.read_message([topic], f"a/{level}/x", raw, "s", 0, lambda _: None))


@pytest.mark.parametrize("depth", [10, 8_000])
def test_nested_message__is_refused(depth: int) -> None:
    raw = b'{"t":' * (depth // 5) + b"[" * depth
    with pytest.raises(ParseError):
        messages.read_message(TOPICS, "a/b/c", raw, "s", 0, lambda _: None)


@given(mutated(made.p1(), made.telegram("1-0:1.8.0(000123.456*kWh)")))
def test_any_telegram__is_read_or_refused(raw: bytes) -> None:
    check(lambda: dsmr.read(raw, "m", "s", 0))
    check(lambda: dsmr.read(raw, "m", "s", 0, unchecked=True))
    for piece in dsmr.Framer().feed(raw):
        assert isinstance(piece, bytes | ParseError)


@given(st.lists(st.text(alphabet="0123456789.-:()*kWhS", max_size=40), max_size=6))
def test_any_telegram__with_a_right_checksum__is_read_or_refused(lines: list[str]) -> None:
    check(lambda: dsmr.read(made.telegram(*lines), "m", "s", 0))


@given(mutated(made.ocmf(made.P256, "1.5", AT).encode()))
def test_any_ocmf_text__is_read_or_refused(raw: bytes) -> None:
    check(lambda: ocmf.read(raw, "s", lambda _: KEY))


@given(
    st.dictionaries(
        st.sampled_from(["TM", "RV", "RI", "RU", "ST", "EF", "RT"]), scalars, min_size=1
    )
)
def test_any_ocmf_reading__signed_as_it_should_be__is_read_or_refused(
    changes: dict[str, object],
) -> None:
    text = made.ocmf(made.P256, "1.5", AT, **changes)  # type: ignore[arg-type]
    check(lambda: ocmf.read(text.encode(), "s", lambda _: KEY))


@given(trees)
def test_any_ocmf_payload__signed_or_not__is_read_or_refused(tree: object) -> None:
    raw = f"OCMF|{json.dumps(tree)}|{json.dumps(tree)}".encode()
    check(lambda: ocmf.read(raw, "s", lambda _: KEY))


@given(mutated(made.espi([(1_700_000_000, 900, 25), (1_700_000_900, 900, 0)])))
def test_any_green_button_file__is_read_or_refused(raw: bytes) -> None:
    check(lambda: espi.read(raw, "s"))


@given(st.integers(), st.integers(), st.integers(), st.integers(-20, 20))
def test_any_numbers_of_green_button__are_read_or_refused(
    start: int, length: int, value: int, scale: int
) -> None:
    check(lambda: espi.read(made.espi([(start, length, value)], scale=scale), "s"))


@given(mutated(made.nem12("20260105", {"E1": ["1.5"] * 48}, "400,1,48,F14,,")))
def test_any_nem12_file__is_read_or_refused(raw: bytes) -> None:
    check(lambda: nem12.read(raw, "s"))


@given(st.sampled_from(["00010101", "99991231", "20260230", "\uff12\uff10260101", "2026010", ""]))
def test_any_day_of_nem12__is_read_or_refused(day: str) -> None:
    check(lambda: nem12.read(made.nem12(day, {"E1": ["1"] * 48}), "s"))


@given(mutated(b'm,t,v\nm1,2026-01-01T00:00:00Z,1.5\nm2,1970-01-01T00:00Z,""\n'))
def test_any_csv_file__is_read_or_refused(raw: bytes) -> None:
    check(lambda: csv_mapping.read(raw, "s", MAPPING))
