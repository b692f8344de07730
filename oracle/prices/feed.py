"""Prices from an address that is looked at now and then, whatever becomes of its server."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, ValidationError
from requests.exceptions import RequestException, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from market.prices import PriceError, TradingPrices
from market.schedule import Schedule
from oracle import log
from oracle.copies import put
from oracle.endpoints import BadAnswer, whole
from oracle.prices.formats import MOST_BYTES, PRICES, FeedError, PriceData, parser
from oracle.prices.settings import HttpPrices
from oracle.prices.source import Known

SHORTEST_PAUSE_S = 5.0
"""Pause after the first failure, doubled with every further one up to the usual pause."""

MOST_ASKED = 64
"""Proposals remembered for which the server was asked anew."""


@dataclass(frozen=True, slots=True)
class _Answer:
    data: PriceData
    etag: str | None
    last_modified: str | None


_Outcome = _Answer | FeedError | None
"""What came of asking; None if nothing is new."""


class _Kept(BaseModel):
    """The last good answer, as it is on disk."""

    of: str
    published_s: int
    etag: str | None
    last_modified: str | None
    prices: list[tuple[int, int, int, int]]


class HttpFeed:
    """A day-ahead feed; its server is asked in a thread, one question at a time.

    Attributes:
        known: The prices in force: the last good answer, also after a restart.
    """

    def __init__(
        self, config: HttpPrices, schedule: Schedule, kept: Path, now: Callable[[], int]
    ) -> None:
        """Take up what is on disk; the server is not asked before the first look.

        Args:
            config: Where and how to ask.
            schedule: When periods begin and how long they last.
            kept: File of the last good answer.
            now: Tells chain time, Unix seconds.

        Raises:
            FeedError: If the credential is not where it should be, or cannot be sent.
        """
        self._config, self._kept, self._now = config, kept, now
        self._parser = parser(config, schedule)
        # The address may hold secrets.
        self._name = urlsplit(config.url).hostname or "feed"
        of = repr((config.url, config.format, config.spot, schedule))
        self._of = hashlib.sha256(of.encode()).hexdigest()
        self._credential = _credential(config.header_env)
        self._etag: str | None = None
        self._last_modified: str | None = None
        self.known: Known | None = None
        self._thread: threading.Thread | None = None
        self._outcomes: SimpleQueue[_Outcome] = SimpleQueue()
        self._began_at = self._next_at = 0.0
        self._asked = self._answered = self._wanted = self._failures = 0
        self._told = ""
        self._needed: dict[bytes, int] = {}
        self._take_up()

    def look(self) -> None:
        """Take in an answer if one has come, and ask again if it is time."""
        try:
            self._take(self._outcomes.get_nowait())
        except Empty:
            self._watch()
        if time.monotonic() >= self._next_at or self._asked < self._wanted:
            self._ask()

    def renewed(self, proposal: bytes, /) -> bool:
        """Ask anew for a proposal's sake, and return whether the answer has come or failed."""
        if proposal not in self._needed:
            if len(self._needed) == MOST_ASKED:
                del self._needed[next(iter(self._needed))]
            # A question under way may have been answered before the proposer's was.
            self._needed[proposal] = self._wanted = self._asked + 1
            self._ask()
        return self._answered >= self._needed[proposal]

    # -- asking

    def _ask(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._began_at = time.monotonic()
        self._next_at = self._began_at + self._config.poll_s
        self._asked += 1
        headers = {"User-Agent": "subgrid-oracle"}
        if self.known is not None and self._etag is not None:
            headers["If-None-Match"] = self._etag
        if self.known is not None and self._last_modified is not None:
            headers["If-Modified-Since"] = self._last_modified
        # As a daemon it keeps nobody from leaving.
        self._thread = threading.Thread(target=self._run, args=(headers,), daemon=True)
        self._thread.start()

    def _run(self, headers: dict[str, str]) -> None:
        """Ask the server, in a thread of its own."""
        try:
            outcome: _Outcome = self._get(headers)
        except FeedError as exc:
            outcome = exc
        except Exception as exc:  # whatever a server sends, it harms its own thread only
            outcome = FeedError(f"its answer cannot be read ({type(exc).__name__})")
        self._outcomes.put(outcome)

    def _get(self, headers: dict[str, str]) -> _Answer | None:
        config = self._config
        give_up = time.monotonic() + config.timeout_s
        try:
            with (
                requests.Session() as session,
                session.get(
                    config.url,
                    headers=headers,
                    auth=self._sign,
                    timeout=config.timeout_s,
                    stream=True,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status_code == 304 and len(headers) > 1:
                    return None
                if response.status_code != 200:
                    raise FeedError(_refusal(response.status_code))
                raw = whole(response.raw, give_up, MOST_BYTES)
                told = response.headers
        except (Timeout, ReadTimeoutError):
            raise FeedError(_too_slow(config.timeout_s)) from None
        except (BadAnswer, HTTPError) as exc:
            raise FeedError(f"no whole answer ({exc})") from None
        except (RequestException, OSError) as exc:
            inner = exc.args[0] if exc.args else exc
            # The exception itself may name the whole address.
            reason = getattr(inner, "reason", None) or type(exc).__name__
            raise FeedError(f"no answer ({reason})") from None
        return _Answer(self._parser(raw), _mark(told.get("ETag")), _mark(told.get("Last-Modified")))

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the credential, and nothing that requests may find elsewhere."""
        if self._credential is not None:
            request.headers["Authorization"] = self._credential
        return request

    # -- answers

    def _take(self, outcome: _Outcome) -> None:
        self._answered = self._asked
        if isinstance(outcome, FeedError):
            self._fail(str(outcome))
            return
        if self._told:
            log.info("price feed is back", feed=self._name)
        self._failures, self._told = 0, ""
        if outcome is None:
            return
        prices, was = outcome.data.prices, self.known
        self.known = Known(prices, self._published_s(outcome))
        self._etag, self._last_modified = outcome.etag, outcome.last_modified
        if was != self.known:
            log.info("prices read", feed=self._name, periods=len(prices))
            self._keep()

    def _watch(self) -> None:
        """Give up what takes too long, though the thread may still hang."""
        hangs = self._thread is not None and self._thread.is_alive()
        if hangs and time.monotonic() > self._began_at + self._config.timeout_s + 1:
            self._fail(_too_slow(self._config.timeout_s))

    def _fail(self, problem: str) -> None:
        self._failures += 1
        pause_s = SHORTEST_PAUSE_S * 2 ** min(self._failures - 1, 16)
        self._next_at = time.monotonic() + min(pause_s, self._config.poll_s)
        if problem != self._told:
            log.warning("price feed fails", feed=self._name, problem=problem[:300])
            self._told = problem

    def _published_s(self, answer: _Answer) -> int:
        """Return when prices were published: as the server says, or when they first came."""
        arrived_s = self._now()
        told_s = answer.data.published_s
        if told_s is None:
            told_s = _unix_s(answer.last_modified)
        # A time to come would keep them fresh for ever.
        if told_s is not None and told_s <= arrived_s:
            return told_s
        same = self.known is not None and self.known.prices == answer.data.prices
        return self.known.published_s if same and self.known else arrived_s

    # -- on disk

    def _keep(self) -> None:
        assert self.known is not None
        kept = _Kept(
            of=self._of,
            published_s=self.known.published_s,
            etag=self._etag,
            last_modified=self._last_modified,
            prices=[
                (period, *(getattr(p, name) for name in PRICES))
                for period, p in self.known.prices.items()
            ],
        )
        part = self._kept.with_name(self._kept.name + ".part")
        try:
            part.write_text(kept.model_dump_json(), encoding="utf-8")
            put(part, self._kept)
        except OSError as exc:
            log.warning("prices not kept", file=self._kept, problem=exc.strerror)

    def _take_up(self) -> None:
        """Start with the answer on disk, if it is one of this feed."""
        try:
            kept = _Kept.model_validate_json(self._kept.read_bytes())
            prices = {period: TradingPrices(*values) for period, *values in kept.prices}
        except FileNotFoundError:
            return
        except (OSError, ValidationError, PriceError) as exc:
            problem = f"cannot be read ({type(exc).__name__}); the feed is asked for all of it"
            log.warning("prices not kept", file=self._kept, problem=problem)
            return
        if kept.of == self._of:
            self.known = Known(prices, kept.published_s)
            self._etag, self._last_modified = kept.etag, kept.last_modified


def _credential(variable: str | None) -> str | None:
    if variable is None:
        return None
    value = os.environ.get(variable, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        raise FeedError(
            f"prices.header_env: environment variable {variable} holds no value of an "
            "Authorization header; export one in it, such as 'Bearer ...'"
        )
    return value


def _mark(value: str | None) -> str | None:
    """Return what a server marks an answer with, if it can be sent back."""
    fit = value is not None and value.isascii() and value.isprintable() and len(value) <= 256
    return value if fit else None


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"it answers {status} and points elsewhere; give prices.url the address it points to"
    if status in (401, 403):
        return f"it answers {status}; check the credential in prices.header_env"
    return f"it answers {status}; check prices.url"


def _too_slow(timeout_s: float) -> str:
    return f"no whole answer within prices.timeout_s = {timeout_s}"


def _unix_s(date: str | None) -> int | None:
    """Return the instant of an HTTP date, None if it is none."""
    try:
        return timegm(parsedate_to_datetime(date or "").utctimetuple())
    except (ValueError, TypeError, OverflowError):
        return None
