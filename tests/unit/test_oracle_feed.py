"""A day-ahead feed: what is taken from its server, and that no server holds a node up."""

from __future__ import annotations

import gzip
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from market.prices import TradingPrices
from oracle.config import ConfigError
from oracle.prices.feed import MOST_ASKED, HttpFeed
from oracle.prices.formats import MOST_BYTES
from oracle.prices.settings import HttpPrices
from oracle.prices.source import Known
from oracle.pricing import price_source
from tests.brokers import free_port
from tests.feeds import Feed, answer, served
from tests.world import EPOCH_S, default_schedule

CLOCK = default_schedule()
NOW = EPOCH_S + 7_200
PUBLISHED = EPOCH_S + 3_600
ASKED = TradingPrices(300_000, 500_000, 700_000)
DEARER = TradingPrices(400_000, 600_000, 700_000)
QUICK_S = 0.5
"""What a look may take on a busy machine, and far less than any wait for a server."""


@pytest.fixture
def server() -> Iterator[Feed]:
    with served() as feed:
        feed.body = answer([42, 43], ASKED, PUBLISHED)
        yield feed


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oracle")


def config(url: str, **keys: object) -> HttpPrices:
    given = {"source": "http", "url": url, "poll_s": 0.01, "timeout_s": 1.0} | keys
    return HttpPrices.model_validate(given)


def opened(
    folder: Path, url: str, now: Callable[[], int] = lambda: NOW, **keys: object
) -> HttpFeed:
    return HttpFeed(config(url, **keys), CLOCK, folder / "journal.prices", now)


def until(feed: HttpFeed, condition: Callable[[], bool]) -> None:
    """Look, as a node does with every block, until something is so; no look may take long."""
    give_up = time.monotonic() + 20
    while not condition():
        began = time.monotonic()
        assert began < give_up
        feed.look()
        assert time.monotonic() - began < QUICK_S
        threading.Event().wait(0.01)


def until_known(feed: HttpFeed, prices: TradingPrices = ASKED) -> None:
    until(feed, lambda: feed.known is not None and feed.known.prices.get(42) == prices)


