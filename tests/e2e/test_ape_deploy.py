"""`ape run deploy`: from nothing to a verified market, whatever comes in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from market.chain import Chain
from market.contracts import NAMES
from market.deployment import Deployment, Market
from market.devnet import Anvil, find_anvil, rpc
from market.grid import Grid
from market.lines import SINGLE_BUS, table_of
from scripts.demo.people import account
from scripts.deploy import TermsError, read_terms

ROOT = Path(__file__).resolve().parents[2]
APE = Path(sys.executable).with_name("ape")
EXAMPLE = ROOT / "data" / "terms.example.toml"
TIMEOUT_S = 120.0
POLL_S = 0.01


def command(*arguments: str) -> list[str]:
    return [str(APE), "run", "deploy", *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which ape finds anvil, as `make ape` gives it."""
    return {**os.environ, "PATH": f"{find_anvil().parent}{os.pathsep}{os.environ['PATH']}"}


def deploy(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture
def anvil() -> Iterator[Anvil]:
    with Anvil(accounts=3) as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deployment.json"


@pytest.fixture
def on(anvil: Anvil, path: Path) -> tuple[str, ...]:
    """The arguments that name this test's chain and file."""
    return ("--network", f"ethereum:local:{anvil.url}", "--file", str(path))


@pytest.mark.alone
def test_chain_of_apes_own__deploys_and_says_who_holds_what(path: Path) -> None:
    done = deploy("--network", "ethereum:local:foundry", "--file", str(path))

    assert done.returncode == 0, done.stderr
    record = Deployment.load(path)
    assert record.complete
    assert all(record.addresses[name] in done.stdout for name in NAMES)
    assert "the deployer holds none" in done.stdout


def test_running_chain__second_run_deploys_nothing_and_verifies(
    anvil: Anvil, path: Path, on: tuple[str, ...]
) -> None:
    first = deploy(*on)
    assert first.returncode == 0, first.stderr
    written = path.read_bytes()
    chain = Chain(anvil.url)
    nonce = chain.nonce(account(0).address)

    second = deploy(*on)

    assert second.returncode == 0, second.stderr
    assert "verifying" in second.stdout
    assert path.read_bytes() == written
    assert chain.nonce(account(0).address) == nonce == len(NAMES)
    assert Market.open(anvil.url, path).deployment.complete


def test_killed_half_way__same_command_resumes(
    anvil: Anvil, path: Path, on: tuple[str, ...]
) -> None:
    process = subprocess.Popen(
        command(*on),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + TIMEOUT_S
    while not (path.exists() and len(json.loads(path.read_text())["code_hashes"]) >= 2):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < give_up
        time.sleep(POLL_S)
    process.kill()
    process.wait()
    assert not Deployment.load(path).complete

    resumed = deploy(*on)

    assert resumed.returncode == 0, resumed.stderr
    assert "deploying Master" in resumed.stdout
    assert "deploying Registry" not in resumed.stdout
    assert Deployment.load(path).complete
    assert Chain(anvil.url).nonce(account(0).address) == len(NAMES)


def test_other_schedule_than_deployed__refuses_and_names_it(
    tmp_path: Path, on: tuple[str, ...]
) -> None:
    first = deploy(*on)
    assert first.returncode == 0, first.stderr
    terms = tmp_path / "terms.toml"
    terms.write_text(EXAMPLE.read_text().replace("length_s = 900", "length_s = 1800"))

    second = deploy(*on, "--terms", str(terms))

    assert second.returncode != 0
    assert "length_s=900" in second.stderr
    assert "give the terms it was deployed with" in second.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("length_s = 900", "length_s = -900", "length_s is -900"),
        ("fee_uyuan_per_kwh = 20_000", "fee_yuan = 0.02", "fee_yuan"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "give a time with its zone"),
        ('grid_company = "0x70', 'grid_company = "0x7', "is not an address"),
        ("[limits]", "[limit]", "limits is missing"),
        ("[limits]", "[limits", "is not TOML"),
    ],
)
def test_bad_terms__names_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    terms = tmp_path / "terms.toml"
    terms.write_text(text.replace(old, new, 1))

    with pytest.raises(TermsError) as caught:
        read_terms(terms)

    assert str(terms) in str(caught.value)
    assert message in str(caught.value)


def test_terms__with_a_grid__carry_its_table(tmp_path: Path) -> None:
    file = ROOT / "data" / "simbench-rural1" / "grid.json"
    table = table_of(Grid.load(file).tree, 900).hex()
    terms = tmp_path / "terms.toml"
    text = EXAMPLE.read_text()
    terms.write_text(f'grid = "{file}"\n{text}')
    assert read_terms(EXAMPLE).grid == SINGLE_BUS.hex()
    assert read_terms(EXAMPLE, file).grid == read_terms(terms).grid == table
    named = text.replace('# grid = "simbench-rural1', 'grid = "simbench-rural1')
    (tmp_path / "simbench-rural1").symlink_to(file.parent)
    terms.write_text(named)
    assert read_terms(terms).grid == table
    with pytest.raises(TermsError, match=str(tmp_path / "none.json")):
        read_terms(EXAMPLE, tmp_path / "none.json")


def test_missing_terms__names_the_example(tmp_path: Path, on: tuple[str, ...]) -> None:
    done = deploy(*on, "--terms", str(tmp_path / "none.toml"))

    assert done.returncode != 0
    assert "none.toml cannot be read" in done.stderr
    assert EXAMPLE.name in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_account__says_how_to_add_it(on: tuple[str, ...]) -> None:
    done = deploy(*on, "--account", "nobody")

    assert done.returncode != 0
    assert "ape accounts import nobody" in done.stderr


def test_chain_that_is_no_devnet__wants_terms_of_its_own(anvil: Anvil, path: Path) -> None:
    done = deploy("--network", anvil.url, "--file", str(path))

    assert done.returncode != 0
    assert "--terms" in done.stderr
    assert not path.exists()


@pytest.mark.parametrize("network", ["ethereum:local:http://127.0.0.1:1", "http://127.0.0.1:1"])
def test_chain_down__says_so_without_a_trace(network: str, path: Path) -> None:
    done = deploy("--network", network, "--file", str(path))

    assert done.returncode == 1
    assert "Is the node running" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not path.exists()


def test_account_out_of_funds__named_and_resumed_when_it_has_some(
    anvil: Anvil, path: Path, on: tuple[str, ...]
) -> None:
    deployer = account(0).address
    rpc(anvil.url, "anvil_setBalance", [deployer, "0x1"])
    poor = deploy(*on)
    rpc(anvil.url, "anvil_setBalance", [deployer, hex(10**20)])
    resumed = deploy(*on)

    assert poor.returncode == 1
    assert f"account {deployer} cannot pay for gas" in poor.stderr
    assert "Traceback" not in poor.stdout + poor.stderr
    assert resumed.returncode == 0, resumed.stderr
    assert Deployment.load(path).complete


def test_file_that_cannot_be_written__says_so_before_anything_is_sent(
    anvil: Anvil, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "deployment.json"
    done = deploy("--network", f"ethereum:local:{anvil.url}", "--file", str(path))

    assert done.returncode == 1
    assert f"{path} cannot be written" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert Chain(anvil.url).nonce(account(0).address) == 0
