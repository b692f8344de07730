"""Several JSON-RPC endpoints as one: whichever is fit is asked, whatever becomes of the others.

One endpoint stays in use as long as it answers, keeps up with the others and is not much slower.
An endpoint that fails rests, longer with every failure, and nothing waits for it meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.exceptions import RequestException, Timeout
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from market.chain import Chain, Identity, WrongChain
from oracle import log

SURVEY_S = 15.0
"""Real time between two comparisons of the endpoints."""

SURVEY_TIMEOUT_S = 2.0
"""Longest wait for an endpoint that is only being compared."""

MOST_LAG_BLOCKS = 3
"""An endpoint so many blocks behind the best is not used while there is a better one."""

SLOW_S = 0.5
SLOW_FACTOR = 4
"""An endpoint is left if it takes longer than that and so many times what another takes."""

SHORTEST_REST_S = 2.0
LONGEST_REST_S = 300.0
"""How long an endpoint that failed is left alone, doubled with every failure in a row."""

MOST_BYTES = 128 * 1024 * 1024
"""Longest answer that is read."""

CHUNK_BYTES = 256 * 1024

_FAULTS = frozenset({-32700, -32601, -32603, -32001, -32002, -32005})
"""JSON-RPC errors that tell of the endpoint, not of the question; another one may know better."""


class BadAnswer(RequestException):
    """An endpoint's answer is not JSON-RPC, or longer than anything that was asked for."""


@dataclass(slots=True)
class Endpoint:
    """One endpoint and how it has done so far.

    Attributes:
        url: Its address.
        head: The last block it has told of, -1 for none.
        latency_s: What an answer takes, smoothed.
        failures: Failures in a row.
        rests_until: Not asked before this instant of the clock.
        known: Whether it serves the expected chain, None if it has not been asked.
    """

    url: str
    head: int = -1
    latency_s: float = 0.0
    failures: int = 0
    rests_until: float = 0.0
    known: bool | None = None
    session: requests.Session = field(default_factory=requests.Session)
    _prepared: tuple[requests.PreparedRequest, Mapping[str, Any]] | None = None

    def ask(self, body: bytes, timeout_s: float) -> bytes:
        """Send a request and return the answer, all of it in time.

        Raises:
            RequestException: If it does not come, or not in time.
        """
        give_up = time.monotonic() + timeout_s
        request, settings = self._prepare(body)
        with self.session.send(request, timeout=timeout_s, **settings) as response:
            response.raise_for_status()
            try:
                return whole(response.raw, give_up, MOST_BYTES)
            except HTTPError as exc:
                raise BadAnswer(str(exc)) from exc

    def _prepare(self, body: bytes) -> tuple[requests.PreparedRequest, Mapping[str, Any]]:
        """Return a request and how to send it.

        Only its body changes. Making all of it anew, with proxies, certificates and passwords
        looked up in the environment, takes longer than sending it.
        """
        if self._prepared is None:
            headers = {"Content-Type": "application/json"}
            session, asked = self.session, requests.Request("POST", self.url, headers)
            settings = session.merge_environment_settings(self.url, {}, True, None, None)
            self._prepared = session.prepare_request(asked), dict(settings)
        request, _ = self._prepared
        request.prepare_body(body, None)
        request.headers.pop("Cookie", None)
        request.prepare_cookies(self.session.cookies)
        return self._prepared


