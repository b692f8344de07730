"""Back-fill from Green Button files: ESPI XML, as utilities give it to their customers.

A file holds energies of intervals, in entries that point at each other: a block of intervals at its
meter reading, that at its type, which has direction, unit and scale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from xml.etree.ElementTree import Element
from xml.etree.ElementTree import ParseError as XmlError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from oracle.meters.sample import (
    Fidelity,
    Kind,
    ParseError,
    Register,
    Reject,
    Sample,
    energy_wh,
    identifier,
    instant_ms,
)

_WATT_HOURS = "72"
_DELTA = ("4", "")
_FLOWS = {"1": Register.IMPORT, "19": Register.EXPORT}
_MEASURED = {"", "0", "14", "17", "18", "19"}
"""Qualities of a reading that was measured: valid, raw, validated, verified, for billing."""

_LONGEST_S = 366 * 86_400


@dataclass(frozen=True, slots=True)
class _Type:
    register: Register
    scale: int


def read(raw: bytes, source: str, meter: str | None = None) -> Iterator[Sample | Reject]:
    """Yield the intervals of a file.

    Args:
        raw: The file.
        source: Name of the source.
        meter: The meter it is of; by default what the file calls the usage point.

    Raises:
        ParseError: If it is no such file; nothing else is raised on any input.
    """
    try:
        root = fromstring(raw, forbid_dtd=True)
    except (XmlError, DefusedXmlException, ValueError, LookupError) as exc:
        raise ParseError(f"the file is no XML of Green Button ({str(exc)[:100]})") from None
    digest = hashlib.sha256(raw).digest()
    entries = [entry for entry in root.iter() if _name(entry) == "entry"]
    types = {href: _type(entry) for entry in entries for href in _links(entry, "self")}
    kinds = {
        own: next((types[href] for href in _links(entry, "related") if types.get(href)), None)
        for entry in entries
        if _find(entry, "MeterReading") is not None
        for own in _links(entry, "self")
    }
    sole = [kind for kind in types.values() if kind is not None]
    found = False
    for entry in entries:
        up = next(iter(_links(entry, "up")), "").removesuffix("/IntervalBlock")
        kind = kinds.get(up) or (sole[0] if len(sole) == 1 else None)
        for block in entry.iter():
            if _name(block) != "IntervalBlock":
                continue
            found = True
            if kind is None:
                why = "a block of intervals has no type with Wh and a direction"
                yield Reject(Kind.MALFORMED, source, why)
                continue
            try:
                owner = identifier(meter or _usage_point(up))
            except ParseError as exc:
                yield exc.reject(source)
                continue
            for reading in block:
                if _name(reading) == "IntervalReading":
                    yield _interval(reading, kind, owner, source, digest)
    if not found:
        raise ParseError("the file holds no IntervalBlock of Green Button")


def _interval(
    reading: Element, kind: _Type, meter: str, source: str, digest: bytes
) -> Sample | Reject:
    try:
        since_ms = instant_ms(_text(reading, "start"), "s")
        length_ms = instant_ms(_text(reading, "duration"), "s")
        if not 0 < length_ms <= 1000 * _LONGEST_S:
            raise ParseError(f"an interval lasts {length_ms // 1000} s")
        # The text is bounded before it is scaled.
        value_wh = energy_wh(_text(reading, "value"), "Wh")
        value_wh = energy_wh(Decimal(value_wh).scaleb(kind.scale), "Wh")
        qualities = {
            quality.text or "" for quality in reading.iter() if _name(quality) == "quality"
        }
        fidelity = Fidelity.MEASURED if qualities <= _MEASURED else Fidelity.ESTIMATED
        at_ms = since_ms + length_ms
        return Sample(meter, kind.register, value_wh, at_ms, source, digest, since_ms, fidelity)
    except ParseError as exc:
        exc.meter = meter
        return exc.reject(source)


def _type(entry: Element) -> _Type | None:
    """Return the type that an entry describes, if it is one of energy in a direction."""
    found = _find(entry, "ReadingType")
    if found is None or _text(found, "uom") != _WATT_HOURS:
        return None
    register = _FLOWS.get(_text(found, "flowDirection") or "1")
    scale = _text(found, "powerOfTenMultiplier") or "0"
    if register is None or _text(found, "accumulationBehaviour") not in _DELTA:
        return None
    if scale.removeprefix("-") not in map(str, range(13)):
        return None
    return _Type(register, int(scale))


def _usage_point(href: str) -> str:
    """Return what a link calls the usage point."""
    before, _, behind = href.partition("/UsagePoint/")
    return (behind or before).split("/")[0][:64]


def _links(entry: Element, relation: str) -> list[str]:
    return [
        link.get("href", "")
        for link in entry
        if _name(link) == "link" and link.get("rel") == relation
    ]


def _find(entry: Element, name: str) -> Element | None:
    return next((element for element in entry.iter() if _name(element) == name), None)


def _text(element: Element, name: str) -> str:
    found = _find(element, name)
    return "" if found is None else (found.text or "").strip()[:64]


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
