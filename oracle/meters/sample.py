"""What every live source produces: one typed value of one register at one instant.

A meter sends cumulative registers, a file of back-fill the energy of intervals. Both are samples
here; `oracle.meters.registers` makes energies per period of them. Whatever arrives is hostile until
a parser has bounded it: payloads, texts and numbers beyond the limits below are refused unread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from enum import IntEnum, StrEnum
from typing import Protocol

MAX_PAYLOAD_BYTES = 16_384
"""Largest message or telegram that is parsed."""

MAX_VALUE_WH = 10**15 - 1
"""Largest register, 10^9 MWh: every sum of two fits the journal's 64 bits."""

MAX_AT_MS = 253_402_300_799_999
"""Last instant of the year 9999, ms since 1970."""

MAX_ID_CHARS = 64
"""Longest id of a meter or a device."""

_NUMBERS = Context(prec=40, traps=[InvalidOperation])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS_PER = {"s": Decimal(1000), "ms": Decimal(1)}
_WH_PER = {"Wh": Decimal(1), "kWh": Decimal(1000), "MWh": Decimal(1_000_000)}

UNITS = tuple(_WH_PER)
"""Units of energy that a source may send."""


class Register(IntEnum):
    """A register of active energy, numbered as the C group of its OBIS code."""

    IMPORT = 1
    EXPORT = 2

    @property
    def obis(self) -> str:
        """The reduced OBIS code: 1.8.0 is taken from the grid, 2.8.0 fed into it."""
        return f"{self.value}.8.0"


class Fidelity(IntEnum):
    """How a value came about, as far as its source tells."""

    MEASURED = 0
    ESTIMATED = 1


@dataclass(frozen=True, slots=True)
class Proof:
    """A signed text behind a sample, kept so that it can be shown in a dispute.

    Attributes:
        pagination: The signer's running number of the text; never used twice.
        text: The whole text with its signature.
    """

    pagination: str
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a meter.

    Attributes:
        meter: Id of the meter, as the source names it until the gate has named it anew.
        register: Which register.
        value_wh: The register's state; with `since_ms` the energy of that interval.
        at_ms: Instant of the value, ms since 1970 UTC.
        source: Name of the source, one of a few.
        digest: SHA-256 of the raw bytes; of a signed text, of exactly what was signed.
        since_ms: Start of the interval; None for a register.
        fidelity: Whether the meter measured or somebody estimated it.
        device: Serial number of the device, if told: a new one is another meter in the old place.
        proof: The verified signed text, if any.
    """

    meter: str
    register: Register
    value_wh: int
    at_ms: int
    source: str
    digest: bytes
    since_ms: int | None = None
    fidelity: Fidelity = Fidelity.MEASURED
    device: str = ""
    proof: Proof | None = None


class Kind(StrEnum):
    """Why something that arrived is not believed."""

    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    UNREGISTERED = "unregistered"
    UNAUTHORISED = "unauthorised"
    UNSIGNED = "unsigned"
    FORGED = "forged"
    REPLAYED = "replayed"
    CLOCK = "clock"
    FAULTY = "faulty"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class Reject:
    """Something that arrived and is not believed; counted and shown, never acted on.

    Attributes:
        kind: The class of the reason.
        source: Name of the source, one of a few.
        why: Where and what is wrong, and what to do.
        meter: The meter it claims to be of, if it tells.
    """

    kind: Kind
    source: str
    why: str
    meter: str | None = None


class ParseError(Exception):
    """Bytes that are no reading; the only error a parser raises on any input."""

    def __init__(self, why: str, kind: Kind = Kind.MALFORMED, meter: str | None = None) -> None:
        """Say what is wrong and which kind of wrong it is."""
        self.kind, self.meter = kind, meter
        super().__init__(why)

    def reject(self, source: str) -> Reject:
        """Return the refusal of what could not be parsed."""
        return Reject(self.kind, source, str(self), self.meter)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one message, telegram or poll came to.

    Attributes:
        samples: Its values.
        rejects: What of it was refused.
        done: Called once all of it is durable, to acknowledge it to whoever sent it.
    """

    samples: tuple[Sample, ...] = ()
    rejects: tuple[Reject, ...] = ()
    done: Callable[[], None] | None = None


class Sink(Protocol):
    """Takes what sources produce."""

    def put(self, delivery: Delivery) -> None:
        """Take a delivery; waits while too much is under way, which slows the source down."""
        ...


