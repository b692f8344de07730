"""The village's meters: cumulative registers told over MQTT, or energies in a file."""

from __future__ import annotations

import hashlib
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from market.schedule import Schedule
from oracle.meters.sample import Register
from oracle.meters.store import SampleStore
from scripts.demo.errors import DemoError
from scripts.demo.village import AT_REST, Node, Readings, write_profiles

if TYPE_CHECKING:
    from paho.mqtt.client import Client

HOST = "127.0.0.1"

MOST_COUNTED_WH = 50_000_000
"""What a register has counted at most when the market opens: 50 MWh, years of a household."""

_FILE = 'profile = "profiles.csv"\n'

_LIVE = """
[meters.live]
store = "{store}"

[[meters.live.sources]]
kind = "mqtt"
version = "3.1.1"
host = "{host}"
port = {port}
client_id = "subgrid-seat-{seat}"

[[meters.live.sources.topics]]
filter = "meters/{{meter}}/registers"
time = "at"
device = "serial"
quantities = [
  {{ direction = "import", value = "import_wh", unit = "Wh" }},
  {{ direction = "export", value = "export_wh", unit = "Wh" }},
]
"""


Way = Literal["mqtt", "file"]
"""How the oracle processes come to know what the meters measure."""


def need(way: Way) -> None:
    """Make sure that the packages for a way are installed.

    Raises:
        DemoError: If they are not.
    """
    if way == "file":
        return
    try:
        import amqtt.broker  # noqa: F401
        import paho.mqtt.client  # noqa: F401
    except ImportError as exc:
        raise DemoError(
            f"meters that speak MQTT need packages that are not there ({exc.name}); install them "
            "with `make setup-demo` or `pip install 'subgrid[meters]'`, or have the meters read "
            "from a file with --meters file"
        ) from exc


class Meters(ABC):
    """What the oracle processes read; to be used in a `with` statement around the committee."""

    def __enter__(self) -> Self:
        """Be there for the oracle processes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Fall silent."""
        return

    @abstractmethod
    def config(self, seat: int) -> str:
        """Return what a seat's configuration says of its source, below its roster."""

    @abstractmethod
    def tell(self, period: int) -> None:
        """Tell what the meters show at the instant a period begins, once for each in turn."""

    @abstractmethod
    def heard(self) -> bool:
        """Return whether every oracle process has what was told."""

    @abstractmethod
    def in_words(self) -> str:
        """Say how the readings came, and how many."""


class FileMeters(Meters):
    """A file of all energies, written beforehand."""

    def __init__(
        self, nodes: Sequence[Node], readings: Readings, periods: Iterable[int], folder: Path
    ) -> None:
        """Write the file into the committee's folder."""
        self._rows = write_profiles(nodes, readings, periods, folder / "profiles.csv")

    def config(self, seat: int) -> str:  # noqa: ARG002
        """Return what a seat's configuration says of its source, below its roster."""
        return _FILE

    def tell(self, period: int) -> None:
        """Say nothing: the file is there."""

    def heard(self) -> bool:
        """Return whether every oracle process has what was told."""
        return True

    def in_words(self) -> str:
        """Say how the readings came, and how many."""
        return f"Each oracle process read the meters from a file of {self._rows:,} rows."


@dataclass(slots=True)
class _Device:
    """A meter as it hangs on the wall.

    Attributes:
        node: The node it measures.
        number: Which device in its place.
        shows_wh: States of its registers of import and export.
        silent: Whether it has stopped.
    """

    node: Node
    number: int
    shows_wh: tuple[int, int]
    silent: bool = False

    @classmethod
    def put_up(cls, node: Node, number: int) -> Self:
        """Put up a device whose registers stand anywhere, but always at the same."""
        counted = (_counted_wh(node.name, number, register) for register in Register)
        return cls(node, number, (next(counted), next(counted)))

    def message(self, at_s: int) -> str:
        """Return what it sends."""
        import_wh, export_wh = self.shows_wh
        serial = f"{self.node.name}.{self.number}"
        return json.dumps(
            {"at": at_s, "serial": serial, "import_wh": import_wh, "export_wh": export_wh}
        )