def said(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """Return what was logged under a name, the problems or the files."""
    return [
        str(fields.get("problem", fields.get("feed")))
        for record in caplog.records
        for fields in [getattr(record, "fields", {})]
        if record.getMessage() == event
    ]


def test_feed__good_answer__is_known_and_told_once(
    server: Feed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed = opened(tmp_path, server.url)
    until(feed, lambda: len(server.asked) > 3)
    assert feed.known == Known({42: ASKED, 43: ASKED}, PUBLISHED)
    assert said(caplog, "prices read") == ["127.0.0.1"]
    server.body = answer([42, 44], DEARER, PUBLISHED + 60)
    until_known(feed, DEARER)
    assert feed.known == Known({42: DEARER, 44: DEARER}, PUBLISHED + 60)


def test_feed__looked_at_often__server_asked_with_a_pause(server: Feed, tmp_path: Path) -> None:
    feed = opened(tmp_path, server.url, poll_s=60)
    until_known(feed)
    for _ in range(50):
        feed.look()
    assert len(server.asked) == 1


def test_feed__csv__is_known_since_it_came(server: Feed, tmp_path: Path) -> None:
    now = NOW
    feed = opened(tmp_path, server.url, lambda: now, format="csv")
    header = b"period,selling_uyuan_per_kwh,planned_uyuan_per_kwh,compensation_uyuan_per_kwh\n"
    server.body = header + b"42,300000,500000,700000\n"
    until_known(feed)
    now += 900
    until(feed, lambda: len(server.asked) > 4)
    assert feed.known == Known({42: ASKED}, NOW)
    server.body += b"43,300000,500000,700000\n"
    until(feed, lambda: feed.known is not None and 43 in feed.known.prices)
    assert feed.known is not None
    assert feed.known.published_s == NOW + 900


@pytest.mark.parametrize(
    ("date", "published_s"),
    [
        ("Fri, 15 Jan 2027 09:00:00 GMT", PUBLISHED),
        ("Fri, 15 Jan 2099 09:00:00 GMT", NOW),
        ("yesterday", NOW),
    ],
)
def test_feed__date_of_the_answer__counts_unless_it_is_to_come(
    server: Feed, tmp_path: Path, date: str, published_s: int
) -> None:
    server.body, server.headers = answer([42], ASKED), {"Last-Modified": date}
    feed = opened(tmp_path, server.url)
    until_known(feed)
    assert feed.known == Known({42: ASKED}, published_s)
    until(feed, lambda: len(server.asked) > 1)
    assert server.asked[-1]["If-Modified-Since"] == date


def test_feed__published_in_time_to_come__does_not_keep_it_fresh(
    server: Feed, tmp_path: Path
) -> None:
    now = NOW
    server.body = answer([42], ASKED, NOW + 10**6)
    feed = opened(tmp_path, server.url, lambda: now)
    until_known(feed)
    now += 900
    until(feed, lambda: len(server.asked) > 4)
    assert feed.known == Known({42: ASKED}, NOW)


def test_feed__unchanged__is_not_sent_again_also_after_a_restart(
    server: Feed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.etag = '"a1"'
    until_known(opened(tmp_path, server.url))
    feed = opened(tmp_path, server.url)
    until(feed, lambda: len(server.asked) > 3)
    assert [asked.get("If-None-Match") for asked in server.asked[1:3]] == ['"a1"'] * 2
    assert feed.known == Known({42: ASKED, 43: ASKED}, PUBLISHED)
    assert said(caplog, "price feed fails") == []
    server.body, server.etag = answer([42], DEARER, PUBLISHED), '"a2"'
    until_known(feed, DEARER)


def test_feed__unchanged_though_nothing_is_known__is_no_answer(
    server: Feed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.status = 304
    feed = opened(tmp_path, server.url)
    until(feed, lambda: bool(said(caplog, "price feed fails")))
    assert "it answers 304" in said(caplog, "price feed fails")[0]


def test_feed__mark_that_cannot_be_sent_back__is_not(server: Feed, tmp_path: Path) -> None:
    server.headers = {"ETag": '"\x01"', "Last-Modified": "x" * 300}
    feed = opened(tmp_path, server.url)
    until(feed, lambda: len(server.asked) > 3)
    assert not {"If-None-Match", "If-Modified-Since"} & server.asked[-1].keys()


def test_feed__restart_without_its_server__has_what_it_had(
    server: Feed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    until_known(opened(tmp_path, server.url))
    dead = opened(tmp_path, server.url)
    assert dead.known == Known({42: ASKED, 43: ASKED}, PUBLISHED)
    server.status = 503
    until(dead, lambda: bool(said(caplog, "price feed fails")))
    assert dead.known == Known({42: ASKED, 43: ASKED}, PUBLISHED)


def test_feed__kept_answer_of_another_feed_or_damaged__is_not_taken(
    server: Feed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    until_known(opened(tmp_path, server.url))
    assert opened(tmp_path, server.url + "?other").known is None
    assert said(caplog, "prices not kept") == []
    (tmp_path / "journal.prices").write_bytes(b"\xff{")
    feed = opened(tmp_path, server.url)
    assert feed.known is None
    assert len(said(caplog, "prices not kept")) == 1
    until_known(feed)


def test_feed__no_place_to_keep_it__is_told_and_the_prices_count(
    server: Feed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed = opened(tmp_path / "gone", server.url)
    until_known(feed)
    assert said(caplog, "prices not kept") == ["No such file or directory"]


def hang(server: Feed) -> None:
    server.hangs = True


def drip(server: Feed) -> None:
    server.drips = "body"


def drip_headers(server: Feed) -> None:
    server.drips = "headers"


def say(status: int, body: bytes = b"", **headers: str) -> Callable[[Feed], None]:
    def change(server: Feed) -> None:
        server.status, server.body = status, body
        server.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    return change


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(hang, "no whole answer within prices.timeout_s = 1.0", id="hangs"),
        pytest.param(drip, "no whole answer within prices.timeout_s = 1.0", id="drips"),
        pytest.param(drip_headers, "no whole answer within prices", id="drips headers"),
        pytest.param(say(200, b" " * (MOST_BYTES + 1)), "answer of more than", id="huge"),
        pytest.param(
            say(200, gzip.compress(bytes(20 * MOST_BYTES)), Content_Encoding="gzip"),
            "answer of more than",
            id="bomb",
        ),
        pytest.param(say(200, b"\xff\x00<html>"), "is not JSON", id="garbage"),
        pytest.param(say(200, b"[]"), "no list 'prices'", id="no list"),
        pytest.param(say(200, b'{"prices": [{"period": -1}]}'), "prices.0: period", id="entry"),
        pytest.param(
            say(200, b"{", Content_Length="999"), "1 bytes read, 998 more expected", id="cut"
        ),
        pytest.param(say(301, Location="http://127.0.0.1/"), "points elsewhere", id="redirect"),
        pytest.param(say(401), "401; check the credential", id="unauthorised"),
        pytest.param(say(500), "answers 500; check prices.url", id="error"),
        pytest.param(say(200, b"", Content_Length="many"), "is not JSON", id="length of no number"),
    ],
)
def test_feed__bad_answer__told_once_and_the_one_before_stays_until_it_is_back(
    server: Feed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Feed], None],
    told: str,
) -> None:
    feed = opened(tmp_path, server.url)
    until_known(feed)
    was = feed.known
    spoil(server)
    until(feed, lambda: bool(said(caplog, "price feed fails")))
    asked = len(server.asked)
    if not server.hangs and not server.drips:
        until(feed, lambda: len(server.asked) > asked + 1)
    (problem,) = said(caplog, "price feed fails")
    assert told in problem
    assert feed.known == was

    server.hangs, server.drips = False, ""
    server.release()
    say(200, answer([42], DEARER, PUBLISHED))(server)
    until_known(feed, DEARER)
    assert said(caplog, "price feed is back") == ["127.0.0.1"]


def test_feed__nobody_there__told_without_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed = opened(tmp_path, f"http://127.0.0.1:{free_port()}/?key=secret", poll_s=30)
    until(feed, lambda: bool(said(caplog, "price feed fails")))
    (problem,) = said(caplog, "price feed fails")
    assert "refused" in problem
    assert "secret" not in caplog.text


def test_feed__credential__is_sent_and_nothing_else(
    server: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("FEED_TOKEN", "Bearer abc\n")
    server.token = "Bearer abc"
    until_known(opened(tmp_path, server.url, header_env="FEED_TOKEN"))
    server.token = None
    until(feed := opened(tmp_path, server.url), lambda: feed.known is not None)
    until(feed, lambda: "Authorization" not in server.asked[-1])


@pytest.mark.parametrize("value", ["", "two\nlines", "käse"])
def test_source__credential_that_cannot_be_sent__named_but_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("FEED_TOKEN", value)
    given = config("http://127.0.0.1:1/", header_env="FEED_TOKEN")
    with pytest.raises(ConfigError, match=r"prices\.header_env: .*FEED_TOKEN") as caught:
        price_source(given, CLOCK, tmp_path / "journal", lambda: NOW)
    assert not value or value not in str(caught.value)


def test_renewed__for_a_proposal__server_is_asked_once_more_at_once(
    server: Feed, tmp_path: Path
) -> None:
    feed = opened(tmp_path, server.url, poll_s=1_000)
    until_known(feed)
    server.body = answer([42], DEARER, PUBLISHED)
    assert not feed.renewed(b"a")
    until(feed, lambda: feed.renewed(b"a"))
    assert feed.known == Known({42: DEARER}, PUBLISHED)
    for _ in range(20):
        feed.look()
        assert feed.renewed(b"a")
    assert len(server.asked) == 2


def test_renewed__question_under_way__does_not_count(server: Feed, tmp_path: Path) -> None:
    server.hangs = True
    feed = opened(tmp_path, server.url, poll_s=1_000, timeout_s=30)
    until(feed, lambda: len(server.asked) == 1)
    assert not feed.renewed(b"a")
    server.hangs = False
    server.release()
    until(feed, lambda: feed.renewed(b"a"))
    assert len(server.asked) == 2


def test_renewed__many_proposals__few_are_remembered(server: Feed, tmp_path: Path) -> None:
    feed = opened(tmp_path, server.url)
    for number in range(3 * MOST_ASKED):
        feed.renewed(number.to_bytes(2, "big"))
    assert len(feed._needed) == MOST_ASKED
    assert len(server.asked) <= 1
