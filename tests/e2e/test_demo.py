"""The demo as a user runs it, on a short day."""

from __future__ import annotations

import csv
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from market.devnet import ANVIL_VARIABLE
from market.history import Moved
from oracle.journal import Journal
from oracle.meters.store import SampleStore
from scripts.demo.people import SEATS
from scripts.demo.story import CASES, NAMES, Outcome
from scripts.demo.terms import FIRST

ROOT = Path(__file__).resolve().parents[2]
PERIODS = 3
TROUBLED_PERIODS = 6
SILENT_PERIODS = 4
TIMEOUT_S = 120.0
POLL_S = 0.02


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scripts.demo", *arguments]


def demo(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120", **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def total(table: list[dict[str, str]], column: str) -> int:
    return sum(int(row[column]) for row in table)


def children(pid: int) -> set[int]:
    """Return the processes a process has started, and theirs."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found |= {int(entry.name), *children(int(entry.name))}
    return found


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def played(out: Path) -> subprocess.CompletedProcess[str]:
    """A short demo that has ended well."""
    done = demo("--periods", str(PERIODS), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_story__every_amount_is_the_papers_to_the_unit(
    played: subprocess.CompletedProcess[str],
) -> None:
    amount = r"([+-]\d+\.\d{6})"
    told = re.findall(rf"\b([ABC])\s+{amount}\s+{amount}\s+(\S)", played.stdout)

    assert told == [
        ("A", "+4.379000", "+4.379000", "\u2713"),
        ("B", "-4.379000", "-4.379000", "\u2713"),
        ("C", "+0.000000", "+0.000000", "\u2713"),
        ("A", "+3.307200", "+3.307200", "\u2713"),
        ("B", "-4.379000", "-4.379000", "\u2713"),
        ("C", "+1.071800", "+1.071800", "\u2713"),
        ("A", "+5.038400", "+5.038400", "\u2713"),
        ("B", "-5.038400", "-5.038400", "\u2713"),
        ("C", "+0.000000", "+0.000000", "\u2713"),
    ]


def test_day__every_period_is_recomputed(played: subprocess.CompletedProcess[str]) -> None:
    assert f"{PERIODS} of {PERIODS} periods recomputed, bit for bit" in played.stdout


@pytest.mark.usefixtures("played")
def test_tables__periods_and_nodes_add_up_to_the_same_day(out: Path) -> None:
    periods, nodes = rows(out / "periods.csv"), rows(out / "nodes.csv")

    assert len(periods) == PERIODS
    assert len(nodes) == 42
    for column in ("import_wh", "export_wh", "traded_sold_wh", "grid_bought_wh"):
        assert total(periods, column) == total(nodes, column) > 0
    assert total(periods, "grid_sold_wh") == total(nodes, "grid_sold_wh")
    traded = ("traded_wh", "traded_sold_wh", "traded_bought_wh")
    assert len({total(periods, column) for column in traded}) == 1
    exchanged = total(periods, "grid_bought_wh") - total(periods, "grid_sold_wh")
    assert exchanged == total(periods, "import_wh") - total(periods, "export_wh")
    assert total(periods, "members_net_uyuan") == total(nodes, "net_uyuan")
    assert total(periods, "members_net_uyuan") == -total(periods, "grid_company_net_uyuan")
    for node in nodes:
        alone = int(node["net_with_grid_company_only_uyuan"])
        assert int(node["saving_uyuan"]) == int(node["net_uyuan"]) - alone


def test_outputs__are_where_the_summary_says(
    played: subprocess.CompletedProcess[str], out: Path
) -> None:
    for name in ("periods.csv", "nodes.csv", "day.png", "summary.svg"):
        assert str(out / name) in played.stdout
    assert (out / "day.png").read_bytes().startswith(b"\x89PNG")
    assert "recomputed" in (out / "summary.svg").read_text(encoding="utf-8")


def without_mqtt(folder: Path) -> Path:
    """Return a folder that hides the packages for MQTT from whoever has it on its path."""
    for name in ("amqtt", "paho"):
        problem = f'raise ModuleNotFoundError("No module named {name!r}", name="{name}")\n'
        (folder / f"{name}.py").write_text(problem, encoding="utf-8")
    return folder


def test_folder_of_an_earlier_run__starts_afresh(tmp_path: Path) -> None:
    (tmp_path / "committee").mkdir()
    (tmp_path / "committee" / "seat-0.sqlite").write_bytes(b"of a chain that is gone")
    (tmp_path / "deployment.json").write_text("{}")

    done = demo(
        *("--periods", "1", "--no-story", "--day", "5", "--meters", "file"),
        *("--out", str(tmp_path)),
        PYTHONPATH=str(without_mqtt(tmp_path)),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "The paper's story" not in done.stdout
    assert "1 of 1 periods recomputed, bit for bit" in done.stdout
    assert "read the meters from a file" in " ".join(done.stdout.split())


def test_packages_for_mqtt_missing__says_how_to_install_them(tmp_path: Path) -> None:
    done = demo("--out", str(tmp_path), PYTHONPATH=str(without_mqtt(tmp_path)))

    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "(amqtt)" in said
    assert "pip install 'subgrid[meters]'" in said
    assert "--meters file" in said


@pytest.mark.parametrize("rule", ["planned", "pairwise"])
def test_other_rule_and_tariff_prices__clears_votes_and_settles_by_them(
    tmp_path: Path, rule: str
) -> None:
    done = demo(
        *("--scenario", "data/scenarios/rural1-calm.toml", "--rule", rule),
        *("--periods", "2", "--seed", "3", "--no-story", "--out", str(tmp_path)),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 periods recomputed, bit for bit" in done.stdout
    periods = rows(tmp_path / "periods.csv")
    assert total(periods, "traded_wh") > 0
    if rule == "planned":
        for row in periods:
            traded = int(row["traded_wh"]) > 0
            assert row["prices_uyuan_per_kwh"] == row["planned_uyuan_per_kwh"] * traded


THIN_CABLES = """\
grid = "rural1"
first_day = 7

[batteries]

[wires]
lines = 1
"""


def test_thin_cables__bind_on_chain_and_are_named(tmp_path: Path) -> None:
    scenario = tmp_path / "thin.toml"
    scenario.write_text(THIN_CABLES, encoding="utf-8")

    done = demo(
        *("--scenario", str(scenario), "--periods", "3", "--no-story", "--out", str(tmp_path))
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 periods recomputed, bit for bit" in done.stdout
    bound = {
        line
        for row in rows(tmp_path / "periods.csv")
        for line in row["binding_lines"].split("; ")
        if line
    }
    assert bound
    said = " ".join(done.stdout.split())
    assert all(line in said for line in bound)


TROUBLED_METERS = """\
grid = "rural1"
first_day = 7

[batteries]

[[deviations]]
kind = "silent"
meter = "load-3"
first_hour = 0
last_hour = 0

[[deviations]]
kind = "scatter"
spread = 20

[[deviations]]
kind = "scale"
meter = "load-1"
percent = 50
"""


def journalled(out: Path, seat: int) -> dict[int, dict[str, tuple[int, int]]]:
    """Return what a seat has read, by period and meter."""
    with closing(Journal(out / "committee" / f"seat-{seat}.sqlite", read_only=True)) as journal:
        return {period: journal.readings(period) for period in range(FIRST + TROUBLED_PERIODS)}


def test_meters_that_speak_mqtt__come_to_what_a_file_of_energies_comes_to(tmp_path: Path) -> None:
    scenario = tmp_path / "troubled.toml"
    scenario.write_text(TROUBLED_METERS, encoding="utf-8")
    for way in ("file", "mqtt"):
        done = demo(
            *("--scenario", str(scenario), "--periods", str(TROUBLED_PERIODS), "--no-story"),
            *("--meters", way, "--out", str(tmp_path / way)),
        )
        assert done.returncode == 0, done.stdout + done.stderr
    file, mqtt = tmp_path / "file", tmp_path / "mqtt"

    for seat in range(SEATS):
        read = journalled(mqtt, seat)
        assert read == journalled(file, seat)
        heard = [
            period for period in range(FIRST, FIRST + TROUBLED_PERIODS) if "load-3" in read[period]
        ]
        assert heard == [*range(FIRST + SILENT_PERIODS, FIRST + TROUBLED_PERIODS)]
    for table in ("periods.csv", "nodes.csv"):
        assert (mqtt / table).read_bytes() == (file / table).read_bytes()
    # Both registers of every meter at the start of every period, less the silent ones, and once
    # more for the device that came in the silent one's place.
    meters = len(rows(mqtt / "nodes.csv")) + len(NAMES)
    samples = 2 * (meters * (FIRST + TROUBLED_PERIODS + 1) - SILENT_PERIODS + 1)
    assert f"{samples:,} register readings" in " ".join(done.stdout.split())
    for seat in range(SEATS):
        with closing(SampleStore(mqtt / "committee" / f"seat-{seat}-samples.sqlite")) as store:
            assert store.count() == samples
            assert store.meters() == meters
            assert store.tallies() == []


def test_day_without_a_yesterday__says_so(tmp_path: Path) -> None:
    done = demo("--day", "0", "--out", str(tmp_path))

    assert done.returncode == 1
    assert "has no yesterday" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--rule", "auction", "'planned', 'uniform' or 'pairwise'"),
        ("--day", "13", "fewer or earlier"),
    ],
)
def test_option_that_does_not_fit__says_what_does(
    tmp_path: Path, option: str, value: str, hint: str
) -> None:
    days = ("--days", "2") if option == "--day" else ()
    done = demo(option, value, *days, "--out", str(tmp_path))

    assert done.returncode == 1
    assert hint in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr


def test_folder_that_cannot_be_written__says_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = demo("--out", str(file / "demo"))

    assert done.returncode == 1
    assert "--out" in done.stdout


@pytest.mark.parametrize("most_bytes", [2_000, 50_000])
def test_folder_that_is_full__says_so(tmp_path: Path, most_bytes: int) -> None:
    done = subprocess.run(
        command("--out", str(tmp_path), "--periods", "1"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )

    assert done.returncode == 1
    assert str(tmp_path) in done.stdout.replace("\n", "")
    assert "Traceback" not in done.stdout + done.stderr


def test_no_anvil__says_where_it_was_looked_for(tmp_path: Path) -> None:
    done = demo("--out", str(tmp_path), **{ANVIL_VARIABLE: "/no/such/anvil"})

    assert done.returncode == 1
    assert "/no/such/anvil" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_one_micro_yuan_less__is_not_as_expected() -> None:
    case = CASES[1]
    seller, buyer, reserve = case.expected_uyuan

    assert Outcome(case, (seller, buyer, reserve)).as_expected
    assert not Outcome(case, (seller, buyer, reserve - 1)).as_expected


@pytest.mark.parametrize("net_uyuan", [0, 1, -1, 4_379_000, -(2**67)])
def test_transfer_record__unpacks_to_what_was_packed(net_uyuan: int) -> None:
    release, net = (5_000_000).to_bytes(8, "big"), net_uyuan.to_bytes(9, "big", signed=True)

    assert Moved.unpack(b"\xff" * 4 + b"\x02" + release + net) == Moved(
        2**32 - 1, net_uyuan, 5_000_000
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demo whose oracle processes have started."""
    process = subprocess.Popen(
        command("--out", str(tmp_path)), cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    give_up = time.monotonic() + TIMEOUT_S
    while len(children(process.pid)) < 5:
        assert process.poll() is None, "ended before it could be stopped"
        assert time.monotonic() < give_up
        time.sleep(POLL_S)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes by /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way__leaves_no_process(
    running: subprocess.Popen[bytes], how: signal.Signals
) -> None:
    started = children(running.pid)

    running.send_signal(how)
    said, _ = running.communicate(timeout=TIMEOUT_S)

    assert running.returncode == 130
    assert b"ended" in said
    assert not [pid for pid in started if is_running(pid)]


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes by /proc")
def test_oracle_process_that_dies__is_named_with_its_log(
    running: subprocess.Popen[bytes],
) -> None:
    oracles = [
        pid
        for pid in children(running.pid)
        if b"oracle" in (Path("/proc") / str(pid) / "cmdline").read_bytes()
    ]
    os.kill(oracles[-1], signal.SIGKILL)

    said, _ = running.communicate(timeout=TIMEOUT_S)

    assert running.returncode == 1
    assert re.search(rb"oracle process of seat \d ended with status -9", b" ".join(said.split()))
