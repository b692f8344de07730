"""Endpoints as one: who is asked, who is left, and that nothing waits for the dead."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from requests.exceptions import RequestException
from web3.types import RPCEndpoint

from market.chain import Identity, WrongChain
from oracle.endpoints import LONGEST_REST_S, MOST_LAG_BLOCKS, SURVEY_S, Endpoint, Endpoints

HERE = Identity(7, "0x" + 64 * "a")
HEAD = RPCEndpoint("eth_blockNumber")
SEND = RPCEndpoint("eth_sendRawTransaction")


class Node:
    """Answers what a node of a chain would, or as it is told."""

    def __init__(self) -> None:
        self.head, self.genesis = 100, HERE.genesis_hash
        self.delay_s = 0.0
        self.trickles = False
        self.body: bytes | None = None
        self.asked: list[str] = []
        self.url = ""

    def answer(self, question: dict[str, Any]) -> bytes:
        method = question["method"]
        self.asked.append(method)
        if self.body is not None:
            return self.body
        number = "0x0" if question["params"][:1] == ["0x0"] else hex(self.head)
        results: dict[str, object] = {
            "eth_chainId": hex(HERE.chain_id),
            "eth_getBlockByNumber": {"number": number, "hash": self.genesis},
            "eth_blockNumber": hex(self.head),
            "eth_sendRawTransaction": "0x00",
        }
        return json.dumps({"jsonrpc": "2.0", "id": 0, "result": results[method]}).encode()


class Clock:
    """Tells what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def served(node: Node) -> Iterator[Node]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = node.answer(question)
            threading.Event().wait(node.delay_s)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with suppress(OSError):  # whoever asked may have had enough
                for part in [bytes([b]) for b in answer] if node.trickles else [answer]:
                    self.wfile.write(part)
                    threading.Event().wait(0.05 if node.trickles else 0)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    node.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [stack.enter_context(served(Node())) for _ in range(2)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def both(nodes: list[Node], clock: Clock) -> Endpoints:
    endpoints = Endpoints([node.url for node in nodes], timeout_s=0.5, clock=clock)
    endpoints.expect(HERE)
    return endpoints


def head(endpoints: Endpoints) -> int:
    return int(endpoints.make_request(HEAD, [])["result"], 16)


def test_request__first_answers__it_stays_in_use(nodes: list[Node], both: Endpoints) -> None:
    assert [head(both) for _ in range(3)] == [100] * 3
    assert nodes[0].asked.count(HEAD) == 3
    assert HEAD not in nodes[1].asked


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'"text"'])
def test_request__first_babbles__second_is_asked_and_stays(
    nodes: list[Node], both: Endpoints, body: bytes
) -> None:
    head(both)
    nodes[0].body = body
    nodes[1].head = 101
    assert head(both) == 101
    nodes[0].body = None
    assert head(both) == 101
    assert both.current.url == nodes[1].url


def test_request__first_cannot_what_the_second_can__second_is_asked(
    nodes: list[Node], both: Endpoints
) -> None:
    head(both)
    nodes[0].body = b'{"id": 0, "error": {"code": -32601, "message": "no such method"}}'
    assert head(both) == 100


def test_request__refused_by_the_chain__nobody_else_is_asked(
    nodes: list[Node], both: Endpoints
) -> None:
    head(both)
    nodes[0].body = b'{"id": 0, "error": {"code": 3, "message": "execution reverted"}}'
    assert both.make_request(HEAD, [])["error"]["code"] == 3
    assert HEAD not in nodes[1].asked


@pytest.mark.parametrize("how", ["hangs", "trickles"])
def test_request__answer_takes_too_long__time_is_limited(nodes: list[Node], how: str) -> None:
    alone = Endpoint(nodes[0].url)
    nodes[0].delay_s, nodes[0].trickles = (2.0, False) if how == "hangs" else (0.0, True)
    began = time.monotonic()
    with pytest.raises(RequestException):
        alone.ask(b'{"method": "eth_blockNumber", "params": []}', 0.4)
    assert time.monotonic() - began < 1.5


def test_request__all_dead__says_so(nodes: list[Node], both: Endpoints) -> None:
    for node in nodes:
        node.body = b"dead"
    with pytest.raises(RequestException, match="no JSON"):
        head(both)
    for node in nodes:
        node.body = None
    assert head(both) == 100


def test_survey__one_in_use_lags__the_other_takes_over(
    nodes: list[Node], both: Endpoints, clock: Clock
) -> None:
    head(both)
    nodes[1].head += MOST_LAG_BLOCKS
    clock.now += SURVEY_S
    assert head(both) == nodes[0].head
    nodes[1].head += 1
    clock.now += SURVEY_S
    assert head(both) == nodes[1].head


def test_survey__one_in_use_is_slow__the_other_takes_over(
    nodes: list[Node], both: Endpoints, clock: Clock
) -> None:
    head(both)
    both.current.latency_s = 5.0
    clock.now += SURVEY_S
    head(both)
    assert both.current.url == nodes[1].url


def test_request__endpoint_of_another_chain__is_left_until_it_is_put_right(
    nodes: list[Node], both: Endpoints, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    nodes[0].genesis = "0x" + 64 * "b"
    nodes[0].head = 900
    assert head(both) == 100
    assert "endpoint of another chain" in caplog.messages
    nodes[0].genesis = HERE.genesis_hash
    clock.now += LONGEST_REST_S
    assert head(both) == 900


def test_request__all_of_another_chain__stops(nodes: list[Node], both: Endpoints) -> None:
    for node in nodes:
        node.genesis = "0x" + 64 * "b"
    for _ in range(2):
        with pytest.raises(WrongChain, match="none of the endpoints"):
            head(both)


def test_send__everybody_is_told(nodes: list[Node], both: Endpoints) -> None:
    both.make_request(SEND, ["0x01"])
    assert [node.asked.count(SEND) for node in nodes] == [1, 1]


def test_leave__useless_answers__the_other_is_asked(nodes: list[Node], both: Endpoints) -> None:
    head(both)
    both.leave("no such block")
    head(both)
    assert both.current.url == nodes[1].url
