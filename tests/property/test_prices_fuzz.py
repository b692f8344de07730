"""No bytes make a parser of prices raise anything but its own error, or believe nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.prices import UINT32_MAX
from oracle.prices.formats import (
    COLUMNS,
    MOST_BYTES,
    PRICES,
    FeedError,
    PriceData,
    read_csv,
    read_json,
    read_spot,
)
from oracle.prices.settings import SpotPrices
from tests.hostile import mutated, scalars, trees_of
from tests.world import default_schedule

CLOCK = default_schedule()
HEADER = ",".join(COLUMNS) + "\n"
CSV = (HEADER + "42,329700,437900,535900\n43,1,2,3\n").encode()
ENTRY = {"period": 42} | dict.fromkeys(PRICES, 437_900)
JSON = json.dumps({"published": "2027-01-15T08:00:00Z", "prices": [ENTRY]}).encode()
START = {"start": "2027-01-15T09:00:00+01:00"} | dict.fromkeys(PRICES, 437_900)
JSON_START = json.dumps({"prices": [START]}).encode()
SPOT = json.dumps({"data": [{"t": 1_800_000_000_000, "p": 85.3}, {"t": 0, "p": None}]}).encode()
RULES = [
    SpotPrices.model_validate(
        {
            "list": "data",
            "start": "t",
            "start_unit": unit,
            "price": "p",
            "interval_s": 3_600,
            "uyuan_per_unit": 7_800.0,
            "offset_uyuan_per_kwh": -5,
            "selling_percent": 75,
            "compensation_percent": 122,
        }
    )
    for unit in ("iso", "s", "ms")
]


def check(parse: Callable[[], PriceData]) -> None:
    try:
        found = parse()
    except FeedError:
        return
    for period, prices in found.prices.items():
        assert 0 <= period <= UINT32_MAX
        assert all(0 <= getattr(prices, name) <= UINT32_MAX for name in PRICES)
    assert found.published_s is None or found.published_s >= 0


def test_examples__are_good() -> None:
    assert len(read_csv(CSV, "it").prices) == 2
    assert list(read_json(JSON, CLOCK).prices) == [42]
    assert list(read_json(JSON_START, CLOCK).prices) == [0]
    assert list(read_spot(SPOT, RULES[2], CLOCK).prices) == [0, 1, 2, 3]


@given(mutated(CSV) | st.text(alphabet='0123456789-,"\r\n² period').map(lambda t: t.encode()))
def test_any_csv__is_read_or_refused(raw: bytes) -> None:
    check(lambda: read_csv(raw, "it"))
    check(lambda: read_csv(HEADER.encode() + raw, "it"))


keyed = trees_of(["published", "prices", *COLUMNS, "start"])
entries = st.dictionaries(st.sampled_from([*COLUMNS, "start"]), scalars) | st.builds(
    lambda key, value: START | {key: value}, st.sampled_from(list(START)), scalars
)


@given(
    mutated(JSON, JSON_START)
    | keyed.map(lambda tree: json.dumps(tree).encode())
    | st.fixed_dictionaries({"published": scalars, "prices": st.lists(entries | keyed)}).map(
        lambda tree: json.dumps(tree).encode()
    )
)
def test_any_json__is_read_or_refused(raw: bytes) -> None:
    check(lambda: read_json(raw, CLOCK))


@given(
    st.sampled_from(RULES),
    mutated(SPOT)
    | st.fixed_dictionaries(
        {"data": st.lists(st.fixed_dictionaries({"t": scalars, "p": scalars}) | trees_of("tp"))}
    ).map(lambda tree: json.dumps(tree).encode()),
)
def test_any_spot_prices__are_read_or_refused(spot: SpotPrices, raw: bytes) -> None:
    check(lambda: read_spot(raw, spot, CLOCK))


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"prices":' * 50_000, b"1" * MOST_BYTES + b"1"])
def test_deep_or_long_bytes__are_refused(raw: bytes) -> None:
    parsers: list[Callable[[], PriceData]] = [
        lambda: read_csv(raw, "it"),
        lambda: read_json(raw, CLOCK),
        lambda: read_spot(raw, RULES[0], CLOCK),
    ]
    for parse in parsers:
        with pytest.raises(FeedError):
            parse()
