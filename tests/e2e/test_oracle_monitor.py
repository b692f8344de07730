"""What machines are told of running nodes: metrics, health, readiness, and who is to be paid."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from market.devnet import rpc
from oracle.config import ConfigError
from oracle.monitor import Pulse, served
from tests.committee import Clock, Committee, Meters, Settings, paused
from tests.faults.days import await_logged
from tests.faults.line import line_process
from tests.village import PROFILE, ROSTER
from tests.world import World

SETTINGS = Settings(Meters(ROSTER, PROFILE), monitor="127.0.0.1:0", rpc_timeout_s=1.0)


def address(committee: Committee, seat: int) -> str:
    """Return where a node says it is monitored."""
    return str(re.findall(r"monitored at=(\S+)", committee.log(seat).read_text())[-1])


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def metrics(committee: Committee, seat: int) -> dict[str, float]:
    _, text = asked(address(committee, seat) + "/metrics")
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_monitor__running_node__tells_what_it_does(world: World, tmp_path: Path) -> None:
    clock = Clock(world.market)
    with Committee(tmp_path, world.url, world.path, world.seats, SETTINGS) as committee:
        clock.until(lambda: asked(address(committee, 0) + "/ready")[0] == 200, "readiness")
        told = metrics(committee, 0)
        assert asked(address(committee, 0) + "/health")[0] == 200
        assert asked(address(committee, 0) + "/other")[0] == 404
    assert told["subgrid_oracle_head_block"] > 0
    assert told["subgrid_oracle_followed_block"] > 0
    assert told["subgrid_oracle_balance_wei"] > 0
    assert told["subgrid_oracle_endpoint_used 0"] == 1
    assert told["subgrid_oracle_halted"] == 0
    assert told["subgrid_oracle_journal_bytes"] > 0
    assert told["process_resident_memory_bytes"] > 0


def test_monitor__chain_gone__alive_but_with_a_problem(world: World, tmp_path: Path) -> None:
    clock = Clock(world.market)
    with (
        line_process(world.url) as (relay, url),
        Committee(tmp_path, url, world.path, world.seats[:1], SETTINGS) as committee,
    ):
        clock.until(lambda: asked(address(committee, 0) + "/ready")[0] == 200, "readiness")
        with paused(relay):
            await_logged(clock, committee, [0], "chain fails")
            status, body = asked(address(committee, 0) + "/health")
            assert status == 200
            assert "no answer from the chain" in json.loads(body)["problem"]
            assert metrics(committee, 0)["subgrid_oracle_logged_total chain fails warning"] >= 1


def test_pulse__silent_too_long__is_not_ready_and_then_not_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pulse = Pulse()
    assert (pulse.alive(), pulse.ready()) == (True, False)
    pulse.beat()
    assert pulse.ready()
    now[0] += 30
    pulse.beat("chain fails")
    assert pulse.ready()
    now[0] += 31
    assert (pulse.alive(), pulse.ready()) == (True, False)
    now[0] += 300
    assert not pulse.alive()
    pulse.beat()
    pulse.beat("key used elsewhere: a vote")
    assert not pulse.ready()


def test_served__address_taken__names_the_key() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"monitor\.listen"), served(listen, Pulse()):
            pass


def test_node__balance_low__says_who_pays_and_when_it_is_enough(
    world: World, tmp_path: Path
) -> None:
    payer, clock = world.seats[0].address, Clock(world.market)
    full = rpc(world.url, "eth_getBalance", [payer, "latest"])
    settings = replace(SETTINGS, monitor=None)
    rpc(world.url, "anvil_setBalance", [payer, hex(10**12)])
    with Committee(tmp_path, world.url, world.path, world.seats[:1], settings) as committee:
        await_logged(clock, committee, [0], f"balance low payer={payer}")
        rpc(world.url, "anvil_setBalance", [payer, full])
        rpc(world.url, "anvil_mine", [hex(50)])
        await_logged(clock, committee, [0], f"balance is enough payer={payer}")