class Source(Protocol):
    """A source of samples: a broker, a device or a stream."""

    name: str

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Deliver until stopped; connects again by itself when a connection ends.

        Args:
            sink: Takes the samples.
            stop: Ends the run soon after it is set.
        """
        ...


def bounded(raw: bytes) -> bytes:
    """Return a payload that is short enough to be parsed.

    Raises:
        ParseError: If it is not.
    """
    if len(raw) > MAX_PAYLOAD_BYTES:
        why = f"{len(raw)} bytes are more than a message of {MAX_PAYLOAD_BYTES}; send less at once"
        raise ParseError(why, Kind.OVERSIZED)
    return raw


def energy_wh(value: object, unit: str) -> int:
    """Return an energy in whole Wh, rounded down so that a growing register never shrinks.

    Args:
        value: Number or text of a decimal number; a float counts as its shortest text.
        unit: One of `UNITS`.

    Raises:
        ParseError: If it is no number, negative, or beyond `MAX_VALUE_WH`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ParseError(f"the value is of type {type(value).__name__}, not a number")
    if isinstance(value, int) and abs(value) > MAX_VALUE_WH:
        raise ParseError("the value is a whole number beyond all registers")
    text = str(value).strip()
    if len(text) > MAX_ID_CHARS:
        raise ParseError(f"the value is a text of {len(text)} characters, not a number")
    try:
        number = _NUMBERS.create_decimal(text)
    except InvalidOperation:
        raise ParseError(f"the value {text!r} is not a number") from None
    # A huge exponent is refused before anything is multiplied out.
    if not number.is_finite() or number.adjusted() > 15 or (number and number.is_signed()):
        raise ParseError(f"the value {text} is not between 0 and {MAX_VALUE_WH} Wh")
    wh = int((number * _WH_PER[unit]).to_integral_value(ROUND_FLOOR))
    if wh > MAX_VALUE_WH:
        raise ParseError(f"the value {text} {unit} is beyond {MAX_VALUE_WH} Wh; check the unit")
    return wh


def identifier(value: object) -> str:
    """Return the id of a meter or device.

    Raises:
        ParseError: If it is not a short printable text.
    """
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not text or len(text) > MAX_ID_CHARS or not text.isprintable():
        raise ParseError(f"{str(value)[:MAX_ID_CHARS]!r} is no id of a meter")
    return text


def instant_ms(value: object, unit: str) -> int:
    """Return an instant in ms since 1970.

    Args:
        value: A number, or a text of one or of a date.
        unit: `s`, `ms`, or `iso` for ISO 8601 with an offset from UTC.

    Raises:
        ParseError: If it is no instant, has no offset, is before 1970 or after the year 9999.
    """
    if unit == "iso":
        return _iso_ms(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ParseError(f"the time is of type {type(value).__name__}, not a number")
    text = value[: MAX_ID_CHARS + 1] if isinstance(value, str) else str(Decimal(value))
    try:
        number = _NUMBERS.create_decimal(text.strip())
    except InvalidOperation:
        raise ParseError(f"the time {text!r} is not a number") from None
    if not number.is_finite() or number.adjusted() > 15:
        raise ParseError(f"the time {text[:MAX_ID_CHARS]} is no instant")
    at_ms = int((number * _MS_PER[unit]).to_integral_value(ROUND_FLOOR))
    if not 0 <= at_ms <= MAX_AT_MS:
        raise ParseError("the time is before 1970 or after 9999; check its unit")
    return at_ms


def _iso_ms(value: object) -> int:
    if not isinstance(value, str) or len(value) > MAX_ID_CHARS:
        raise ParseError("the time is not a date of ISO 8601")
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ParseError(f"the time {value!r} is not a date of ISO 8601") from None
    if at.tzinfo is None:
        raise ParseError(f"the time {value!r} has no offset from UTC; add Z or +01:00")
    return whole_ms(at)


def whole_ms(at: datetime) -> int:
    """Return a date with an offset from UTC as ms since 1970.

    Raises:
        ParseError: If it is before 1970 or after the year 9999.
    """
    at_ms = (at - _EPOCH) // timedelta(milliseconds=1)
    if not 0 <= at_ms <= MAX_AT_MS:
        raise ParseError(f"the time {at} is before 1970 or after 9999")
    return at_ms
