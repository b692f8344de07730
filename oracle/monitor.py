"""What machines ask a node: Prometheus metrics, whether it lives, and whether it does its duty."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    Summary,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from oracle.config import ConfigError

LONGEST_TURN_S = 300.0
"""A node that has not come round in so long hangs; following a long absence takes minutes."""

LONGEST_SILENCE_S = 60.0
"""A node whose chain or journal has not answered in so long does not do its duty."""

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)


def _gauge(name: str, what: str, *labels: str) -> Gauge:
    return Gauge(f"subgrid_oracle_{name}", what, labels, registry=REGISTRY)


LOGGED = Counter(
    "subgrid_oracle_logged", "Log lines by event and level", ["event", "level"], registry=REGISTRY
)
TURN = Summary(
    "subgrid_oracle_turn_seconds", "What doing the duties of a block takes", registry=REGISTRY
)
HEAD = _gauge("head_block", "Latest block")
HEAD_AT = _gauge("head_time_seconds", "Time of the latest block, Unix seconds")
FOLLOWED = _gauge("followed_block", "Last followed block")
LISTENED = _gauge("listened_block", "Last block whose transactions were searched for evidence")
FLOOR = _gauge("floor_period", "First period in which something can still happen")
PERIODS = _gauge("known_periods", "Periods in memory")
UNREPORTED = _gauge("unreported_periods", "Closed periods inside their window without a report")
WAITING = _gauge("open_transactions", "Nonces whose transactions are in no followed block yet")
BALANCE = _gauge("balance_wei", "Native money of the seat's account")
EARNED = _gauge("earned_wei", "Fees of answered queries that the account can collect")
QUERIES = _gauge("open_queries", "Open queries of contracts in mind")
HALTED = _gauge("halted", "1 if the node's key is used elsewhere, so that it says nothing")
PRICES_AGE = _gauge(
    "prices_age_seconds", "How long ago the prices of a file or feed were published"
)
PRICES_AHEAD = _gauge("prices_ahead_periods", "Coming periods in a row with prices that pass")
JOURNAL = _gauge("journal_bytes", "Size of the journal's file")
ENDPOINT_USED = _gauge("endpoint_used", "1 for the endpoint in use", "endpoint")
ENDPOINT_FAILURES = _gauge("endpoint_failures", "Failures in a row", "endpoint")
ENDPOINT_HEAD = _gauge("endpoint_head_block", "Block the endpoint last told of", "endpoint")
ENDPOINT_LATENCY = _gauge("endpoint_latency_seconds", "Smoothed time of an answer", "endpoint")


@dataclass(slots=True)
class Pulse:
    """How a node is, as it says itself.

    Attributes:
        came_round: When its loop last came round.
        did_duty: When it last did all that was due; 0 before the first time.
        problem: What keeps it from its duty, empty if nothing does.
    """

    came_round: float = field(default_factory=time.monotonic)
    did_duty: float = 0.0
    problem: str = "starting"

    def beat(self, problem: str = "") -> None:
        """Come round."""
        self.came_round = time.monotonic()
        self.problem = problem
        if not problem:
            self.did_duty = self.came_round

    def alive(self) -> bool:
        """Return whether the loop turns."""
        return time.monotonic() - self.came_round < LONGEST_TURN_S

    def ready(self) -> bool:
        """Return whether the node does its duty; a short hitch does not count."""
        recent = time.monotonic() - self.did_duty < LONGEST_SILENCE_S
        return self.did_duty > 0 and recent and self.alive() and not self.halted()

    def halted(self) -> bool:
        """Return whether the node has fallen silent for good."""
        return self.problem.startswith("key used elsewhere")


@contextmanager
def served(listen: str | None, pulse: Pulse) -> Iterator[str | None]:
    """Answer `/metrics`, `/health` and `/ready` while inside; yields the address.

    Args:
        listen: Host and port; nothing is served without.
        pulse: How the node is.

    Raises:
        ConfigError: If the address cannot be listened on.
    """
    if listen is None:
        yield None
        return
    host, _, port = listen.rpartition(":")

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
            elif path in ("/health", "/ready"):
                good = pulse.alive() if path == "/health" else pulse.ready()
                body = {"ok": good, "problem": pulse.problem or None}
                self._answer(200 if good else 503, "application/json", json.dumps(body).encode())
            else:
                self._answer(404, "text/plain", b"ask /metrics, /health or /ready\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of every question."""

    try:
        server = ThreadingHTTPServer((host, int(port)), Handler)
    except (OSError, OverflowError) as exc:
        raise ConfigError(
            f"monitor.listen = {listen!r}: cannot listen there ({exc}); give a free address"
        ) from exc
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
