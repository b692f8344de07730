"""A node's configuration: every mistake is named with its key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from eth_account import Account
from pydantic import ValidationError

from market.schedule import Schedule
from oracle.config import ConfigError, KeyConfig, load_config
from oracle.meters.settings import MqttConfig, TlsConfig
from oracle.prices.settings import CsvPrices
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


def test_load__key_that_pydantic_settings_would_take_for_its_own__named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"node\.toml: _env_prefix: is not a key"):
        load_config(write(tmp_path, '_env_prefix = "X_"\n' + GOOD))


LIVE = GOOD.replace('profile = "profiles.csv.gz"', '[meters.live]\nstore = "samples.sqlite"')
BROKER = '[{"kind": "mqtt", "client_id": "a", "preset": "smartmeter-datacollector", %s}]'


def environment(monkeypatch: pytest.MonkeyPatch, keys: Mapping[str, str]) -> None:
    for key, value in keys.items():
        monkeypatch.setenv(f"SUBGRID_ORACLE_{key}", value)


def test_load__keys_in_the_environment__win_over_the_file_and_start_at_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {
        "RPC_URL": "https://chain.example",
        "SEAT": "3",
        "MONITOR__LISTEN": "127.0.0.1:9464",
        "METERS__ROSTER": "other.csv",
        "METERS__LIVE__SOURCES": BROKER % '"tls": {"ca_file": "ca.pem"}',
        "SIMULATE__FAULTS": '[{"kind": "silent"}]',
    }
    environment(monkeypatch, keys)
    monkeypatch.setenv("SUBGRID_SEAT_KEY", "is none of them")

    config = load_config(write(tmp_path, LIVE))

    assert config.rpc_url == ("https://chain.example",)
    assert (config.seat, config.monitor.listen) == (3, "127.0.0.1:9464")
    assert config.meters.roster == tmp_path / "other.csv"
    assert config.meters.live is not None
    assert config.meters.live.store == tmp_path / "samples.sqlite"
    (source,) = config.meters.live.sources
    assert isinstance(source, MqttConfig)
    assert source.tls == TlsConfig(ca_file=tmp_path / "ca.pem")
    assert [fault.kind for fault in config.simulate.faults] == ["silent"]


def test_load__list_of_endpoints_in_the_environment__is_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, {"RPC_URL": '["http://a", "http://b"]'})
    assert load_config(write(tmp_path, GOOD)).rpc_url == ("http://a", "http://b")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"SEAT": "40"}, r"^environment variable SUBGRID_ORACLE_SEAT: seat = '40': .*equal to 31"),
        ({"MONITOR__LISTN": "x"}, r"SUBGRID_ORACLE_MONITOR__LISTN: monitor\.listn = 'x': is not a"),
        ({"POL_S": "1"}, r"^environment variable SUBGRID_ORACLE_POL_S: pol_s: is not a key"),
        (
            {"A__B": "1", "C": "1"},
            r"SUBGRID_ORACLE_A__B: a\.b: is not .*\n.*SUBGRID_ORACLE_C: c: is",
        ),
        ({"METERS": "x"}, r"SUBGRID_ORACLE_METERS: meters = 'x': is no table"),
        ({"SIMULATE__FAULTS": "x"}, r"SUBGRID_ORACLE_SIMULATE__FAULTS: .*faults = 'x': is no list"),
        ({"KEY__FILE": "k"}, r"node\.toml and SUBGRID_ORACLE_KEY__FILE: key = .*give one of env"),
        ({"PRICES__SOURCE": "csv"}, r"node\.toml: prices\.file: is needed but missing"),
        (
            {"METERS__LIVE__SOURCES": BROKER % '"port": "x"'},
            r"__LIVE__SOURCES: meters\.live\.sources\.0\.port = 'x': .*integer",
        ),
    ],
)
def test_load__bad_key_in_the_environment__names_variable_key_and_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], told: str
) -> None:
    environment(monkeypatch, keys)
    with pytest.raises(ConfigError, match=told):
        load_config(write(tmp_path, GOOD))


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
        price_source(CsvPrices(source="csv", file=path), schedule, tmp_path / "j", lambda: 0)


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
