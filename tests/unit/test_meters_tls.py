"""A broker behind TLS: whom the node talks to, whom it refuses; nothing is lost meanwhile."""

from __future__ import annotations

import ipaddress
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from oracle.meters.mqtt import MqttSource
from oracle.meters.settings import MqttConfig
from oracle.meters.source import SourceError
from tests.brokers import WAIT_S, Mosquitto, free_port, mosquitto, publish, publisher
from tests.unit.test_meters_mqtt import TOPICS, Station, message, station

HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("elsewhere.example")


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @property
    def certificate(self) -> Path:
        """What those hold who trust it."""
        return self.folder / "ca.pem"

    def sign(self, name: x509.GeneralName, days: int = 30) -> None:
        """Write key and certificate of a broker, valid from a year ago for a year and some days."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=365))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        )
        made = builder.sign(self.key, hashes.SHA256())
        (self.folder / "broker.pem").write_bytes(made.public_bytes(Encoding.PEM))
        (self.folder / "broker.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )


def authority(folder: Path) -> Authority:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=366))
        .not_valid_after(now + timedelta(days=366))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(Encoding.PEM))
    return Authority(folder, key, name)


def tls_lines(port: int, folder: Path) -> tuple[str, ...]:
    """Return the second listener of a broker; the meters of these tests use the first one."""
    return (
        f"listener {port} 127.0.0.1",
        f"certfile {folder}/broker.pem",
        f"keyfile {folder}/broker.key",
    )


def node(folder: Path, port: int, trusted: Path) -> Station:
    password = folder / "password"
    password.write_text("node\n")
    secrets = {"username": "node", "password_file": password}
    return station(folder, port, tls={"ca_file": trusted}, **secrets)


def restart(broker: Mosquitto) -> None:
    broker.stop()
    broker.start()


def await_text(caplog: pytest.LogCaptureFixture, words: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while words not in _said(caplog):
        assert time.monotonic() < deadline, _said(caplog)
        time.sleep(0.02)


def _said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{r.message} {getattr(r, 'fields', '')}" for r in caplog.records)


def test_tls__certificate_runs_out_between_two_sessions__nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours, port = authority(tmp_path / "ours"), free_port()
    ours.sign(HERE)
    users = {name: name for name in ("m1", "node")}
    lines = tls_lines(port, ours.folder)
    with mosquitto(tmp_path / "broker", *lines, users=users) as broker:
        here = node(tmp_path, port, ours.certificate)
        with here.running() as source:
            assert source.subscribed.wait(WAIT_S)
            with publisher(broker.port, user="m1") as meter:
                publish(meter, "meters/m1/energy", message(time.time() - 60))
            here.wait_for(samples=2)

            ours.sign(HERE, days=-1)
            restart(broker)
            await_text(caplog, "certificate has expired")
            with publisher(broker.port, user="m1") as meter:
                publish(meter, "meters/m1/energy", message(time.time(), import_kwh=1.6))
            assert here.store().count() == 2

            ours.sign(HERE)
            restart(broker)
            here.wait_for(samples=4)
    assert "broker fails" in _said(caplog)


@pytest.mark.parametrize(
    ("name", "trusts_another", "why"),
    [(ELSEWHERE, False, "IP address mismatch"), (HERE, True, "unable to get local issuer")],
    ids=["another host", "another authority"],
)
def test_tls__broker_that_is_not_the_one__hears_no_password(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: x509.GeneralName,
    trusts_another: bool,
    why: str,
) -> None:
    ours, others, port = authority(tmp_path / "ours"), authority(tmp_path / "others"), free_port()
    ours.sign(name)
    lines = tls_lines(port, ours.folder)
    with mosquitto(tmp_path / "broker", *lines, users={"node": "node"}) as broker:
        trusted = others if trusts_another else ours
        with node(tmp_path, port, trusted.certificate).running() as source:
            await_text(caplog, why)
            await_text(caplog, "'retry_in_s': 2.0")
            assert not source.subscribed.is_set()
        assert "as node" not in (broker.folder / "log").read_text()
    assert "broker fails" in _said(caplog)


def test_tls__broker_without_it__is_not_talked_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = authority(tmp_path / "ours")
    with (
        mosquitto(tmp_path / "broker", users={"node": "node"}) as broker,
        node(tmp_path, broker.port, ours.certificate).running() as source,
    ):
        await_text(caplog, "broker fails")
        assert not source.subscribed.is_set()


def test_tls__files_that_are_no_certificates__are_named(tmp_path: Path) -> None:
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("no certificate")
    config = MqttConfig.model_validate(
        {"kind": "mqtt", "client_id": "node", "topics": TOPICS, "tls": {"ca_file": nonsense}}
    )
    with pytest.raises(SourceError, match="certificates cannot be used") as refused:
        MqttSource(config, lambda _: None)
    assert isinstance(refused.value.__cause__, ssl.SSLError)
