"""Signed readings in the Open Charge Metering Format, as calibrated charge points send them.

The signature is over the exact text between the first two bars, so nothing is written anew before
it is checked. High and low s are both valid: a text is known by its running number, not its bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pyocmf import (
    OCMF,
    MeterStatus,
    PyOCMFError,
    Reading,
    SignatureMethod,
    SpecWarning,
    TimeStatus,
)

from oracle.meters.sample import (
    Kind,
    ParseError,
    Proof,
    Register,
    Sample,
    bounded,
    energy_wh,
    identifier,
    whole_ms,
)

CURVES = {
    SignatureMethod.SECP256R1_SHA256: SECP256R1,
    SignatureMethod.SECP256K1_SHA256: SECP256K1,
}
"""Signatures that are accepted; a contract can check both."""

_ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}

# Totals since installation; B2, B3, C2 and C3 are of one charging process and start anew.
_REGISTERS = {
    "1.8.0": Register.IMPORT,
    "2.8.0": Register.EXPORT,
    "B0.8.0": Register.IMPORT,
    "C0.8.0": Register.EXPORT,
}
_OBIS = re.compile(r"(?:\d{1,2}-[\db]{1,2}:)?([0-9A-C]?[0-9])\.([0-9]{1,2})\.([0-9]{1,2})(\*.*)?")
_PAGINATION = re.compile(r"[TF][0-9]{1,20}")
_SYNCHRONISED = (TimeStatus.SYNCHRONIZED, TimeStatus.INFORMATIVE)

# What deviates in form but is signed by the meter is believed.
warnings.filterwarnings("ignore", category=SpecWarning)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A signed text as a contract checks it, such as OpenZeppelin's `P256.verify`.

    Attributes:
        curve: `secp256r1` or `secp256k1`.
        text: The part that is signed, to the letter.
        digest: SHA-256 of the signed text.
        r: First half of the signature.
        s: Second half, in the lower half of the group: contracts refuse the other.
        x: First coordinate of the public key.
        y: Second coordinate.
    """

    curve: str
    text: str
    digest: bytes
    r: int
    s: int
    x: int
    y: int


def read(raw: bytes, source: str, key_of: Callable[[str], str | None]) -> list[Sample]:
    """Return the readings of a signed text.

    Args:
        raw: `OCMF|payload|signature`, or that in hex.
        source: Name of the source.
        key_of: Returns the registered public key of a meter, DER in hex.

    Raises:
        ParseError: If it is no such text, not signed by the registered key, or the meter or its
            clock reports a fault; nothing else is raised on any input.
    """
    record, text, signed = _parse(raw)
    payload = record.payload
    meter = identifier(payload.MS or payload.GS)
    key = key_of(meter)
    if key is None:
        why = f"{meter!r} signs its readings, but no key is registered for it; give meter.key"
        raise ParseError(why, Kind.UNREGISTERED, meter)
    if not _is_signed(record, key):
        why = f"the text in the name of {meter!r} is not signed by its registered key"
        raise ParseError(why, Kind.FORGED, meter)
    if payload.PG is None or not _PAGINATION.fullmatch(payload.PG):
        raise ParseError(f"the text of {meter!r} has no running number", meter=meter)
    proof = Proof(payload.PG, text)
    digest = hashlib.sha256(signed.encode()).digest()
    samples = [
        _sample(reading, register, meter, source, digest, proof)
        for reading in payload.RD
        if (register := _register(reading)) is not None
    ]
    if not samples:
        raise ParseError(f"the text of {meter!r} holds no total energy", meter=meter)
    return samples


def evidence(text: str, key: str) -> Evidence:
    """Return what a contract needs to check a signed text by itself.

    Args:
        text: The text, as kept with the sample.
        key: The registered public key, DER in hex.

    Raises:
        ParseError: If the text is not signed by the key.
    """
    record, _, signed = _parse(text.encode())
    if not _is_signed(record, key):
        raise ParseError("the text is not signed by this key", Kind.FORGED)
    public = load_der_public_key(bytes.fromhex(key))
    assert isinstance(public, EllipticCurvePublicKey)
    point = public.public_numbers()
    raw = record.signature.SD
    is_hex = record.signature.SE in (None, "hex")
    r, s = decode_dss_signature(bytes.fromhex(raw) if is_hex else base64.b64decode(raw))
    order = _ORDERS[public.curve.name]
    digest = hashlib.sha256(signed.encode()).digest()
    return Evidence(public.curve.name, signed, digest, r, min(s, order - s), point.x, point.y)


def _parse(raw: bytes) -> tuple[OCMF, str, str]:
    """Return a record, its text and the part of the text that is signed."""
    try:
        text = bounded(raw).decode().strip()
        if not text.startswith("OCMF|"):
            text = bytes.fromhex(text).decode().strip()
        record = OCMF.from_string(text)
    except ParseError:
        raise
    except Exception as exc:  # the library lets through what its types raise on odd JSON
        said = str(exc).partition("\n")[0][:100]
        raise ParseError(f"the message is no OCMF text ({said!r})") from None
    return record, text, text.split("|", 2)[1]


def _is_signed(record: OCMF, key: str) -> bool:
    if record.signature.SA not in CURVES:
        return False
    try:
        return record.verify_signature(key)
    except (PyOCMFError, ValueError):
        return False


def _register(reading: Reading) -> Register | None:
    """Return which total a reading is of, if any."""
    match = _OBIS.fullmatch(str(reading.RI)) if reading.RI is not None else None
    if match is None:
        return None
    c, d, e = match[1].lstrip("0"), int(match[2]), int(match[3])
    return _REGISTERS.get(f"{c}.{d}.{e}")


def _sample(
    reading: Reading, register: Register, meter: str, source: str, digest: bytes, proof: Proof
) -> Sample:
    if reading.ST != MeterStatus.OK or "E" in (reading.EF or ""):
        why = f"{meter!r} reports a fault of its energy (status {str(reading.ST)[:10]!r})"
        raise ParseError(why, Kind.FAULTY, meter)
    if reading.time_status not in _SYNCHRONISED or "t" in (reading.EF or ""):
        why = f"the clock of {meter!r} is not set; let its gateway synchronise it"
        raise ParseError(why, Kind.CLOCK, meter)
    if reading.timestamp.tzinfo is None:
        raise ParseError(f"the time of {meter!r} has no offset from UTC", meter=meter)
    if reading.RU not in ("kWh", "Wh"):
        raise ParseError(f"{meter!r} reads in {str(reading.RU)[:10]!r}, not kWh or Wh", meter=meter)
    value_wh = energy_wh(reading.RV, str(reading.RU))
    at_ms = whole_ms(reading.timestamp)
    return Sample(meter, register, value_wh, at_ms, source, digest, proof=proof)
