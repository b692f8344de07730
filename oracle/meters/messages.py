"""What an MQTT message says, by the operator's map of topics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from oracle.meters import ocmf
from oracle.meters.sample import (
    Kind,
    ParseError,
    Register,
    Sample,
    bounded,
    energy_wh,
    identifier,
    instant_ms,
)
from oracle.meters.settings import Quantity, TopicConfig

COLLECTOR = (
    TopicConfig(
        filter="smartmeter/{meter}/ACTIVE_ENERGY_P",
        quantities=(Quantity(direction="import", value="value", unit="Wh"),),
        time="timestamp",
    ),
    TopicConfig(
        filter="smartmeter/{meter}/ACTIVE_ENERGY_N",
        quantities=(Quantity(direction="export", value="value", unit="Wh"),),
        time="timestamp",
    ),
)
"""Topics of smartmeter-datacollector, which reads DLMS/COSEM meters."""

KeyOf = Callable[[str], str | None]
"""Returns the registered public key of a meter, in hex."""


def subscription(topic: TopicConfig) -> str:
    """Return the MQTT filter of a topic."""
    return topic.filter.replace("{meter}", "+")


def read_message(
    topics: Sequence[TopicConfig],
    name: str,
    raw: bytes,
    source: str,
    arrived_ms: int | None,
    key_of: KeyOf,
) -> list[Sample]:
    """Return the samples of a message.

    Args:
        topics: The map; the first filter that fits counts.
        name: Topic of the message.
        raw: Its payload.
        source: Name of the source.
        arrived_ms: When it arrived, ms since 1970; None if it may have waited somewhere.
        key_of: Registered keys, for signed texts.

    Raises:
        ParseError: If nothing of it can be believed; nothing else is raised on any input.
    """
    for topic in topics:
        levels = _match(topic.filter, name)
        if levels is None:
            continue
        try:
            if topic.format == "ocmf":
                return _signed(raw, levels, source, key_of)
            return _json(topic, levels, raw, source, arrived_ms)
        except ParseError as exc:
            exc.meter = exc.meter or levels.get("meter")
            raise
    why = f"topic {name[:100]!r} is none of the map; remove it from the broker or map it"
    raise ParseError(why, Kind.UNAUTHORISED)


def _match(pattern: str, name: str) -> dict[str, str] | None:
    """Return the meter that a topic names, if the topic fits."""
    wanted, given = pattern.split("/"), name.split("/")
    if len(wanted) != len(given):
        return None
    found = {}
    for want, level in zip(wanted, given, strict=True):
        if want == "{meter}":
            found["meter"] = level
        elif want not in ("+", level):
            return None
    return found


def _signed(raw: bytes, levels: dict[str, str], source: str, key_of: KeyOf) -> list[Sample]:
    samples = ocmf.read(raw, source, key_of)
    if "meter" in levels and any(sample.meter != levels["meter"] for sample in samples):
        why = f"topic of {levels['meter']!r} carries a text of {samples[0].meter!r}"
        raise ParseError(why, Kind.UNAUTHORISED, samples[0].meter)
    return samples


def _json(
    topic: TopicConfig, levels: dict[str, str], raw: bytes, source: str, arrived_ms: int | None
) -> list[Sample]:
    try:
        message = _DECODER.decode(bounded(raw).decode())
    except (ValueError, RecursionError):
        raise ParseError("the message is not JSON") from None
    meter = _meter(topic, levels, message)
    if topic.time is not None:
        at_ms = instant_ms(value_at(message, topic.time), topic.time_unit)
    elif arrived_ms is not None:
        at_ms = arrived_ms
    else:
        why = "the message has waited and carries no time; have the meter send one, and map it"
        raise ParseError(why, Kind.CLOCK, meter)
    device = "" if topic.device is None else identifier(value_at(message, topic.device))
    digest = hashlib.sha256(raw).digest()
    samples = []
    for quantity in topic.quantities:
        try:
            value = value_at(message, quantity.value)
        except ParseError:
            if topic.optional:
                continue
            raise
        register = Register[quantity.direction.upper()]
        value_wh = energy_wh(value, quantity.unit)
        samples.append(Sample(meter, register, value_wh, at_ms, source, digest, device=device))
    return samples


def _meter(topic: TopicConfig, levels: dict[str, str], message: object) -> str:
    named = levels.get("meter")
    if topic.meter is None:
        return identifier(named)
    meter = identifier(value_at(message, topic.meter))
    if named is not None and named != meter:
        why = f"the topic is of {named[:64]!r}, the message of {meter!r}"
        raise ParseError(why, Kind.UNAUTHORISED, meter)
    return meter


def value_at(message: Any, path: str) -> object:  # noqa: ANN401
    """Return what stands at a path."""
    found = message
    for key in path.split(".") if path else ():
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and len(key) < 6 and int(key) < len(found):
            found = found[int(key)]
        else:
            raise ParseError(f"the message has no {path!r}")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


_DECODER = json.JSONDecoder(parse_float=str, parse_constant=_no_number)