class Endpoints(JSONBaseProvider):
    """A web3 provider over endpoints; with one of them, just that one with a strict time limit."""

    def __init__(
        self,
        urls: Sequence[str],
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use some endpoints, the first one first; nothing is sent before the first request."""
        super().__init__()
        self.all = [Endpoint(url) for url in urls]
        self._current = self.all[0]
        self._timeout_s, self._clock = timeout_s, clock
        self._survey_at = 0.0
        self._expected: Identity | None = None

    @property
    def current(self) -> Endpoint:
        """The endpoint in use."""
        return self._current

    def expect(self, identity: Identity) -> None:
        """Use no endpoint of another chain from now on; a single one is for others to check."""
        self._expected = identity

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:  # noqa: ANN401
        """Ask the endpoint in use, and if it fails the others.

        Raises:
            RequestException: If none of them answers.
            WrongChain: If all of them serve another chain.
        """
        if len(self.all) > 1 and self._clock() >= self._survey_at:
            self._survey()
        answer: RPCResponse | None = None
        problem: RequestException | None = None
        for endpoint in self._in_turn():
            try:
                if not self._serves_the_chain(endpoint):
                    continue
                answer = self._insist(endpoint, method, params)
            except RequestException as exc:
                problem = exc
                self._failed(endpoint, exc)
                continue
            if _is_fault(answer):
                continue
            self._use(endpoint)
            break
        if answer is not None:
            if method == "eth_sendRawTransaction":
                self._spread(method, params)
            return answer
        if problem is None:  # each was found to be of another chain, or rests for that
            raise WrongChain(
                "none of the endpoints serves the market's chain: "
                f"{', '.join(e.url for e in self.all)}; check the RPC URLs"
            )
        raise problem

    def leave(self, problem: object) -> None:
        """Turn to another endpoint, if there is one, for what this one said was of no use."""
        if len(self.all) > 1:
            self._failed(self._current, problem)
            for endpoint in self._in_turn()[:1]:
                self._use(endpoint)

    def _in_turn(self) -> list[Endpoint]:
        """Return the endpoints to ask, the best first; none only if all are of another chain."""
        now = self._clock()
        fit = [e for e in self.all if e.rests_until <= now]
        resting = [e for e in self.all if e.known is not False]
        if not fit and resting:
            return [min(resting, key=lambda e: e.rests_until)]
        return sorted(fit, key=lambda e: (e is not self._current, -e.head, e.latency_s))

    def _insist(self, endpoint: Endpoint, method: str, params: object) -> RPCResponse:
        """Ask, and once more if a connection broke: nothing that is asked does anything twice."""
        try:
            return self._ask(endpoint, method, params, self._timeout_s)
        except Timeout:
            raise
        except RequestException:
            return self._ask(endpoint, method, params, self._timeout_s)

    def _ask(
        self, endpoint: Endpoint, method: str, params: object, timeout_s: float
    ) -> RPCResponse:
        began = time.monotonic()
        raw = endpoint.ask(self.encode_rpc_request(RPCEndpoint(method), params), timeout_s)
        try:
            answer = self.decode_rpc_response(raw)
        except ValueError as exc:
            raise BadAnswer(f"an answer that is no JSON: {raw[:60]!r}") from exc
        if not isinstance(answer, dict) or not {"result", "error"} & answer.keys():
            raise BadAnswer(f"an answer that is not JSON-RPC: {raw[:60]!r}")
        took_s = time.monotonic() - began
        endpoint.latency_s += (took_s - endpoint.latency_s) / (5 if endpoint.latency_s else 1)
        return answer

    def _survey(self) -> None:
        """Ask all endpoints for their head, and leave the one in use if another is much better."""
        now = self._clock()
        for endpoint in self.all:
            if endpoint.rests_until > now:
                continue
            try:
                if self._serves_the_chain(endpoint):
                    self._look(endpoint)
            except RequestException as exc:
                self._failed(endpoint, exc)
        self._survey_at = self._clock() + SURVEY_S
        fit = [e for e in self.all if e.rests_until <= now and e.failures == 0]
        if not fit:
            return
        best_head = max(e.head for e in fit)
        fit = [e for e in fit if e.head >= best_head - MOST_LAG_BLOCKS]
        fastest = min(fit, key=lambda e: e.latency_s)
        used = self._current
        slow = used.latency_s > max(SLOW_S, SLOW_FACTOR * fastest.latency_s)
        if used not in fit or slow:
            self._use(fastest)

    def _look(self, endpoint: Endpoint) -> None:
        answer = self._ask(endpoint, "eth_getBlockByNumber", ["latest", False], SURVEY_TIMEOUT_S)
        try:
            endpoint.head = int(answer["result"]["number"], 16)
        except (LookupError, TypeError, ValueError) as exc:
            raise BadAnswer("no block where the latest one was asked for") from exc
        endpoint.failures = 0

    def _serves_the_chain(self, endpoint: Endpoint) -> bool:
        """Return whether an endpoint may be used; says so if it serves another chain."""
        if endpoint.known or self._expected is None or len(self.all) == 1:
            return True
        try:
            chain_id = self._ask(endpoint, "eth_chainId", [], SURVEY_TIMEOUT_S)["result"]
            genesis = self._ask(endpoint, "eth_getBlockByNumber", ["0x0", False], SURVEY_TIMEOUT_S)
            found = Identity(int(chain_id, 16), genesis["result"]["hash"].lower())
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            raise BadAnswer("no Ethereum node") from exc
        endpoint.known = found == self._expected
        if not endpoint.known:
            endpoint.rests_until = self._clock() + LONGEST_REST_S
            log.error("endpoint of another chain", url=endpoint.url, chain=found.chain_id)
        return endpoint.known

    def _failed(self, endpoint: Endpoint, problem: object) -> None:
        endpoint.failures += 1
        rest_s = min(SHORTEST_REST_S * 2 ** (endpoint.failures - 1), LONGEST_REST_S)
        endpoint.rests_until = self._clock() + rest_s
        if len(self.all) > 1:
            if endpoint.known:
                endpoint.known = None
            log.warning("endpoint fails", url=endpoint.url, problem=problem, rests_s=rest_s)

    def _use(self, endpoint: Endpoint) -> None:
        endpoint.failures, endpoint.rests_until = 0, 0.0
        if endpoint is not self._current:
            log.warning("other endpoint", url=endpoint.url, instead_of=self._current.url)
            self._current = endpoint

    def _spread(self, method: str, params: object) -> None:
        """Tell the other endpoints of a transaction, too; one may keep it to itself."""
        now = self._clock()
        for endpoint in self.all:
            if endpoint is self._current or endpoint.rests_until > now or not endpoint.known:
                continue
            try:
                self._ask(endpoint, method, params, SURVEY_TIMEOUT_S)
            except RequestException as exc:
                self._failed(endpoint, exc)


def connect(urls: Sequence[str], timeout_s: float) -> tuple[Chain, Endpoints]:
    """Return a connection to a chain through endpoints, and the endpoints."""
    endpoints = Endpoints(urls, timeout_s)
    return Chain(", ".join(urls), provider=endpoints), endpoints


def whole(raw: HTTPResponse, give_up: float, most_bytes: int) -> bytes:
    """Read an answer to its end unless that takes too long or too much memory.

    Args:
        raw: The answer.
        give_up: When, on the monotonic clock.
        most_bytes: Longest answer that is read.

    Raises:
        BadAnswer: If it is longer.
        Timeout: If it does not end in time.
    """
    parts, size = [], 0
    # What is there already; a full chunk could take for ever.
    while part := raw.read1(CHUNK_BYTES, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise BadAnswer(f"an answer of more than {most_bytes} bytes")
        # The session's own limit begins anew with every byte that trickles in.
        if time.monotonic() > give_up:
            raise Timeout("the answer does not come to its end in time")
    return b"".join(parts)


def _is_fault(answer: RPCResponse) -> bool:
    error = answer.get("error")
    return isinstance(error, dict) and error.get("code") in _FAULTS
