"""The village's meters over a broker: what nodes are told of them, and who publishes for them."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Container, Mapping
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from paho.mqtt.client import Client, ConnectFlags, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from market.forecast import DAY_S
from market.schedule import Schedule
from tests.meter_messages import ocmf
from tests.village import Village
from tests.world import default_schedule

TOPIC: Mapping[str, object] = {
    "filter": "meters/{meter}/energy",
    "meter": "meter",
    "time": "at",
    "quantities": [
        {"direction": "import", "value": "in", "unit": "Wh"},
        {"direction": "export", "value": "out", "unit": "Wh"},
    ],
}

SIGNED_TOPIC: Mapping[str, object] = {"filter": "signed/{meter}", "format": "ocmf"}
"""Where meters with a registered key publish; these only count what is taken."""

DAYS_AGO = 4

KEPT_EDGES = 8
"""Edges of periods that a concentrator repeats: two hours, longer than any outage here."""

FIRST_WH = 1_000_000
"""Where registers stand in the beginning."""


def mqtt_source(seat: int, port: int, **more: object) -> dict[str, object]:
    """Return the table of a seat's source: all meters of a broker on this machine."""
    return {
        **{"kind": "mqtt", "client_id": f"seat{seat}", "port": port},
        **{"topics": [TOPIC, SIGNED_TOPIC], **more},
    }


def past_schedule() -> Schedule:
    """Return quarter hours that began some days ago: what meters say is not from the future."""
    return default_schedule((int(time.time()) // DAY_S - DAYS_AGO) * DAY_S)


def message(meter: str, at_s: int, import_wh: int, export_wh: int) -> str:
    """Return what a meter publishes."""
    return json.dumps({"meter": meter, "at": at_s, "in": import_wh, "out": export_wh})


def signed(key: EllipticCurvePrivateKey, meter: str, import_wh: int, at_s: int, number: int) -> str:
    """Return what a meter with a key publishes: a signed text with a running number."""
    kwh, at = f"{import_wh / 1_000:.3f}", datetime.fromtimestamp(at_s, UTC)
    return ocmf(key, kwh, at, meter=meter, pagination=f"T{number}")


class Concentrator:
    """Publishes the states of the village's registers at the edges of periods.

    It keeps the latest, and repeats them whenever it has been away from the broker: a broker may
    acknowledge what it loses a moment later, for it saves its queues only after that.
    """

    def __init__(
        self,
        village: Village,
        port: int,
        *,
        user: str | None = None,
        keys: Mapping[str, EllipticCurvePrivateKey] | None = None,
        without: Container[str] = (),
    ) -> None:
        """Describe it.

        Args:
            village: Whose meters these are.
            port: The broker's.
            user: Its name there, which is its password, too.
            keys: With what some meters sign.
            without: Meters that are heard elsewhere.
        """
        self._keys, self._without = keys or {}, without
        self._village, self._port = village, port
        self._states = dict.fromkeys(village.nodes, (FIRST_WH, FIRST_WH))
        self._kept: deque[list[tuple[str, str]]] = deque(maxlen=KEPT_EDGES)
        self._lock = threading.Lock()
        self._next_edge: int | None = None
        self.told: list[tuple[str, int, int, int]] = []
        """Meter, register, instant in ms and state in Wh of all samples so far."""
        self.connections = 0
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        if user is not None:
            self._client.username_pw_set(user, user)
        self._client.on_connect = self._on_connect

    def __enter__(self) -> Concentrator:
        """Connect, and again whenever the broker was away."""
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._client.disconnect()
        self._client.loop_stop()

    def tell(self, edge: int) -> None:
        """Publish all states where a period starts, one period after the other."""
        if self._next_edge == edge + 1:
            return
        assert self._next_edge in (None, edge)
        village = self._village
        if self._next_edge is not None:
            for node, reading in village.true_readings(edge - 1).items():
                taken_wh, fed_wh = self._states[node]
                self._states[node] = taken_wh + reading.import_wh, fed_wh + reading.export_wh
        self._next_edge = edge + 1
        at_s, messages = village.world.market.schedule.start(edge), []
        for node, meter in enumerate(village.roster, 1):
            if meter in self._without:
                continue
            states = self._states[node]
            if meter in self._keys:
                text = signed(self._keys[meter], meter, states[0], at_s, edge)
                messages.append((f"signed/{meter}", text))
                self.told.append((meter, 1, 1_000 * at_s, states[0]))
                continue
            messages.append((f"meters/{meter}/energy", message(meter, at_s, *states)))
            self.told += [(meter, n, 1_000 * at_s, wh) for n, wh in enumerate(states, 1)]
        with self._lock:
            self._kept.append(messages)
            if self._client.is_connected():
                self._publish(messages)

    def repeat(self) -> None:
        """Publish again what is kept."""
        with self._lock:
            for messages in self._kept:
                self._publish(messages)

    def _publish(self, messages: list[tuple[str, str]]) -> None:
        for topic, text in messages:
            self._client.publish(topic, text, qos=1)

    def _on_connect(
        self,
        _client: Client,
        _data: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        assert not reason.is_failure, reason
        self.connections += 1
        self.repeat()
