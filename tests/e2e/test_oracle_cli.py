"""The node's command line against chains, files and keys that are not the right ones."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from oracle.cli import app
from oracle.config import load_config
from tests.committee import KEY_VARIABLE, Committee, Meters, Settings
from tests.village import PROFILE, ROSTER
from tests.world import World, default_schedule, new_world

SETTINGS = Settings(Meters(ROSTER, PROFILE))


@pytest.fixture
def node(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of seat 0, its key at hand."""
    return configure(world, tmp_path, monkeypatch)


def configure(
    world: World,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seat: int = 0,
    settings: Settings = SETTINGS,
    edit: Callable[[str], str] = str,
) -> Path:
    key = world.seats[0].key.hex()
    monkeypatch.setenv(KEY_VARIABLE, key)
    path = folder / "node.toml"
    text = settings.toml(world.url, world.path, seat, folder / "journal.sqlite")
    path.write_text(edit(text))
    return path


def run(command: str, config: Path) -> Result:
    return CliRunner().invoke(app, [command, "--config", str(config)])


def refused(config: Path, told: str) -> None:
    """A node says what is wrong, in one line, and does not start."""
    result = run("run", config)
    assert result.exit_code == 1, result.output
    assert told in result.output
    assert "Traceback" not in result.output


def test_run__key_of_another_seat__names_the_holder(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(world, tmp_path, monkeypatch, seat=1)
    refused(config, f"seat 1 is held by {world.seats[1].address.lower()}")


def test_run__seat_there_is_not__tells_how_many_there_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(configure(world, tmp_path, monkeypatch, seat=7), "the committee has 4 seats")


def test_run__reset_chain__keeps_away(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_world(default_schedule(1_900_000_000)) as other:
        config = configure(
            world, tmp_path, monkeypatch, edit=lambda text: text.replace(world.url, other.url)
        )
        refused(config, "was reset")


def test_run__wrong_chain_id_or_code_in_the_deployment_file__names_both(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads(world.path.read_text())
    stale = tmp_path / "stale.json"
    config = configure(
        world,
        tmp_path,
        monkeypatch,
        edit=lambda text: text.replace(str(world.path), str(stale)),
    )
    stale.write_text(json.dumps(record | {"chain_id": 5}))
    refused(config, "serves chain 31337, the market is on chain 5")
    hashes = record["code_hashes"] | {"Vault": "0x00"}
    stale.write_text(json.dumps(record | {"code_hashes": hashes}))
    refused(config, "deployment file is stale")
    stale.unlink()
    refused(config, "no deployment file")


def test_run__meters_that_cannot_be_read__names_file_and_column(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "profiles.csv"
    profile.write_text("meter,row,import_kwh,export_wh\nload-1,0,1,0\n")
    settings = replace(SETTINGS, meters=Meters(ROSTER, profile))
    config = configure(world, tmp_path, monkeypatch, settings=settings)
    refused(config, "column 'import_kwh' stands where 'import_wh' is expected")


def test_run__journal_of_another_seat__is_left_alone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Committee(tmp_path, world.url, world.path, world.seats, SETTINGS):
        pass
    config = configure(
        world,
        tmp_path,
        monkeypatch,
        edit=lambda text: text.replace("journal.sqlite", "seat1.sqlite"),
    )
    refused(config, "is of seat 1")


def test_help__smallest_file__is_a_good_configuration(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    lines = [line.strip() for line in told.splitlines()]
    begin = lines.index('rpc_url = "http://127.0.0.1:8545"')
    end = lines.index('profile = "profiles.csv.gz"')
    path = tmp_path / "node.toml"
    path.write_text("\n".join(lines[begin : end + 1]))

    assert load_config(path).key.env == "SUBGRID_SEAT_KEY"


def test_run__log_format_json__every_line_is_an_object(node: Path) -> None:
    command = [sys.executable, "-m", "oracle", "run", "--config", str(node)]
    process = subprocess.Popen(
        [*command, "--log-format", "json", "--log-level", "debug"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline().startswith("ready seat=0")
    process.terminate()
    _, said = process.communicate(timeout=30)

    last = [json.loads(line) for line in said.splitlines()][-1]
    assert (last["level"], last["event"], last["seat"]) == ("info", "stopped", 0)


def test_run__key_of_the_environment_is_bad__variable_named_and_nothing_starts(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBGRID_ORACLE_SEAT", "99")
    refused(node, "environment variable SUBGRID_ORACLE_SEAT: seat = '99'")


def test_status_and_verify__before_the_first_start__say_what_is_missing(node: Path) -> None:
    for command in ("status", "verify"):
        result = run(command, node)
        assert result.exit_code == 1
        assert "journal" in result.output


def test_status__running_node__shows_what_it_knows(world: World, tmp_path: Path) -> None:
    with Committee(tmp_path, world.url, world.path, world.seats, SETTINGS) as committee:
        result = run("status", committee.configuration(2))
    assert result.exit_code == 0
    assert f"seat 2 of market {world.market.deployment.market}" in result.output


@pytest.fixture
def gateway(world: World) -> Iterator[tuple[str, threading.Event]]:
    """A way to the chain that can be cut: the endpoint, and whether it is open."""
    opened = threading.Event()

    class Gate(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not opened.is_set():
                self.close_connection = True
                return
            answer = forward(world, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", opened
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def forward(world: World, body: bytes) -> bytes:
    call = json.loads(body)
    answer = world.chain.w3.provider.make_request(call["method"], call["params"])
    return json.dumps(dict(answer) | {"id": call["id"]}).encode()


def test_run__chain_down_at_start__waits_and_is_ready_when_it_is_back(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gateway: tuple[str, threading.Event],
) -> None:
    url, opened = gateway
    config = configure(world, tmp_path, monkeypatch, edit=lambda text: text.replace(world.url, url))
    process = subprocess.Popen(
        [sys.executable, "-m", "oracle", "run", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        assert process.stdout
        assert "no answer from the chain" in process.stderr.readline()
        opened.set()
        assert process.stdout.readline().startswith("ready seat=0")
        opened.clear()
        lines = iter(process.stderr.readline, "")
        assert any("no answer from the chain" in line for line in lines)
        opened.set()
        assert any("chain is back" in line for line in lines)
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0
