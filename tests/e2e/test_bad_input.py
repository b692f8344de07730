"""An operator's mistakes, one by one: each is told in a line that says what to do."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from oracle.cli import app
from oracle.journal import Journal
from oracle.meters.roster import load_roster
from tests.committee import KEY_VARIABLE, Clock, Committee, Meters, Settings
from tests.village import PROFILE, ROSTER, Village
from tests.world import World, new_world

HEADER = "meter,row,import_wh,export_wh\n"
DEAD_URL = "http://127.0.0.1:1"

Edit = Callable[[str], str]
Prepare = Callable[[Path, World], None]


def run(command: str, config: Path) -> Result:
    return CliRunner().invoke(app, [command, "--config", str(config)])


def told(result: Result, *words: str) -> None:
    """Nothing but a line or two with the right words, and exit status 1."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output


@pytest.fixture
def config(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good configuration of seat 0; its files may be replaced by those in its folder."""
    monkeypatch.setenv(KEY_VARIABLE, world.seats[0].key.hex())
    settings = Settings(Meters(ROSTER, PROFILE))
    path = tmp_path / "node.toml"
    path.write_text(settings.toml(world.url, world.path, 0, tmp_path / "journal.sqlite"))
    return path


def replaced(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def key_of(line: str) -> Edit:
    return replaced(f'env = "{KEY_VARIABLE}"', line)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        pytest.param(lambda _: "", ["rpc_url: is needed", "docs/operating.md"], id="empty"),
        pytest.param(lambda _: 'rpc_url = "x\n', ["node.toml is not TOML", "line 1"], id="no toml"),
        pytest.param(lambda t: "pol_s = 3\n" + t, ["pol_s = 3: is not a key"], id="unknown key"),
        pytest.param(
            lambda t: "meters = 3\n" + t.partition("[meters]")[0], ["is no table"], id="t"
        ),
        pytest.param(replaced("seat = 0", "seat = 99"), ["seat = 99"], id="seat beyond all"),
        pytest.param(replaced("seat = 0", "seat = 9"), ["has 4 seats, give 0 to 3"], id="no seat"),
        pytest.param(replaced("http://", "ws://"), ["rpc_url", "https?"], id="scheme"),
        pytest.param(key_of('env = "NO_SUCH_KEY"'), ["NO_SUCH_KEY is not set"], id="no key"),
        pytest.param(key_of('file = "folder"'), ["key.file", "Is a directory"], id="key folder"),
        pytest.param(key_of('file = "noise"'), ["holds no private key"], id="key of noise"),
        pytest.param(replaced(str(ROSTER), "folder"), ["folder: cannot be read"], id="roster"),
        pytest.param(replaced(str(PROFILE), "folder"), ["unknown kind"], id="profile folder"),
        pytest.param(replaced(str(PROFILE), "none.csv"), ["none.csv", "No such file"], id="none"),
        pytest.param(replaced(str(PROFILE), "empty.csv"), ["empty.csv:1: has no header"], id="0"),
        pytest.param(replaced(str(PROFILE), "header.csv"), ["has no rows"], id="header only"),
        pytest.param(replaced("journal.sqlite", "folder"), ["folder cannot be opened"], id="j dir"),
        pytest.param(replaced("journal.sqlite", "noise"), ["not a database"], id="journal noise"),
        pytest.param(replaced("journal.sqlite", "other.db"), ["another program"], id="other db"),
        pytest.param(
            replaced("journal.sqlite", "noise/j.sqlite"), ["cannot be locked"], id="unwritable"
        ),
        pytest.param(
            replaced('source = "benchmark"', 'source = "csv"\nfile = "folder"'),
            ["folder cannot be read"],
            id="prices folder",
        ),
    ],
)
def test_run__bad_file_or_key__named_and_nothing_starts(
    config: Path, edit: Edit, words: list[str]
) -> None:
    folder = config.parent
    (folder / "folder").mkdir()
    (folder / "noise").write_bytes(b"\xff\xfe no text, no key, no database" * 40)
    (folder / "empty.csv").touch()
    (folder / "header.csv").write_text(HEADER)
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("CREATE TABLE events (what TEXT)")
    config.write_text(edit(config.read_text()))

    told(run("run", config), *words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda r: r | {"chain_id": 5}, "serves chain 31337", id="chain id"),
        pytest.param(lambda r: r | {"genesis_hash": "0x11"}, "was reset", id="reset"),
        pytest.param(lambda r: r | {"addresses": {}}, "no address of 'Registry'", id="none"),
        pytest.param(
            lambda r: r | {"addresses": dict.fromkeys(r["addresses"], "nonsense")},
            "is not a deployment file",
            id="no addresses",
        ),
        pytest.param(
            lambda r: r | {"addresses": dict.fromkeys(r["addresses"], "0x" + 40 * "1")},
            "use the subgrid version it was deployed with",
            id="nobody there",
        ),
        pytest.param(lambda r: r | {"complete": False}, "was interrupted", id="half"),
        pytest.param(lambda r: [r], "is not a deployment file", id="list"),
        pytest.param(lambda _: "x", "is not a deployment file", id="text"),
    ],
)
def test_run__stale_or_spoilt_deployment_file__named(
    config: Path, world: World, change: Callable[[dict[str, object]], object], words: str
) -> None:
    spoilt = config.parent / "deployment.json"
    spoilt.write_text(json.dumps(change(json.loads(world.path.read_text()))))
    config.write_text(config.read_text().replace(str(world.path), str(spoilt)))

    told(run("run", config), words)


def test_run__deployment_file_cut_or_a_folder__named(config: Path, world: World) -> None:
    cut = config.parent / "cut.json"
    cut.write_text(world.path.read_text()[:400])
    text = config.read_text()

    config.write_text(text.replace(str(world.path), str(cut)))
    told(run("run", config), f"{cut} is not a deployment file", "restore it")
    config.write_text(text.replace(str(world.path), str(config.parent)))
    told(run("run", config), "Is a directory", "give the path")


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """An endpoint that answers everything alike."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_verify__endpoint_that_is_no_chain__named(config: Path, world: World) -> None:
    Journal(config.parent / "journal.sqlite").close()
    with answering(b'{"jsonrpc": "2.0", "id": 0, "result": null}') as url:
        config.write_text(config.read_text().replace(world.url, url))
        told(run("verify", config), url, "not as an Ethereum node does", "check the RPC URL")


def test_status__no_journal_yet__says_to_start_the_node(config: Path) -> None:
    for command in ("status", "verify"):
        told(run(command, config), "no journal at", "start the node once")


def test_verify__chain_down__names_the_endpoint(config: Path, world: World) -> None:
    Journal(config.parent / "journal.sqlite").close()
    config.write_text(config.read_text().replace(world.url, DEAD_URL))

    told(run("verify", config), DEAD_URL, "refused", "is the node running")


def test_run__journal_of_a_running_node__second_one_keeps_away(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, world.seats[0].key.hex())
    settings = Settings(Meters(ROSTER, PROFILE))
    committee = Committee(tmp_path, world.url, world.path, world.seats, settings)
    with committee:
        told(run("run", committee.configuration(0)), "in use by another node", "stop that one")
        assert committee.is_alive(0)
        committee.kill(0)
        # What a killed node held is free again.
        committee.start(0)
        assert committee.is_alive(0)


def test_run__interrupted__ends_cleanly_and_keeps_its_journal(config: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "oracle", "run", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stdout
    assert process.stdout.readline().startswith("ready seat=0")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "stopped" in said
    assert "Traceback" not in said
    assert run("status", config).exit_code == 0


def test_node__bad_rows_in_its_profile__tells_five_and_keeps_the_good_ones(tmp_path: Path) -> None:
    with new_world(accounts=80) as world:
        village = Village(world)
        first = village.first
        m = list(load_roster(ROSTER, world.market.schedule.length_s))
        profile = tmp_path / "spoilt.csv"
        profile.write_text(
            HEADER
            + "ghost,0,1,0\n"
            + f"{m[0]},0,-5,0\n"
            + f"{m[1]},0,nan,0\n"
            + f"{m[2]},0,99999999,0\n"
            + f"{m[3]},0,10,0\n{m[3]},0,10,0\n"
            + f"{m[4]},0,10,0\n{m[4]},0,11,0\n"
            + f"{m[5]},0,1.5,0\n"
            + f"{m[6]},0,20,0\n"
            + f"{m[7]},0,1"
        )
        settings = Settings(Meters(ROSTER, profile, first))
        clock = Clock(world.market)
        with village.committee(tmp_path, settings) as committee:
            clock.warp(world.market.schedule.close(first))
            clock.until(
                lambda: profile.name in committee.log(0).read_text(), "refusal of a bad row"
            )
            clock.until(lambda: len(read_by(committee.journal(0), first)) == 2, "good readings")
            said = committee.log(0).read_text()
            assert all(committee.is_alive(seat) for seat in committee.seats)

        kept = read_by(committee.journal(0), first)
    assert kept == {m[3]: (10, 0), m[6]: (20, 0)}
    for line, words in {
        3: "is negative: -5",
        4: "is NaN",
        5: "is 99999999 Wh, its capacity allows",
        7: "repeats its row 0",
        8: "contradict each other",
    }.items():
        assert any(f"{profile}:{line}: " in told and words in told for told in said.splitlines())
    # What else is wrong in the period is a count.
    assert said.count(" reading refused ") == 5
    assert f"more readings refused period={first} more=" in said


def read_by(journal: Path, period: int) -> dict[str, tuple[int, int]]:
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
        rows = db.execute(
            "SELECT meter, import_wh, export_wh FROM readings WHERE period = ?", (period,)
        ).fetchall()
    return {meter: (import_wh, export_wh) for meter, import_wh, export_wh in rows}
