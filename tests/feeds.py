"""A server of day-ahead prices that answers as it is told, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from market.prices import TradingPrices
from oracle.prices.formats import PRICES


class Feed:
    """What the server says, and what it was asked.

    Attributes:
        body: The answer.
        status: Its status.
        headers: Its headers besides the length.
        etag: Given, a question that names it is answered by 304.
        token: Given, what the Authorization header must be.
        drips: `headers` or `body` if that comes byte by byte.
        hangs: Whether nothing comes; `release` ends that.
        asked: The headers of every question.
    """

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.etag: str | None = None
        self.token: str | None = None
        self.hangs, self.drips = False, ""
        self.asked: list[Mapping[str, str]] = []
        self.url = ""
        self._released = threading.Event()

    def release(self) -> None:
        """Let go of everybody who waits."""
        self._released.set()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a question."""
        self.asked.append(dict(handler.headers.items()))
        if self.hangs:
            self._released.wait(60)
            return
        if self.drips == "headers":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
            self._drip(handler, b"x" * 1_000)
            return
        status = self.status
        if self.token is not None and handler.headers.get("Authorization") != self.token:
            status = 401
        elif self.etag is not None and handler.headers.get("If-None-Match") == self.etag:
            status = 304
        handler.send_response(status)
        if self.etag is not None:
            handler.send_header("ETag", self.etag)
        for name, value in ({"Content-Length": str(len(self.body))} | self.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        if status == 304:
            return
        if self.drips == "body":
            self._drip(handler, self.body)
            return
        handler.wfile.write(self.body)

    def _drip(self, handler: BaseHTTPRequestHandler, text: bytes) -> None:
        for byte in text:
            handler.wfile.write(bytes([byte]))
            if self._released.wait(0.05):
                return


@contextmanager
def served() -> Iterator[Feed]:
    """Serve a feed on a port of its own."""
    feed = Feed()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Whoever asked may have had enough.
            with suppress(OSError):
                feed.serve(self)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    feed.url = f"http://127.0.0.1:{server.server_port}/prices"
    try:
        yield feed
    finally:
        feed.release()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(periods: Iterable[int], prices: TradingPrices, published_s: int | None = None) -> bytes:
    """Return the JSON of a feed that asks the same of some periods."""
    values = {name: getattr(prices, name) for name in PRICES}
    message: dict[str, object] = {"prices": [{"period": period} | values for period in periods]}
    if published_s is not None:
        message["published"] = datetime.fromtimestamp(published_s, UTC).isoformat()
    return json.dumps(message).encode()
