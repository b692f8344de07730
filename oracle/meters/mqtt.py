"""Readings from an MQTT broker: at least once, and acknowledged only when they are durable.

The broker keeps the session while the node is away and sends again what was not acknowledged; the
store keeps once what comes twice.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from oracle import log
from oracle.meters.messages import COLLECTOR, KeyOf, read_message, subscription
from oracle.meters.sample import Delivery, ParseError, Sink
from oracle.meters.settings import MqttConfig, TopicConfig
from oracle.meters.source import SourceError

RECEIVE_MAXIMUM = 2_000
"""Messages that a broker of MQTT 5 sends ahead of our acknowledgements."""

SESSION_S = 7 * 86_400
"""How long a broker of MQTT 5 keeps the session of a node that is away."""

MOST_BYTES = 2**20
"""Longest packet that a broker of MQTT 5 may send; shorter ones are refused here, and counted."""

LONGEST_BACKOFF_S = 30.0

_LOOP_S = 0.5

_MOST_AT_ONCE = 100
"""Messages read before what is durable meanwhile is acknowledged."""


class MqttSource:
    """A session at a broker."""

    def __init__(self, config: MqttConfig, key_of: KeyOf) -> None:
        """Prepare the session; nothing is connected yet.

        Args:
            config: The broker and its topics.
            key_of: Registered keys of meters that sign.

        Raises:
            SourceError: If a certificate, key or password cannot be read.
        """
        self.name = config.name
        self._config, self._key_of = config, key_of
        preset: Sequence[TopicConfig] = COLLECTOR if config.preset else ()
        self._topics = (*preset, *config.topics)
        # A message of an earlier connection must not be acknowledged on a later one, where its
        # number may be another message's.
        self._connection = 0
        self._received = 0
        # One thread alone talks to the broker: two would take the interpreter from each other at
        # every system call.
        self._durable: deque[tuple[int, int, int]] = deque()
        self._woken = False
        self._wakes, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._sink: Sink | None = None
        self.subscribed = threading.Event()
        self._client = self._new_client()

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Deliver until stopped."""
        self._sink = sink
        backoff_s = 1.0
        while not stop.is_set():
            try:
                self._connect()
                while self._turn() and not stop.is_set():
                    if self.subscribed.is_set():
                        backoff_s = 1.0
                problem = "the connection ended"
            except OSError as exc:
                problem = str(exc)
            self.subscribed.clear()
            if not stop.is_set():
                log.warning("broker fails", source=self.name, problem=problem, retry_in_s=backoff_s)
                stop.wait(backoff_s)
                backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
        self._client.disconnect()

    def _turn(self) -> bool:
        """Wait for the broker or the disk, and do what is due; returns whether that went well."""
        client, line = self._client, self._client.socket()
        if line is None:
            return False
        # What TLS has deciphered already makes no socket readable.
        held = isinstance(line, ssl.SSLSocket) and line.pending() > 0
        writing = [line] if client.want_write() else []
        readable, _, _ = select.select([line, self._wakes], writing, [], 0 if held else _LOOP_S)
        if (held or line in readable) and not self._receive():
            return False
        if self._wakes in readable:
            self._acknowledge()
        if client.want_write() and client.loop_write() != 0:
            return False
        return client.loop_misc() == 0

    def _receive(self) -> bool:
        for _ in range(_MOST_AT_ONCE):
            before = self._received
            if self._client.loop_read() != 0:
                return False
            if self._received == before:
                break
        return True

    def _acknowledge(self) -> None:
        self._wakes.recv(4_096)
        self._woken = False
        while self._durable:
            connection, mid, qos = self._durable.popleft()
            if connection == self._connection:
                self._client.ack(mid, qos)

    def _new_client(self) -> Client:
        config = self._config
        fifth = config.version == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=config.client_id,
            protocol=MQTTv5 if fifth else MQTTv311,
            clean_session=None if fifth else False,
            manual_ack=True,
        )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        if config.username is not None:
            client.username_pw_set(config.username, config.password())
        if config.tls is not None:
            tls = config.tls
            try:
                context = ssl.create_default_context(cafile=tls.ca_file)
                if tls.cert_file is not None:
                    context.load_cert_chain(tls.cert_file, tls.key_file)
            except OSError as exc:
                fix = "Correct the files under tls"
                raise SourceError(self.name, f"certificates cannot be used ({exc})", fix) from exc
            client.tls_set_context(context)
        return client

    def _connect(self) -> None:
        config = self._config
        self._connection += 1
        if config.version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_S
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.MaximumPacketSize = MOST_BYTES
            self._client.connect(
                config.host,
                config.port,
                config.keepalive_s,
                clean_start=False,
                properties=properties,
            )
        else:
            self._client.connect(config.host, config.port, config.keepalive_s)

    def _on_connect(
        self,
        client: Client,
        _data: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            log.error("broker refuses", source=self.name, problem=reason)
            return
        log.info("broker connected", source=self.name, resumed=flags.session_present)
        client.subscribe([(subscription(topic), 1) for topic in self._topics])

    def _on_subscribe(
        self,
        _client: Client,
        _data: object,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        for topic, reason in zip(self._topics, reasons, strict=False):
            if reason.is_failure:
                log.error("broker refuses", source=self.name, topic=topic.filter, problem=reason)
        self.subscribed.set()

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            log.debug("broker gone", source=self.name, problem=reason)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        assert self._sink is not None
        self._received += 1
        known = (self._connection, message.mid, message.qos)

        def done() -> None:
            self._durable.append(known)
            if not self._woken:
                self._woken = True
                self._waker.send(b"d")

        arrived_ms = None if message.retain or message.dup else time.time_ns() // 1_000_000
        self._sink.put(self._delivery(message, arrived_ms, done))

    def _delivery(
        self, message: MQTTMessage, arrived_ms: int | None, done: Callable[[], None]
    ) -> Delivery:
        try:
            name = message.topic
        except UnicodeDecodeError:
            reject = ParseError("a topic is not UTF-8").reject(self.name)
            return Delivery(rejects=(reject,), done=done)
        try:
            samples = read_message(
                self._topics, name, bytes(message.payload), self.name, arrived_ms, self._key_of
            )
        except ParseError as exc:
            reject = ParseError(f"{name[:100]}: {exc}", exc.kind, exc.meter).reject(self.name)
            return Delivery(rejects=(reject,), done=done)
        return Delivery(tuple(samples), done=done)
