"""Endpoints that freeze, drop, delay and babble: the nodes turn to another one, or wait."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import pytest

from tests.committee import Clock, Settings, paused
from tests.faults.days import (
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    await_calm,
    await_logged,
    live,
    logged,
)
from tests.faults.line import line_process, open_line
from tests.village import Village

pytestmark = pytest.mark.faults

SEED = random.SystemRandom().randrange(2**32)
"""Another one with every run; it is printed, put it here to have a run again."""

RPC_TIMEOUT_S = 1.0
FAULT_PERCENT = 4
"""Part of the answers that go wrong in each of five ways."""

BABBLE = (
    b"<html>502 Bad Gateway</html>",
    b"[]",
    b'{"jsonrpc": "2.0", "id": 0, "result": "0xnonsense"}',
    b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32603, "message": "out of order"}}',
)


def test_committee__first_endpoint_frozen__goes_on_with_the_second(
    village: Village, tmp_path: Path
) -> None:
    world = village.world
    periods = range(village.first, village.first + 4)
    before, clock = village.worths(), Clock(world.market)
    settings = Settings(village.meters, rpc_timeout_s=RPC_TIMEOUT_S)
    with (
        line_process(world.url) as (relay, first),
        village.committee(tmp_path, settings, rpc_url=[first, world.url]) as committee,
    ):
        for _ in live(village, clock, periods[:1], trade_every=1):
            pass
        assert not any(logged(committee, seat, "endpoint fails") for seat in committee.seats)
        with paused(relay):
            for _ in live(village, clock, periods[1:], trade_every=1):
                pass
            for seat in committee.seats:
                assert logged(committee, seat, f"other endpoint url={world.url}")
                assert not logged(committee, seat, "chain fails")
        await_calm(village, committee, clock)
        assert_said_once(village, committee)
        assert_read_once(village, committee, periods)
    assert_as_undisturbed(village, before, periods)


def test_committee__only_chain_frozen_for_a_while__waits_and_goes_on(
    village: Village, tmp_path: Path
) -> None:
    world, schedule = village.world, village.world.market.schedule
    period, before, clock = village.first, village.worths(), Clock(village.world.market)
    settings = Settings(village.meters, rpc_timeout_s=RPC_TIMEOUT_S)
    with (
        line_process(world.url) as (relay, address),
        village.committee(tmp_path, settings, rpc_url=address) as committee,
    ):
        clock.await_cleared(period)
        clock.await_cleared(period + 1)
        with paused(relay):
            clock.warp(schedule.close(period))
            # The chain is awaited through another door.
            await_logged(clock, committee, committee.seats, "chain fails")
            assert world.history.latest_version(period) == 0
        clock.await_settled(period)
        for seat in committee.seats:
            assert committee.is_alive(seat)
            assert logged(committee, seat, "chain is back")
        await_calm(village, committee, clock)
        assert_said_once(village, committee)
        assert_read_once(village, committee, [period])
    assert_as_undisturbed(village, before, [period])


def test_committee__endpoint_drops_delays_and_babbles__comes_to_the_undisturbed_balances(
    village: Village, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    draw, lock = random.Random(SEED), threading.Lock()
    world = village.world
    periods = range(village.first, village.first + 6)
    before, clock = village.worths(), Clock(world.market)
    distorted: list[str] = []

    def distort(_body: bytes, answer: bytes) -> bytes | None:
        with lock:
            dice, words = draw.randrange(100) // FAULT_PERCENT, draw.choice(BABBLE)
        if dice > 2:
            return answer
        distorted.append(("drop", "delay", "babble")[dice])
        if dice == 0:
            return None
        if dice == 1:
            # Longer than the node waits: nothing marks the instant at which it gives up.
            threading.Event().wait(1.5 * RPC_TIMEOUT_S)
            return answer
        return words

    settings = Settings(village.meters, rpc_timeout_s=RPC_TIMEOUT_S)
    with (
        open_line(world.url) as (line, address),
        village.committee(tmp_path, settings, rpc_url=address) as committee,
    ):
        line.distort = distort
        for _ in live(village, clock, periods, trade_every=1):
            pass
        line.distort = None
        await_calm(village, committee, clock)
        assert {"drop", "delay", "babble"} <= set(distorted)
        assert all(committee.is_alive(seat) for seat in committee.seats)
        assert_said_once(village, committee)
        assert_read_once(village, committee, periods)
    assert_as_undisturbed(village, before, periods)


@pytest.mark.parametrize("words", BABBLE)
def test_node__endpoint_babbles_at_the_start__says_so_and_waits(
    village: Village, tmp_path: Path, words: bytes
) -> None:
    with open_line(village.world.url) as (line, address):
        committee = village.committee(tmp_path, rpc_url=address)
        line.distort = lambda _body, _answer: words
        process = committee.launch(0)
        try:
            clock = Clock(village.world.market)
            await_logged(clock, committee, [0], "chain fails", times=2)
            assert process.poll() is None
            line.distort = None
            committee.await_ready(0)
        finally:
            committee.stop()


def test_node__endpoint_of_another_chain_among_two__is_left_out(
    village: Village, tmp_path: Path
) -> None:
    """It answers like a node, but has another genesis."""
    period = village.first

    def elsewhere(body: bytes, answer: bytes) -> bytes:
        if b'"0x0"' not in body or b"eth_getBlockByNumber" not in body:
            return answer
        told = json.loads(answer)
        told["result"]["hash"] = "0x" + 64 * "9"
        return json.dumps(told).encode()

    url = village.world.url
    clock = Clock(village.world.market)
    with open_line(url) as (line, address):
        line.distort = elsewhere
        with village.committee(tmp_path, rpc_url=[address, url]) as committee:
            clock.await_cleared(period)
            for seat in committee.seats:
                assert logged(committee, seat, "endpoint of another chain")
                assert logged(committee, seat, f"other endpoint url={url}")
