"""From a signed text in a node's store to its proof on chain, by the node's command line."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oracle.cli import app
from oracle.meters import ocmf
from oracle.meters.roster import COLUMNS, meter_key
from oracle.meters.store import SampleStore
from tests import meter_messages as messages
from tests.unit.contracts.support import events
from tests.world import PROSUMER, World

pytestmark = pytest.mark.filterwarnings("ignore::pyocmf.SpecWarning")

AT = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
METER, NAME = "wallbox-1", "EV1"
PUBLIC = messages.public_hex(messages.P256)


@pytest.fixture
def config(world: World, tmp_path: Path) -> Path:
    """A node whose store holds two signed texts of an admitted meter."""
    admission = (world.stranger.address, meter_key(METER), 0, PROSUMER, 10_000, 10_000)
    world.chain.send(world.grid, world.market.registry.functions.admit([admission]))
    row = (METER, "", "0", "prosumer", "11000", "11000")
    (tmp_path / "meters.csv").write_text(f"{','.join(COLUMNS)}\n{','.join(row)}\n")
    store = SampleStore(tmp_path / "samples.sqlite")
    for pagination, kwh in (("T1", "1.5"), ("T2", "2.5")):
        text = messages.ocmf(messages.P256, kwh, AT, meter=NAME, pagination=pagination)
        samples = ocmf.read(text.encode(), "broker", {NAME: PUBLIC}.get)
        store.add([replace(sample, meter=METER) for sample in samples], [], 0)
    store.close()
    path = tmp_path / "node.toml"
    path.write_text(f"""
rpc_url = "{world.url}"
deployment = "{world.path}"
seat = 0
journal = "journal.sqlite"
[key]
env = "NOBODY_NEEDS_IT"
[meters]
roster = "meters.csv"
[meters.live]
store = "samples.sqlite"
[[meters.live.meter]]
meter = "{METER}"
ids = ["{NAME}"]
key = "{PUBLIC}"
""")
    return path


def prove(config: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["meters", "prove", *words, "--config", str(config)])
    return result.exit_code, result.output


def register(world: World, curve: int = 0) -> None:
    key = (messages.P256, messages.K256)[curve].public_key().public_numbers()
    entry = (1_700_000_000, curve, key.x, key.y)
    call = world.market.proofs.functions.register(meter_key(METER), entry)
    world.chain.send(world.grid, call)


def test_prove__text_of_the_store__is_what_the_contract_takes(world: World, config: Path) -> None:
    register(world)
    status, told = prove(config, NAME, "T2")
    assert status == 0
    shown = json.loads(told)
    assert '"RV": 2.5' in shown["text"]
    assert prove(config, METER, "T2") == (status, told)

    meter, r, s = (bytes.fromhex(shown[name][2:]) for name in ("meter", "r", "s"))
    proofs = world.market.proofs
    call = proofs.functions.prove(meter, shown["text"], r, s)
    (event,) = events(world.chain.send(world.stranger, call), proofs, "Proven")
    assert (event["meter"], event["text"]) == (meter_key(METER), shown["text"])
    assert event["digest"] == bytes.fromhex(shown["digest"][2:])


def test_prove__checked__tells_what_the_chain_says(world: World, config: Path) -> None:
    status, told = prove(config, METER, "T1", "--check")
    assert (status, json.loads(told)["chain"]) == (
        1,
        {"signed": False, "problem": "no key is registered"},
    )
    register(world)
    status, told = prove(config, METER, "T1", "--check")
    assert status == 0
    assert json.loads(told)["chain"] == {
        "signed": True,
        "key": 0,
        "valid_from": "2023-11-14T22:13:20+00:00",
    }


def test_prove__checked_against_another_key__says_no(world: World, config: Path) -> None:
    register(world, curve=1)
    status, told = prove(config, METER, "T1", "--check")
    assert status == 1
    assert "none of the registered keys" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("EV9", "T1"), "no meter is called 'EV9'"),
        ((METER, "T9"), "no text 'T9' signed by 'wallbox-1'"),
        ((METER, "T1", "--key", messages.public_hex(messages.K256)), "give it as --key"),
        ((METER, "T1", "--key", "no hex"), "give it as --key"),
    ],
)
def test_prove__what_is_not_there__says_what_to_give(
    config: Path, words: tuple[str, ...], told: str
) -> None:
    status, output = prove(config, *words)
    assert status == 1
    assert told in output.replace("\n", " ")


def test_prove__meter_without_a_key__asks_for_one(config: Path) -> None:
    config.write_text(config.read_text().replace(f'key = "{PUBLIC}"', ""))
    status, output = prove(config, METER, "T1")
    assert status == 1
    assert "has no key" in output
    assert prove(config, METER, "T1", "--key", PUBLIC)[0] == 0
