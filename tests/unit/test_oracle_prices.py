"""Prices from outside: the file read again, the checks, and what a seat proposes and votes."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from market.prices import PeriodPrices, TradingPrices, clamp
from oracle.alarms import PriceWatch
from oracle.duties import prices
from oracle.monitor import REGISTRY
from oracle.prices.formats import COLUMNS, FeedError, read_json, read_spot
from oracle.prices.settings import CsvPrices, HttpPrices, SpotPrices
from oracle.prices.source import PriceSource
from oracle.pricing import own_prices, periods_ahead, price_digest, price_source, price_tuple
from tests.desk import CLOCK, PERIOD, Desk
from tests.world import EPOCH_S, PENG

HEADER = ",".join(COLUMNS) + "\n"
GOOD = "300000,500000,700000"
ASKED = TradingPrices(300_000, 500_000, 700_000)
NOW = CLOCK.start(PERIOD)


class Priced(PriceSource):
    """A source that is told what to say."""

    def __init__(self, *known: int, fresh: bool = True) -> None:
        self.known, self.fresh = set(known), fresh
        self.faults: dict[int, str] = {}

    def trading(self, period: int, /) -> TradingPrices | None:
        return ASKED if period in self.known else None

    def problem(self, period: int, /) -> str | None:
        return self.faults.get(period)

    def renewed(self, _proposal: bytes, /) -> bool:
        return self.fresh


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oracle")


def said(caplog: pytest.LogCaptureFixture, event: str) -> list[tuple[object, object]]:
    """Return period, or nothing, and reason of what was logged under a name."""
    return [
        (fields.get("period"), str(fields.get("reason", fields.get("problem"))))
        for record in caplog.records
        for fields in [getattr(record, "fields", {})]
        if record.getMessage() == event
    ]


def source(file: Path, now: int = NOW, **checks: int) -> PriceSource:
    config = CsvPrices.model_validate({"source": "csv", "file": file} | checks)
    return price_source(config, CLOCK, file.with_name("journal"), lambda: now)


def table(file: Path, *rows: str, at: int = NOW - 60) -> Path:
    """Write a file of prices as it would be at an instant."""
    file.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    os.utime(file, (at, at))
    return file


# -- checks


@pytest.mark.parametrize(
    ("checks", "rows", "told"),
    [
        ({}, [f"8,{GOOD}"], None),
        ({}, [f"7,{GOOD}"], "there are none for it"),
        ({"stale_after_s": 60}, [f"8,{GOOD}"], None),
        ({"stale_after_s": 59}, [f"8,{GOOD}"], r"of 2027-01-2.*Z, stale_after_s = 59"),
        ({"floor_uyuan_per_kwh": 300_000}, [f"8,{GOOD}"], None),
        ({"floor_uyuan_per_kwh": 300_001}, [f"8,{GOOD}"], "selling.* = 300000 is below floor_"),
        ({"ceiling_uyuan_per_kwh": 700_000}, [f"8,{GOOD}"], None),
        ({"ceiling_uyuan_per_kwh": 699_999}, [f"8,{GOOD}"], "compensation.* = 700000 is above"),
        ({}, ["8,2,1,3"], "selling_uyuan_per_kwh = 2 is above planned_uyuan_per_kwh = 1"),
        ({}, ["8,1,3,2"], "planned_uyuan_per_kwh = 3 is above compensation_uyuan_per_kwh = 2"),
        ({}, ["8,1,1,1"], None),
        ({"most_change_percent": 50}, ["7,100,100,100", "8,50,100,150"], None),
        ({"most_change_percent": 50}, ["7,100,100,100", "8,49,100,150"], "= 49 after 100, most_"),
        ({"most_change_percent": 50}, ["7,100,100,100", "8,50,100,151"], "= 151 after 100, most_"),
        ({"most_change_percent": 50}, ["7,0,1,1", "8,1,1,1"], "= 1 after 0, most_"),
        ({"most_change_percent": 50}, ["6,1,1,1", f"8,{GOOD}"], None),
    ],
)
def test_checks__prices_of_a_period__pass_or_the_benchmark_stands(
    tmp_path: Path, checks: dict[str, int], rows: list[str], told: str | None
) -> None:
    made = source(table(tmp_path / "prices.csv", *rows), **checks)
    problem = made.problem(8)
    if told is None:
        assert problem is None
        assert made.trading(8) is not None
        return
    assert problem is not None
    assert re.search(told, problem)
    assert made.trading(8) is None
    assert own_prices(made, PENG, 8) == PeriodPrices.from_benchmark(PENG)


def test_checks__band_the_wrong_way_round__is_refused() -> None:
    with pytest.raises(ValidationError, match="floor_uyuan_per_kwh is above"):
        CsvPrices.model_validate(
            {"source": "csv", "file": "x", "floor_uyuan_per_kwh": 2, "ceiling_uyuan_per_kwh": 1}
        )


@pytest.mark.parametrize("url", ["http://me:secret@host/", "ftp://host/", "http//host"])
def test_feed__address_that_holds_a_user_or_is_none__is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        HttpPrices.model_validate({"source": "http", "url": url})


def test_ahead__counts_up_to_the_first_period_without_prices(tmp_path: Path) -> None:
    rows = [f"{period},{GOOD}" for period in (PERIOD, PERIOD + 1, PERIOD + 2, PERIOD + 4)]
    made = source(table(tmp_path / "prices.csv", *rows))
    assert periods_ahead(made, CLOCK, NOW) == 2
    assert made.age_s == 60
    assert periods_ahead(PriceSource(), CLOCK, NOW) == 0


# -- the file


def test_file__changed__is_read_again(tmp_path: Path) -> None:
    made = source(table(tmp_path / "prices.csv", f"8,{GOOD}"))
    table(tmp_path / "prices.csv", f"9,{GOOD}")
    assert made.trading(9) is None
    made.look()
    assert (made.trading(8), made.trading(9)) == (None, ASKED)


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (HEADER + "8,1,2,x\n", ":2: compensation_uyuan_per_kwh is 'x'"),
        (HEADER + "8,1,2,3\n9,1,2,3", "the last line has no line end"),
        (HEADER + "8,1,2\n", ":2: compensation_uyuan_per_kwh is None"),
        (HEADER + "8,1,2,1_0\n", "is '1_0'; give a whole number"),
        (HEADER + "-8,1,2,3\n", "period is -8"),
        (HEADER + "8,1,2,4294967296\n", "does not fit 32 bits"),
        ("", "column 'period' is missing"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_file__bad_new_one__the_one_before_stays_until_it_is_good_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoilt: str | None, told: str
) -> None:
    file = table(tmp_path / "prices.csv", f"8,{GOOD}")
    made = source(file)
    file.unlink() if spoilt is None else file.write_text(spoilt)
    for _ in range(3):
        made.look()
    ((_, problem),) = said(caplog, "price feed fails")
    assert told in str(problem)
    assert made.trading(8) == ASKED
    table(file, f"9,{GOOD}")
    made.look()
    assert len(said(caplog, "price feed is back")) == 1
    assert (made.trading(8), made.trading(9)) == (None, ASKED)


def test_file__pipe_in_its_place__holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = table(tmp_path / "prices.csv", f"8,{GOOD}")
    made = source(file)
    file.unlink()
    os.mkfifo(file)
    made.look()
    ((_, problem),) = said(caplog, "price feed fails")
    assert "it is no file" in str(problem)


# -- formats


def entry(**keys: object) -> bytes:
    values = {"period": 8, COLUMNS[1]: 1, COLUMNS[2]: 2, COLUMNS[3]: 3} | keys
    return json.dumps({"prices": [{k: v for k, v in values.items() if v is not None}]}).encode()


def test_json__start_with_an_offset__is_the_period_that_begins_then() -> None:
    made = read_json(entry(period=None, start="2027-01-15T09:15:00+01:00"), CLOCK)
    assert made.prices == {1: TradingPrices(1, 2, 3)}
    earlier = read_json(entry(period=None, start="2027-01-15T08:00:00+01:00"), CLOCK)
    assert earlier.prices == {}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{", "is not JSON"),
        (b'{"prices": NaN}', "is not JSON"),
        (b'{"prices": {}}', "no list 'prices'"),
        (b'{"prices": [3]}', "prices.0 is no object"),
        (b'{"prices": [], "published": "2027-01-15"}', "published: .*no offset from UTC"),
        (entry(start="2027-01-15T08:00:00Z"), "prices.0: give one of 'period' and 'start'"),
        (entry(period=None, start="2027-01-15T08:00:01Z"), "when no period begins"),
        (entry(period=None, start=1_800_000_000), "prices.0.start: .*ISO 8601"),
        (entry(period=True), "prices.0: period is True"),
        (entry(planned_uyuan_per_kwh=2.0), "planned_uyuan_per_kwh is '2.0'; give a whole"),
        (entry(selling_uyuan_per_kwh=None), "selling_uyuan_per_kwh is None"),
        (entry(selling_uyuan_per_kwh=-1), "selling_uyuan_per_kwh = -1 is negative"),
    ],
)
def test_json__bad__named(raw: bytes, told: str) -> None:
    with pytest.raises(FeedError, match=told):
        read_json(raw, CLOCK)


SPOT = SpotPrices(
    list="data.0",
    start="at",
    start_unit="s",
    price="p",
    interval_s=1_800,
    uyuan_per_unit=7_800.0,
    offset_uyuan_per_kwh=1_000,
    selling_percent=75,
    compensation_percent=122,
)


def test_spot__intervals__become_periods_by_the_rule() -> None:
    rows = [(-1_800, 50), (0, 85.3), (1_800, None), (3_700, -500), (7_200, "10")]
    intervals = [{"at": EPOCH_S + at, "p": price} for at, price in rows]
    made = read_spot(json.dumps({"data": [intervals]}).encode(), SPOT, CLOCK)
    planned = round(85.3 * 7_800) + 1_000
    usual = TradingPrices(planned * 75 // 100, planned, planned * 122 // 100)
    assert made.prices == {
        **dict.fromkeys((0, 1), usual),
        **dict.fromkeys((5, 6), TradingPrices(0, 0, 0)),
        **dict.fromkeys((8, 9), TradingPrices(59_250, 79_000, 96_380)),
    }


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{}", "the answer has no 'data.0'"),
        (b'{"data": [{}]}', "data.0 is no list of intervals"),
        (b'{"data": [[{"at": 0}]]}', "data.0.0 has no 'p'"),
        (b'{"data": [[{"p": 0}]]}', "data.0.0 has no 'at'"),
        (b'{"data": [[{"at": "x", "p": 0}]]}', "data.0.0: .*'x' is not a number"),
        (b'{"data": [[{"at": 1800000000, "p": "cheap"}]]}', "data.0.0.p is 'cheap'"),
        (b'{"data": [[{"at": 1800000000, "p": true}]]}', "data.0.0.p is True"),
        (b'{"data": [[{"at": 1800000000, "p": 1e999999999}]]}', "give a number"),
        (b'{"data": [[{"at": 1800000000, "p": 1e14}]]}', "does not fit 32 bits"),
    ],
)
def test_spot__bad__named(raw: bytes, told: str) -> None:
    with pytest.raises(FeedError, match=told):
        read_spot(raw, SPOT, CLOCK)


# -- duties


def proposals(desk: Desk, known: Priced) -> list[list[int]]:
    """Return the periods that the primary among the seats proposes prices of."""
    desk.prices = known
    return [
        list(range(p.first, p.first + len(p.prices)))
        for seat in range(4)
        for p in prices.propose(desk.at(NOW, seat))
    ]


def test_propose__periods_without_prices__are_left_for_later(desk: Desk) -> None:
    soon = PERIOD + 6
    assert proposals(desk, Priced()) == []
    assert proposals(desk, Priced(soon, soon + 1, soon + 3)) == [[soon, soon + 1]]
    # Behind a gap; and one whose time to vote is not half over may still get company.
    assert proposals(desk, Priced(soon + 1)) == [[soon + 1]]
    assert proposals(desk, Priced(soon + 80)) == []


def ballot(desk: Desk, source: Priced, asked: TradingPrices = ASKED) -> list[bool]:
    """Have prices proposed, and return what this seat votes at once and half a round later."""
    fixed = clamp(asked, PENG)[0]
    opened = CLOCK.price_opens(PERIOD)
    desk.tell(
        "PricesProposed",
        opened,
        fromPeriod=PERIOD,
        round=0,
        proposer=PERIOD % 4,
        digest=price_digest([fixed]),
        prices=(price_tuple(fixed),),
    )
    desk.prices = source
    later = opened + CLOCK.round_length_s // 2
    return [v.support for now in (later - 1, later) for v in prices.vote(desk.at(now))]


def test_vote__own_prices_are_the_same__supports_at_once(desk: Desk) -> None:
    assert ballot(desk, Priced(PERIOD, fresh=False)) == [True, True]


def test_vote__other_prices_or_none__opposes_once_its_source_was_asked_anew(desk: Desk) -> None:
    assert ballot(desk, Priced(fresh=True)) == [False, False]


def test_vote__source_does_not_answer__opposes_after_half_a_round(desk: Desk) -> None:
    assert ballot(desk, Priced(fresh=False)) == [False]


def test_vote__no_prices_of_its_own__supports_the_benchmark(desk: Desk) -> None:
    benchmark = TradingPrices(329_700, 437_900, 535_900)
    assert ballot(desk, Priced(fresh=False), benchmark) == [True, True]


def test_watch__due_periods_without_prices__told_once_with_the_first_and_when_mended(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    made, watch, soon = Priced(), PriceWatch(), PERIOD + 6
    desk.prices = made
    made.faults = dict.fromkeys(range(PERIOD, PERIOD + 200), "stale")
    for later in range(0, 3 * 900, 300):
        watch.look(desk.at(NOW + later))
    assert said(caplog, "prices fail") == [(soon - 1, "stale")]
    made.faults = {soon + 4: "too dear", soon + 5: "too cheap", PERIOD + 90: "not due yet"}
    for _ in range(2):
        watch.look(desk.at(NOW + 2 * 900))
    assert said(caplog, "prices fail")[1:] == [(soon + 4, "too dear"), (soon + 5, "too cheap")]
    assert [reason for _, reason in said(caplog, "prices are back")] == ["stale"]
    del made.faults[soon + 4]
    watch.look(desk.at(NOW + 2 * 900))
    assert said(caplog, "prices are back")[1:] == [(soon + 4, "too dear")]


def test_watch__deadline_passed_unmended__is_not_called_back(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    made, watch, soon = Priced(), PriceWatch(), PERIOD + 6
    desk.prices, made.faults = made, {soon: "too dear"}
    watch.look(desk.at(NOW))
    watch.look(desk.at(NOW + 2 * 900))
    assert said(caplog, "prices fail") == [(soon, "too dear")]
    assert said(caplog, "prices are back") == []


def test_metrics__are_there() -> None:
    for name in ("subgrid_oracle_prices_age_seconds", "subgrid_oracle_prices_ahead_periods"):
        assert REGISTRY.get_sample_value(name) is not None
