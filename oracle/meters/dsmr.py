"""Telegrams of the P1 port that Dutch, Belgian, Luxembourg, Swedish and Hungarian meters have."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import serial
from dsmr_parser.exceptions import InvalidChecksumError
from dsmr_parser.parsers import CosemParser, TelegramParser, ValueParser
from dsmr_parser.value_types import timestamp

from oracle import log
from oracle.meters.sample import (
    MAX_PAYLOAD_BYTES,
    Delivery,
    Kind,
    ParseError,
    Register,
    Sample,
    Sink,
    bounded,
    energy_wh,
    whole_ms,
)
from oracle.meters.settings import DsmrConfig

LONGEST_BACKOFF_S = 30.0

# Either one total or two tariffs stand in a telegram.
_TOTALS = {
    Register.IMPORT: (("1.8.0",), ("1.8.1", "1.8.2")),
    Register.EXPORT: (("2.8.0",), ("2.8.1", "2.8.2")),
}
_CODES = [code for ways in _TOTALS.values() for codes in ways for code in codes]
_OBJECTS = [
    {
        "obis_reference": rf"^\d-\d:{re.escape(code)}\b.+?\r\n",
        "value_parser": CosemParser(ValueParser(Decimal)),
        "value_name": code,
    }
    for code in _CODES
] + [
    {
        "obis_reference": r"^\d-\d:1\.0\.0\b.+?\r\n",
        "value_parser": CosemParser(ValueParser(timestamp)),
        "value_name": "AT",
    }
]
_CHECKED = TelegramParser({"checksum_support": True, "objects": _OBJECTS})
_UNCHECKED = TelegramParser({"checksum_support": False, "objects": _OBJECTS})
_END = re.compile(rb"![0-9A-F]{0,4}\x00?\r\n")


def read(
    raw: bytes, meter: str, source: str, arrived_ms: int, *, unchecked: bool = False
) -> list[Sample]:
    """Return the samples of a telegram.

    Args:
        raw: From `/` to the line of the checksum.
        meter: The meter at this port.
        source: Name of the source.
        arrived_ms: When it arrived, for telegrams before version 4, which have no time.
        unchecked: Whether a telegram without checksum is believed.

    Raises:
        ParseError: If checksum or content are wrong; nothing else is raised on any input.
    """
    try:
        text = bounded(raw).decode("latin-1")
        bare = re.search(r"![0-9A-F]+", text) is None
        telegram = (_UNCHECKED if unchecked and bare else _CHECKED).parse(text, throw_ex=True)
    except ParseError:
        raise
    except InvalidChecksumError:
        raise ParseError("the checksum of the telegram is wrong; check the cable") from None
    except Exception as exc:  # the library lets through what its types raise on odd lines
        said = " ".join(str(exc).split())[:100]
        raise ParseError(f"the telegram cannot be parsed ({said!r})") from None
    stamped = getattr(telegram, "AT", None)
    at = getattr(stamped, "value", None)
    at_ms = whole_ms(at) if isinstance(at, datetime) else arrived_ms
    digest = hashlib.sha256(raw).digest()
    samples = []
    for register, ways in _TOTALS.items():
        for codes in ways:
            objects: list[Any] = [getattr(telegram, code, None) for code in codes]
            if any(found is None for found in objects):
                continue
            total_wh = 0
            for found in objects:
                if getattr(found, "unit", None) not in ("kWh", "Wh"):
                    raise ParseError(f"{codes[0]} has the unit {str(found)[:20]!r}, not kWh")
                total_wh += energy_wh(found.value, found.unit)
            samples.append(Sample(meter, register, total_wh, at_ms, source, digest))
            break
    if not samples:
        raise ParseError("the telegram has no total of energy (1.8.x or 2.8.x)")
    return samples


class Framer:
    """Cuts a stream into telegrams; holds no more than one message may be long."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._held = b""

    def feed(self, data: bytes) -> Iterator[bytes | ParseError]:
        """Yield the telegrams that are complete with further bytes, and what was thrown away."""
        self._held += data
        while end := _END.search(self._held):
            telegram, self._held = self._held[: end.end()], self._held[end.end() :]
            start = telegram.rfind(b"/")
            if start >= 0:
                yield telegram[start:]
        if len(self._held) > MAX_PAYLOAD_BYTES:
            yield ParseError(
                f"{len(self._held)} bytes without an end of a telegram; check the baud rate",
                Kind.OVERSIZED,
            )
            self._held = b""


class _Line(Protocol):
    def read(self) -> bytes: ...

    def close(self) -> None: ...


class _Serial:
    def __init__(self, config: DsmrConfig) -> None:
        old = config.baudrate < 115_200
        self._port = serial.Serial(
            str(config.device),
            config.baudrate,
            bytesize=serial.SEVENBITS if old else serial.EIGHTBITS,
            parity=serial.PARITY_EVEN if old else serial.PARITY_NONE,
            timeout=_LOOP_S,
        )

    def read(self) -> bytes:
        return bytes(self._port.read(max(1, min(4_096, self._port.in_waiting))))

    def close(self) -> None:
        self._port.close()


class _Tcp:
    def __init__(self, config: DsmrConfig) -> None:
        self._socket = socket.create_connection((config.host, config.port), config.timeout_s)
        self._socket.settimeout(_LOOP_S)

    def read(self) -> bytes:
        try:
            data = self._socket.recv(4_096)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionError("the other side hung up")
        return data

    def close(self) -> None:
        self._socket.close()


_LOOP_S = 0.5


class DsmrSource:
    """A P1 port."""

    def __init__(self, config: DsmrConfig) -> None:
        """Prepare; nothing is opened yet."""
        self.name = config.name
        self._config = config

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Deliver until stopped."""
        backoff_s = 1.0
        while not stop.is_set():
            try:
                with self._open() as line:
                    for delivery in self._deliveries(line, stop):
                        sink.put(delivery)
                        backoff_s = 1.0
            except OSError as exc:  # what pyserial raises is one, too
                log.warning("port fails", source=self.name, problem=exc, retry_in_s=backoff_s)
                stop.wait(backoff_s)
                backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

    def _open(self) -> AbstractContextManager[_Line]:
        return closing(_Tcp(self._config) if self._config.host else _Serial(self._config))

    def _deliveries(self, line: _Line, stop: threading.Event) -> Iterator[Delivery]:
        config, framer = self._config, Framer()
        heard_s = time.monotonic()
        while not stop.is_set():
            data = line.read()
            if data:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > config.timeout_s:
                raise TimeoutError(f"nothing was heard for {config.timeout_s:.0f} s")
            now_ms = time.time_ns() // 1_000_000
            for found in framer.feed(data):
                try:
                    if isinstance(found, ParseError):
                        raise found
                    samples = read(
                        found, config.meter, self.name, now_ms, unchecked=config.unchecked
                    )
                    yield Delivery(tuple(samples))
                except ParseError as exc:
                    exc.meter = config.meter
                    yield Delivery(rejects=(exc.reject(self.name),))
