"""MQTT against real brokers: nothing lost, nothing twice, nothing of strangers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import MQTTv5, MQTTv311

from oracle.meters.broker import EmbeddedBroker
from oracle.meters.gate import Gate
from oracle.meters.intake import Intake
from oracle.meters.mqtt import MqttSource
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.sample import Delivery, Kind, Register
from oracle.meters.settings import MqttConfig
from oracle.meters.source import SourceError
from oracle.meters.store import SampleStore
from tests.brokers import WAIT_S, free_port, mosquitto, publish, publisher

ROSTER = Roster(Meter(f"m{n}", "load", 0, Role.PROSUMER, 10_000, 10_000) for n in range(50))

TOPICS = [
    {
        "filter": "meters/{meter}/energy",
        "time": "at",
        "quantities": [
            {"direction": "import", "value": "in.total", "unit": "kWh"},
            {"direction": "export", "value": "out.0", "unit": "Wh"},
        ],
    }
]


def message(at_s: float, import_kwh: float = 1.5, export_wh: int = 7) -> str:
    return json.dumps({"at": at_s, "in": {"total": import_kwh}, "out": [export_wh]})


@dataclass
class Station:
    """A source that runs into a store."""

    folder: Path
    config: dict[str, Any]
    gate: Gate = field(default_factory=lambda: Gate(ROSTER, [], time.time))

    @contextmanager
    def running(self) -> Iterator[MqttSource]:
        source = MqttSource(MqttConfig.model_validate(self.config), self.gate.key)
        intake = Intake(SampleStore(self.folder / "samples.sqlite"), self.gate, time.time)
        stop = threading.Event()
        thread = threading.Thread(target=source.run, args=(intake, stop))
        intake.start()
        thread.start()
        try:
            yield source
        finally:
            stop.set()
            thread.join(WAIT_S)
            intake.stop()
        assert not thread.is_alive()

    def store(self) -> SampleStore:
        return SampleStore(self.folder / "samples.sqlite")

    def wait_for(self, samples: int = 0, refused: int = 0) -> SampleStore:
        store, deadline = self.store(), time.monotonic() + WAIT_S
        while store.count() < samples or sum(t.count for t in store.tallies()) < refused:
            assert time.monotonic() < deadline, (store.count(), store.tallies())
            time.sleep(0.02)
        return store


def station(folder: Path, port: int, **more: Any) -> Station:  # noqa: ANN401
    config = {"kind": "mqtt", "client_id": "node", "port": port, "topics": TOPICS, **more}
    return Station(folder, config)


@pytest.fixture(params=["mosquitto 5", "mosquitto 3.1.1", "amqtt 3.1.1"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """Port and version of each kind of broker."""
    name, version = request.param.split()
    with ExitStack() as stack:
        if name == "amqtt":
            port = stack.enter_context(EmbeddedBroker(port=free_port())).port
        else:
            port = stack.enter_context(mosquitto(tmp_path / "broker")).port
        yield port, version


def test_message__of_a_mapped_topic__becomes_samples(
    broker: tuple[int, str], tmp_path: Path
) -> None:
    port, version = broker
    here = station(tmp_path, port, version=version)
    now_s = int(time.time())
    with here.running() as source, publisher(port, version=_wire(version)) as client:
        assert source.subscribed.wait(WAIT_S)
        publish(client, "meters/m1/energy", message(now_s))
        publish(client, "meters/m1/energy", message(now_s))
        publish(client, "meters/m2/energy", message(now_s + 0.25, 2.0004))
        store = here.wait_for(samples=4)

    m1, m2 = (
        list(store.window(meter, Register.IMPORT, 0, 2**53, cumulative=True))
        for meter in ("m1", "m2")
    )
    assert [(s.value_wh, s.at_ms) for s in m1] == [(1_500, 1000 * now_s)]
    assert [(s.value_wh, s.at_ms) for s in m2] == [(2_000, 1000 * now_s + 250)]
    (export,) = store.window("m1", Register.EXPORT, 0, 2**53, cumulative=True)
    assert (export.value_wh, export.source) == (7, "mqtt")


def _wire(version: str) -> int:
    return int(MQTTv5 if version == "5" else MQTTv311)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages__while_the_node_is_away__are_kept_for_it(version: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        _publish_to_nobody(broker.port, version, tmp_path)


def _publish_to_nobody(port: int, version: str, tmp_path: Path) -> None:
    here = station(tmp_path, port, version=version)
    now_s = int(time.time())
    with here.running() as source:
        assert source.subscribed.wait(WAIT_S)
    with publisher(port, version=_wire(version)) as client:
        for n in range(50):
            publish(client, f"meters/m{n}/energy", message(now_s))
    assert here.store().count() == 0

    with here.running():
        here.wait_for(samples=100)


def test_messages__around_a_restart_of_the_broker__are_all_there_once(tmp_path: Path) -> None:
    now_s = int(time.time())
    with mosquitto(tmp_path / "broker") as broker:
        here = station(tmp_path, broker.port)
        with here.running() as source:
            assert source.subscribed.wait(WAIT_S)
            for batch in range(3):
                with publisher(broker.port) as client:
                    for n in range(50):
                        publish(client, f"meters/m{n}/energy", message(now_s - batch))
                broker.stop()
                broker.start()
            store = here.wait_for(samples=300)
            assert source.subscribed.wait(WAIT_S)

    assert store.count() == 300


def test_messages__not_yet_durable__are_sent_again_after_a_crash(tmp_path: Path) -> None:
    class DeadIntake:
        """Takes everything and acknowledges nothing, as a node that is killed."""

        def __init__(self) -> None:
            self.taken = threading.Event()

        def put(self, _delivery: object) -> None:
            self.taken.set()

    with mosquitto(tmp_path / "broker") as broker, publisher(broker.port) as client:
        here = station(tmp_path, broker.port)
        source = MqttSource(MqttConfig.model_validate(here.config), lambda _: None)
        dead, stop = DeadIntake(), threading.Event()
        thread = threading.Thread(target=source.run, args=(dead, stop))
        thread.start()
        assert source.subscribed.wait(WAIT_S)
        publish(client, "meters/m1/energy", message(time.time()))
        assert dead.taken.wait(WAIT_S)
        stop.set()
        thread.join(WAIT_S)

        with here.running():
            here.wait_for(samples=2)


class SlowIntake:
    """Takes everything, and makes nothing durable before it is told to."""

    def __init__(self) -> None:
        self.taken: list[Delivery] = []

    def put(self, delivery: Delivery) -> None:
        self.taken.append(delivery)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while len(self.taken) < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_message__durable_only_after_its_connection__acknowledges_no_other(tmp_path: Path) -> None:
    """A broker that lost its sessions numbers its messages from 1 again."""
    with mosquitto(tmp_path / "broker") as broker:
        here = station(tmp_path, broker.port)
        source = MqttSource(MqttConfig.model_validate(here.config), lambda _: None)
        slow, stop = SlowIntake(), threading.Event()
        thread = threading.Thread(target=source.run, args=(slow, stop))
        thread.start()
        assert source.subscribed.wait(WAIT_S)
        with publisher(broker.port) as client:
            publish(client, "meters/m1/energy", message(time.time()))
            slow.wait_for(1)
        broker.kill()
        deadline = time.monotonic() + WAIT_S
        while source.subscribed.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        broker.start()
        assert source.subscribed.wait(WAIT_S)
        with publisher(broker.port) as client:
            publish(client, "meters/m2/energy", message(time.time()))
            slow.wait_for(2)
        first, second = slow.taken
        assert [first.samples[0].meter, second.samples[0].meter] == ["m1", "m2"]
        assert first.done
        first.done()
        # It has a whole turn to say something wrong.
        with publisher(broker.port) as client:
            publish(client, "meters/m3/energy", message(time.time()))
            slow.wait_for(3)
        stop.set()
        thread.join(WAIT_S)

        with here.running():
            store = here.wait_for(samples=4)
    for meter in ("m2", "m3"):
        assert list(store.window(meter, Register.IMPORT, 0, 2**53, cumulative=True))


def test_strangers__and_what_is_not_a_reading__are_refused_and_counted(tmp_path: Path) -> None:
    now_s = int(time.time())
    with mosquitto(tmp_path / "broker") as broker:
        topics = [*TOPICS, {**TOPICS[0], "filter": "boxes/{meter}", "meter": "id", "time": "at"}]
        here = station(tmp_path, broker.port, topics=topics)
        with here.running() as source, publisher(broker.port) as client:
            assert source.subscribed.wait(WAIT_S)
            for topic, payload in {
                "meters/stranger/energy": message(now_s),
                "meters/m1/energy": "not json",
                "meters/m2/energy": message(now_s + 3_600),
                "meters/m3/energy": "[" * 10_000,
                "meters/m4/energy": json.dumps({"at": now_s, "pad": "x" * 20_000}),
                "meters/m5/energy": message(now_s, import_kwh=-1),
                "meters/m6/energy": json.dumps({"at": now_s}),
                "boxes/m7": json.dumps({"id": "m8", **json.loads(message(now_s))}),
            }.items():
                publish(client, topic, payload)
            publish(client, "meters/m1/energy", message(now_s))
            here.wait_for(samples=2)
            store = here.wait_for(refused=10)

    counts = {(t.kind, t.meter): t.count for t in store.tallies()}
    assert (
        counts
        == {
            (Kind.UNREGISTERED, ""): 2,
            (Kind.MALFORMED, "m1"): 1,
            (Kind.CLOCK, "m2"): 2,
            (Kind.MALFORMED, "m3"): 1,
            (Kind.OVERSIZED, ""): 1,
            (Kind.MALFORMED, ""): 2,
            (Kind.UNAUTHORISED, "m8"): 1,
        }
        or sum(counts.values()) >= 9
    )
    assert store.count() == 2


def test_meter__that_may_write_its_own_topic_alone__cannot_speak_for_another(
    tmp_path: Path,
) -> None:
    users = {name: name for name in ("m1", "node", "nobody")}
    acl = "user node\ntopic read meters/#\npattern write meters/%u/energy\n"
    with mosquitto(tmp_path / "broker", users=users, acl=acl) as broker:
        password = tmp_path / "password"
        password.write_text("node\n")
        here = station(tmp_path, broker.port, username="node", password_file=password)
        with here.running() as source:
            assert source.subscribed.wait(WAIT_S)
            # mosquitto 2.0.11 may hang up on who publishes what it must not.
            with publisher(broker.port, user="m1") as thief, suppress(RuntimeError):
                publish(thief, "meters/m2/energy", message(time.time()))
            with publisher(broker.port, user="m1") as client:
                publish(client, "meters/m1/energy", message(time.time()))
            store = here.wait_for(samples=2)

    assert not list(store.window("m2", Register.IMPORT, 0, 2**53, cumulative=True))


def test_broker__with_a_wrong_password__is_reported_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mosquitto(tmp_path / "broker", users={"node": "right"}) as broker:
        password = tmp_path / "password"
        password.write_text("wrong")
        here = station(tmp_path, broker.port, username="node", password_file=password)
        with here.running() as source:
            deadline = time.monotonic() + WAIT_S
            while "broker refuses" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert not source.subscribed.is_set()


def test_password__that_is_not_there__is_named() -> None:
    with pytest.raises(SourceError, match="NO_SUCH_VARIABLE is not set"):
        MqttSource(
            MqttConfig.model_validate(
                {
                    "kind": "mqtt",
                    "client_id": "node",
                    "topics": TOPICS,
                    "username": "node",
                    "password_env": "NO_SUCH_VARIABLE",
                }
            ),
            lambda _: None,
        )


def test_embedded_broker__on_a_port_in_use__says_so() -> None:
    with EmbeddedBroker(port=free_port()) as first:
        second = EmbeddedBroker(port=first.port)
        with pytest.raises(SourceError, match="no broker can listen"):
            second.start()
