"""Real brokers for tests: Debian's mosquitto as a process, amqtt inside this one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

WAIT_S = 20.0

SAVES_AT_ONCE = ("autosave_interval 1", "autosave_on_changes true")
"""What has a mosquitto save after every change; it may acknowledge a message before that."""


def free_port() -> int:
    """Return a port that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mosquitto_program() -> str:
    """Return the broker's program; Debian puts it where only root looks."""
    found = os.environ.get("SUBGRID_MOSQUITTO") or shutil.which("mosquitto")
    found = found or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    assert found, "tests need mosquitto: apt-get install mosquitto, or name it in SUBGRID_MOSQUITTO"
    return found


@dataclass
class Mosquitto:
    """A mosquitto that keeps its sessions when it is killed and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def configure(
        self, *lines: str, users: Mapping[str, str] | None = None, acl: str | None = None
    ) -> None:
        """Write its configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.folder}/",
            "max_queued_messages 0",
            *lines,
        ]
        if os.geteuid() == 0:
            config.append("user root")
        if users is None:
            config.append("allow_anonymous true")
        else:
            passwords = self.folder / "passwords"
            passwords.touch(mode=0o600)
            for user, password in users.items():
                self._passwords("-b", user, password)
            config.append(f"password_file {passwords}")
        if acl is not None:
            (self.folder / "acl").write_text(acl)
            (self.folder / "acl").chmod(0o600)
            config.append(f"acl_file {self.folder}/acl")
        (self.folder / "mosquitto.conf").write_text("\n".join(config) + "\n")

    def admit(self, user: str, password: str) -> None:
        """Give a user a password while it runs."""
        self._passwords("-b", user, password)
        self._reload()

    def expel(self, user: str) -> None:
        """Take a user's password away while it runs; who is connected with it is cut off."""
        self._passwords("-D", user)
        self._reload()

    def _passwords(self, how: str, *words: str) -> None:
        command = ["mosquitto_passwd", how, str(self.folder / "passwords"), *words]
        subprocess.run(command, check=True, capture_output=True)

    def _reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start and wait until it listens."""
        log = (self.folder / "log").open("ab")
        config = str(self.folder / "mosquitto.conf")
        self.process = subprocess.Popen([mosquitto_program(), "-c", config], stdout=log, stderr=log)
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                said = (self.folder / "log").read_text()
                assert self.process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a power cut would: what it has not saved is lost."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """Stop it, which makes it write its sessions."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(WAIT_S)
            self.process = None


@contextmanager
def mosquitto(
    folder: Path,
    *lines: str,
    users: Mapping[str, str] | None = None,
    acl: str | None = None,
) -> Iterator[Mosquitto]:
    """Run a broker."""
    broker = Mosquitto(folder, free_port())
    broker.configure(*lines, users=users, acl=acl)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def publisher(port: int, *, version: int = MQTTv5, user: str | None = None) -> Iterator[Client]:
    """Connect a client that publishes; its password is its name."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=version)  # type: ignore[arg-type]
    if user is not None:
        client.username_pw_set(user, user)
    client.connect("127.0.0.1", port)
    client.loop_start()
    deadline = time.monotonic() + WAIT_S
    while not client.is_connected():
        assert time.monotonic() < deadline, "the broker refuses the publisher"
        time.sleep(0.01)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def publish(client: Client, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
    """Publish with QoS 1 and wait for the acknowledgement."""
    client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_S)
