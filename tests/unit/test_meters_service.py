"""From samples to what the oracle asks for, and what stands in the gate before them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from oracle.cli import app
from oracle.meters import ocmf
from oracle.meters.gate import Gate, MeterFacts
from oracle.meters.intake import Intake
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.sample import Delivery, Fidelity, Kind, Register, Reject, Sample
from oracle.meters.service import MeterService
from oracle.meters.settings import LiveConfig
from oracle.meters.source import Reading, Refusal, SourceError
from oracle.meters.store import SampleStore
from tests import meter_messages as messages
from tests.brokers import WAIT_S

pytestmark = pytest.mark.filterwarnings("ignore::pyocmf.SpecWarning")

EPOCH_S = 1_800_000_000
QUARTER_S = 900
ROSTER = Roster(
    [
        Meter("home", "", 0, Role.PROSUMER, 20_000, 10_000),
        Meter("shop", "", 0, Role.CONSUMER, 20_000, 0),
    ],
    QUARTER_S,
)


def sample(meter: str, register: Register, after_s: int, wh: int, **more: Any) -> Sample:  # noqa: ANN401
    at_ms = 1000 * (EPOCH_S + after_s)
    return replace(Sample(meter, register, wh, at_ms, "test", bytes(32)), **more)


@pytest.fixture
def service(tmp_path: Path) -> MeterService:
    config = LiveConfig(store=tmp_path / "samples.sqlite")
    return MeterService(config, ROSTER, EPOCH_S, lambda *_: [], lambda: EPOCH_S + 10**6)


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., tuple[int, list[Reject]]]:
    """Puts samples where the service reads them."""
    store = SampleStore(tmp_path / "samples.sqlite")

    def add(*samples: Sample) -> tuple[int, list[Reject]]:
        return store.add(samples, [], 0)

    return add


Keep = Callable[..., tuple[int, list[Reject]]]


def answers(service: MeterService, period: int) -> dict[str | None, Reading | Refusal]:
    found = list(service.read(period))
    assert len({answer.meter for answer in found}) == len(found)
    return {answer.meter: answer for answer in found}


def energies(answer: Reading | Refusal) -> tuple[int, int, str]:
    assert isinstance(answer, Reading), answer
    return answer.import_wh, answer.export_wh, answer.source


def test_reading__of_both_registers__is_there_once_both_edges_are(
    service: MeterService, keep: Keep
) -> None:
    keep(sample("home", Register.IMPORT, 0, 100), sample("home", Register.EXPORT, 0, 0))
    keep(sample("home", Register.IMPORT, 900, 350))
    first = answers(service, 0)["home"]
    keep(sample("home", Register.EXPORT, 900, 20))

    assert isinstance(first, Refusal)
    assert "register 2.8.0" in first.why
    assert energies(answers(service, 0)["home"]) == (250, 20, "samples")


def test_reading__of_a_meter_that_cannot_export__needs_one_register(
    service: MeterService, keep: Keep
) -> None:
    keep(sample("shop", Register.IMPORT, -300, 0), sample("shop", Register.IMPORT, 1500, 600))

    found = answers(service, 0)

    assert energies(found["shop"]) == (300, 0, "samples; gap; interpolated")
    assert isinstance(found["home"], Refusal)


def test_reading__with_a_later_sample_between__is_corrected_and_asking_again_is_not_an_effect(
    service: MeterService, keep: Keep
) -> None:
    keep(*(sample("shop", Register.IMPORT, at, wh) for at, wh in [(-60, 0), (1000, 1060)]))
    before = answers(service, 0)["shop"]
    assert answers(service, 0)["shop"] == before
    added, _ = keep(sample("shop", Register.IMPORT, 900, 1000))

    assert added == 1
    assert energies(before)[0] == 900
    assert energies(answers(service, 0)["shop"])[0] == 938


def test_reading__over_a_gap_too_long__is_left_to_the_profile(
    service: MeterService, keep: Keep
) -> None:
    keep(*(sample("shop", Register.IMPORT, at, wh) for at, wh in [(-1800, 0), (2700, 9000)]))

    found = answers(service, 0)["shop"]

    assert isinstance(found, Refusal)
    assert "gap of 4500 s" in found.why


def test_reading__beyond_the_capacity__is_refused_by_the_roster(
    service: MeterService, keep: Keep
) -> None:
    keep(*(sample("shop", Register.IMPORT, at, wh) for at, wh in [(0, 0), (900, 5_500)]))

    found = answers(service, 0)["shop"]

    assert isinstance(found, Refusal)
    assert "its capacity allows 5000 Wh" in found.why


def test_backfill_intervals__count_where_registers_are_missing(
    service: MeterService, keep: Keep
) -> None:
    since = {"since_ms": 1000 * EPOCH_S}
    keep(sample("shop", Register.IMPORT, 900, 123, fidelity=Fidelity.ESTIMATED, **since))
    filled = answers(service, 0)["shop"]
    keep(*(sample("shop", Register.IMPORT, at, wh) for at, wh in [(0, 500), (900, 700)]))

    assert energies(filled) == (123, 0, "samples; estimated at the source")
    assert energies(answers(service, 0)["shop"]) == (200, 0, "samples")


def gate(*facts: MeterFacts) -> Gate:
    return Gate(ROSTER, facts, lambda: EPOCH_S)


def signed(pagination: str, kwh: str, after_s: int = 0) -> Sample:
    at = datetime.fromtimestamp(EPOCH_S + after_s, UTC)
    text = messages.ocmf(messages.P256, kwh, at, meter="home", pagination=pagination)
    public = messages.public_hex(messages.P256)
    (found,) = ocmf.read(text.encode(), "cp", lambda _: public)
    return found


def judge(door: Gate, *samples: Sample) -> tuple[list[Sample], list[Kind]]:
    believed, rejects = door.judge(Delivery(samples))
    return believed, [reject.kind for reject in rejects]


def test_gate__names_meters_and_refuses_strangers_the_future_and_unsigned_ones() -> None:
    door = gate(
        MeterFacts("shop", ids=("SN7",)), MeterFacts("home", key=messages.public_hex(messages.P256))
    )
    stranger = sample("nobody", Register.IMPORT, 0, 1)
    early = sample("shop", Register.IMPORT, 121, 1)
    unsigned = sample("home", Register.IMPORT, 0, 1)

    assert judge(door, sample("SN7", Register.IMPORT, 119, 1))[0][0].meter == "shop"
    assert judge(door, stranger, early, unsigned) == (
        [],
        [Kind.UNREGISTERED, Kind.CLOCK, Kind.UNSIGNED],
    )
    assert judge(door, signed("T1", "5"))[1] == []


def test_gate__with_facts_that_contradict_each_other__says_so() -> None:
    with pytest.raises(ValueError, match="not in the roster"):
        gate(MeterFacts("nobody"))
    with pytest.raises(ValueError, match="names both"):
        gate(MeterFacts("shop", ids=("home",)))


def test_signed_text__said_again_is_known_and_another_of_its_number_is_refused(
    keep: Keep, tmp_path: Path
) -> None:
    first = signed("T1", "5")
    assert first.proof is not None

    assert keep(first) == (1, [])
    # The same text signed anew has other bytes, but is the same text.
    assert keep(signed("T1", "5")) == (0, [])
    added, refused = keep(signed("T1", "6"), signed("T2", "6", 60))

    assert added == 1
    assert [reject.kind for reject in refused] == [Kind.REPLAYED]
    assert SampleStore(tmp_path / "samples.sqlite").proof("home", "T1") == first.proof.text


def test_store__of_another_version__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE other (x)")
    with pytest.raises(SourceError, match="format 0"):
        SampleStore(path)


def test_intake__while_the_disk_takes_nothing__acknowledges_nothing_and_goes_on_later(
    tmp_path: Path,
) -> None:
    path = tmp_path / "samples.sqlite"
    busy = SampleStore(path)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    busy._db.execute("PRAGMA busy_timeout = 10")
    acknowledged = threading.Event()
    intake = Intake(busy, gate(), lambda: EPOCH_S)
    intake.start()
    try:
        intake.put(Delivery((sample("shop", Register.IMPORT, 0, 1),), done=acknowledged.set))
        assert not acknowledged.wait(0.5)
        lock.execute("ROLLBACK")
        assert acknowledged.wait(WAIT_S)
    finally:
        intake.stop()

    assert SampleStore(path).count() == 1


def test_refusals__of_ever_new_strangers__are_counted_in_one_place(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples.sqlite")
    intake = Intake(SampleStore(tmp_path / "samples.sqlite"), gate(), lambda: EPOCH_S)
    intake.start()
    for number in range(300):
        intake.put(Delivery((sample(f"stranger \ud800{number}", Register.IMPORT, 0, 1),)))
    intake.stop()

    (tally,) = store.tallies()
    assert (tally.kind, tally.count, tally.meter) == (Kind.UNREGISTERED, 300, "")


CONFIG = """
rpc_url = "http://127.0.0.1:1"
deployment = "deployment.json"
seat = 0
journal = "seat.sqlite"
[key]
env = "SEAT_KEY"
[meters]
roster = "meters.csv"
[meters.live]
store = "samples.sqlite"
"""


def run(config: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--config", str(config)])
    return result.exit_code, result.output


def test_backfill_command__twice__adds_once_and_status_shows_what_was_refused(
    tmp_path: Path,
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(CONFIG)
    (tmp_path / "meters.csv").write_text(
        "meter,element,bus,role,import_capacity_w,export_capacity_w\nNMI1,x,0,consumer,9999,0\n"
    )
    good, bad = tmp_path / "good.csv", tmp_path / "bad.xml"
    good.write_bytes(messages.nem12("20260105", {"E1": ["0.1"] * 47 + ["x"]}))
    bad.write_text("<feed>")

    first, again = (run(config, "backfill", str(good)) for _ in range(2))

    assert first[0] == 0
    assert "47 new, 0 known, 1 refused" in first[1]
    assert "0 new, 47 known, 1 refused" in again[1]
    assert "47 samples of 1 meters" in run(config, "meters", "status")[1]
    assert "malformed" in run(config, "meters", "status")[1]
    status, told = run(config, "backfill", str(bad))
    assert status == 1
    assert "error:" in told
