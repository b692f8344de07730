"""The line between nodes and chain: an HTTP relay that can be cut, also in the middle of a call.

Run as a program with the endpoint's address it is a process of its own, which can be frozen; it
prints its address.
"""

from __future__ import annotations

import http.client
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

SENDING = b'"eth_sendRawTransaction"'


class Line:
    """A relay to a JSON-RPC endpoint; a node's number is the path of its address."""

    def __init__(self, url: str) -> None:
        """Relay to an endpoint."""
        self._target = urlsplit(url).netloc
        self._down = threading.Event()
        self._armed = threading.Event()
        self._lock = threading.Lock()
        self.lost_answers: list[int] = []
        self.distort: Callable[[bytes, bytes], bytes | None] | None = None
        """Given question and answer, returns what to answer instead, None to hang up."""

    def cut(self) -> None:
        """Answer nothing from now on."""
        self._down.set()

    def cut_at_next_transaction(self) -> None:
        """Let one more transaction through to the chain, lose the answer, and be cut from then."""
        self._armed.set()

    def mend(self) -> None:
        """Answer again."""
        self._armed.clear()
        self._down.clear()

    @property
    def is_down(self) -> bool:
        """Whether nothing is answered."""
        return self._down.is_set()

    def relay(self, seat: int, body: bytes) -> bytes | None:
        """Return the endpoint's answer, None if there is none."""
        if self.is_down:
            return None
        with self._lock:
            loses = SENDING in body and self._armed.is_set()
            if loses:
                self._armed.clear()
                self._down.set()
        connection = http.client.HTTPConnection(self._target, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return None  # the endpoint itself is gone
        finally:
            connection.close()
        if loses:
            self.lost_answers.append(seat)
            return None
        return self.distort(body, answer) if self.distort else answer


class Noise:
    """Drops and delays some answers, to be hung into a line as `distort`."""

    def __init__(
        self, seed: int, *, drop_permille: int, delay_permille: int, longest_delay_s: float
    ) -> None:
        """Draw from a seed; which answer meets which fate is for the processes to race for."""
        self._draw, self._lock = random.Random(seed), threading.Lock()
        self._drop, self._delay = drop_permille, drop_permille + delay_permille
        self._longest_delay_s = longest_delay_s
        self.dropped = self.delayed = 0

    def __call__(self, _question: bytes, answer: bytes) -> bytes | None:
        """Return the answer, after a while or not at all."""
        with self._lock:
            dice, delay_s = self._draw.randrange(1_000), self._draw.random() * self._longest_delay_s
            drops, delays = dice < self._drop, self._drop <= dice < self._delay
            self.dropped += drops
            self.delayed += delays
        if delays:
            # Shorter and longer than a node waits: nothing marks the instant.
            threading.Event().wait(delay_s)
        return None if drops else answer


@contextmanager
def open_line(url: str) -> Iterator[tuple[Line, str]]:
    """Yield a line to an endpoint, and its address with the placeholder `{seat}`."""
    line = Line(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = line.relay(int(self.path.strip("/") or 0), body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def handle(self) -> None:
            # Whoever does not wait for an answer hangs up.
            with suppress(ConnectionError):
                super().handle()

        def log_message(self, *_: object) -> None:
            """Say nothing of every call."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield line, f"http://127.0.0.1:{server.server_address[1]}/{{seat}}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def line_process(url: str) -> Iterator[tuple[int, str]]:
    """Yield process id and address of a relay that is a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.line", url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        assert process.stdout
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    with open_line(sys.argv[1]) as (_, address):
        print(address.removesuffix("/{seat}"), flush=True)
        threading.Event().wait()