class MqttMeters(Meters):
    """Meters that publish their registers at the close of every period, and the broker.

    A meter that falls silent has stopped for good. Another device takes its place, and what was
    not measured meanwhile stays unknown.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        readings: Readings,
        schedule: Schedule,
        folder: Path,
        seats: int,
    ) -> None:
        """Put up the meters.

        Args:
            nodes: What they measure.
            readings: What they will measure; a meter that is not mentioned in a period rests.
            schedule: When periods begin.
            folder: Where configurations of the committee lie.
            seats: Number of seats.
        """
        self._devices = {node.name: _Device.put_up(node, 1) for node in nodes}
        self._readings = readings
        self._schedule = schedule
        self._stores = [folder / _store(seat) for seat in range(seats)]
        self._port = _free_port()
        self._messages = 0
        self._told = -1
        self._journals: list[SampleStore] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Start the broker, and connect the meters to it."""
        from oracle.meters.broker import EmbeddedBroker

        with ExitStack() as stack:
            stack.enter_context(EmbeddedBroker(HOST, self._port))
            self._client = _connected(self._port)
            stack.callback(_hang_up, self._client)
            for path in self._stores:
                self._journals.append(SampleStore(path))
                stack.callback(self._journals[-1].close)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up, and end the broker."""
        self._open.close()

    def config(self, seat: int) -> str:
        """Return what a seat's configuration says of its source, below its roster."""
        return _LIVE.format(store=_store(seat), host=HOST, port=self._port, seat=seat)

    def tell(self, period: int) -> None:
        """Publish what the meters show at the instant a period begins, once for each in turn."""
        if period <= self._told:
            return
        self._told = period
        for name, device in self._devices.items():
            if period == 0:
                self._publish(device, period)
                continue
            measured = self._readings.get((name, period - 1), AT_REST)
            if measured is None:
                device.silent = True
                continue
            if device.silent:
                device = _Device.put_up(device.node, device.number + 1)
                self._devices[name] = device
                self._publish(device, period - 1)
            import_wh, export_wh = device.shows_wh
            device.shows_wh = (import_wh + measured[0], export_wh + measured[1])
            self._publish(device, period)

    def heard(self) -> bool:
        """Return whether every oracle process has made durable what was told."""
        samples = self._messages * len(Register)
        return all(journal.last() >= samples for journal in self._journals)

    def in_words(self) -> str:
        """Say how the readings came, and how many."""
        samples = min(journal.count() for journal in self._journals)
        return (
            f"The meters spoke MQTT, QoS 1, to a broker inside the demo: {samples:,} register "
            f"readings reached each oracle process, which made energies of them."
        )

    def _publish(self, device: _Device, period: int) -> None:
        # The first one is kept by the broker, for a process that subscribes later.
        topic, at_s = f"meters/{device.node.name}/registers", self._schedule.start(period)
        self._client.publish(topic, device.message(at_s), qos=1, retain=period == 0)
        self._messages += 1


def _store(seat: int) -> str:
    return f"seat-{seat}-samples.sqlite"


def _counted_wh(meter: str, number: int, register: Register) -> int:
    """Return what a register has counted before the market opens."""
    digest = hashlib.sha256(f"{meter} {number} {register.obis}".encode()).digest()
    return int.from_bytes(digest[:8]) % MOST_COUNTED_WH


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _connected(port: int) -> Client:
    """Return a client for all meters, in a thread of its own."""
    from paho.mqtt.client import Client, MQTTv311
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2, client_id="meters", protocol=MQTTv311)
    # A village speaks at once.
    client.max_inflight_messages_set(1_000)
    client.connect(HOST, port)
    client.loop_start()
    return client


def _hang_up(client: Client) -> None:
    client.disconnect()
    client.loop_stop()
