"""A node's configuration: every mistake is named with its key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account
from pydantic import ValidationError

from market.schedule import Schedule
from oracle.config import ConfigError, CsvPrices, KeyConfig, load_config
from oracle.pricing import price_source
from tests.world import account, default_schedule

SEAT_KEY = 64 * "7"
GOOD = """
rpc_url = "http://127.0.0.1:8545"
deployment = "deployment.json"
journal = "seat.sqlite"
seat = 0
[key]
env = "SEAT_KEY"
[meters]
roster = "meters.csv"
profile = "profiles.csv.gz"
"""


@pytest.fixture
def schedule() -> Schedule:
    return default_schedule()


def write(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text)
    return path


def test_load__smallest_file__paths_start_at_its_folder(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert config.journal == tmp_path / "seat.sqlite"
    assert config.meters.roster == tmp_path / "meters.csv"
    assert config.prices.source == "benchmark"
    assert config.confirmations == 2


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seat = 0", "seat = 40", r"seat = 40: .*less than or equal to 31"),
        ("seat = 0", "", r"seat: is needed but missing"),
        ("seat = 0", "seat = 0\npol_s = 1", r"pol_s = 1: is not a key"),
        ("seat = 0", "seat = 0\npoll_s = 0", r"poll_s = 0: .*greater than 0"),
        ("http://127", "ipc://127", r"rpc_url\.0 = 'ipc://127.*match pattern"),
        ('env = "SEAT_KEY"', "", r"key = \{\}: .*give one of env, file and keystore"),
        ("[meters]", '[prices]\nsource = "oracle"\n[meters]', r"prices = .*'benchmark'"),
        (
            "[meters]",
            '[[simulate.faults]]\nkind = "scale"\nseed = 1\n[meters]',
            r"simulate\.faults\.0 = .*takes percent, this one has seed",
        ),
        ("seat = 0", "seat 0", "is not TOML"),
    ],
)
def test_load__bad_key__named_with_value_and_what_is_expected(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(write(tmp_path, GOOD.replace(old, new)))


def test_load__no_file__says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "node.toml")


def test_key__from_variable_or_file__is_the_seats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat, file = account(10), tmp_path / "key"
    monkeypatch.setenv("SEAT_KEY", seat.key.hex())
    file.write_text(f"0x{seat.key.hex()}\n")
    assert KeyConfig(env="SEAT_KEY").load().address == seat.address
    assert KeyConfig(file=file).load().address == seat.address


def test_key__unusable__error_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAT_KEY", "secret")
    with pytest.raises(ConfigError, match="no private key") as caught:
        KeyConfig(env="SEAT_KEY").load()
    assert "secret" not in str(caught.value)
    monkeypatch.delenv("SEAT_KEY")
    with pytest.raises(ConfigError, match="is not set"):
        KeyConfig(env="SEAT_KEY").load()
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyConfig(file=tmp_path / "none").load()


HEADER = "period,selling_uyuan_per_kwh,planned_uyuan_per_kwh,compensation_uyuan_per_kwh\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("period,planned_uyuan_per_kwh\n", r":1: column 'selling_uyuan_per_kwh' is missing"),
        (HEADER + "1,2,x,4\n", r":2: planned_uyuan_per_kwh is 'x'"),
        (HEADER + "1,2,-3,4\n", r":2: planned_uyuan_per_kwh = -3 is negative"),
        (HEADER + "1,2,3,4\n1,2,3,4\n", r":3: period 1 is there twice"),
    ],
)
def test_price_file__bad_row__named_with_line_and_column(
    tmp_path: Path, schedule: Schedule, text: str, told: str
) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        price_source(CsvPrices(source="csv", file=path), schedule)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file with few rounds, for a test need not resist anybody."""
    path = tmp_path_factory.mktemp("keys") / "seat.json"
    path.write_text(
        json.dumps(Account.encrypt(bytes.fromhex(SEAT_KEY), "secret", kdf="pbkdf2", iterations=10))
    )
    return path


def test_key__in_a_keystore__is_opened_by_the_password(
    keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    password = tmp_path / "password"
    password.write_text("secret\n")
    for config in (
        KeyConfig(keystore=keystore, password_env="PASSWORD"),
        KeyConfig(keystore=keystore, password_file=password),
    ):
        assert config.load().key.hex() == SEAT_KEY


def test_key__keystore_that_does_not_open__says_why_and_not_what_is_in_it(
    keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "guess")
    with pytest.raises(ConfigError, match="wrong password") as caught:
        KeyConfig(keystore=keystore, password_env="PASSWORD").load()
    assert "guess" not in str(caught.value)
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(ConfigError, match="no key file"):
        KeyConfig(keystore=other, password_env="PASSWORD").load()
    with pytest.raises(ConfigError, match=r"key\.password_env: .*NOWHERE is not set"):
        KeyConfig(keystore=keystore, password_env="NOWHERE").load()
    with pytest.raises(ConfigError, match=r"key\.keystore: .*cannot be read"):
        KeyConfig(keystore=tmp_path / "gone", password_env="PASSWORD").load()


@pytest.mark.parametrize(
    "keys",
    [
        {"keystore": "k"},
        {"keystore": "k", "password_env": "A", "password_file": "b"},
        {"env": "A", "password_env": "B"},
        {"env": "A", "keystore": "k"},
        {},
    ],
)
def test_key__ways_that_contradict_each_other__are_refused(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give one of"):
        KeyConfig.model_validate(keys)
