"""Messages as meters and utilities send them, made to order."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
P256 = ec.derive_private_key(0xA11CE, ec.SECP256R1())
K256 = ec.derive_private_key(0xB0B, ec.SECP256K1())


def public_hex(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the public key, DER in hex."""
    public = key.public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()


def ocmf(
    key: ec.EllipticCurvePrivateKey,
    import_kwh: str,
    at: datetime,
    *,
    meter: str = "EV1",
    pagination: str = "T1",
    **changes: object,
) -> str:
    """Return a signed text with one total; `changes` replace keys of its reading."""
    stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S,000+0000 S")
    reading = {"TM": stamp, "RV": "VALUE", "RI": "01-00:B0.08.00*FF", "RU": "kWh", "ST": "G"}
    payload = {
        **{"FV": "1.0", "GI": "test", "GS": "1", "PG": pagination, "MS": meter, "IS": False},
        "RD": [{**reading, "RT": "AC", "EF": "", **changes}],
    }
    text = json.dumps(payload).replace('"VALUE"', import_kwh)
    signature = key.sign(text.encode(), ec.ECDSA(hashes.SHA256())).hex()
    kind = f"ECDSA-{key.curve.name}-SHA256"
    return f"OCMF|{text}|" + json.dumps({"SA": kind, "SD": signature})


def with_high_s(text: str, key: ec.EllipticCurvePrivateKey) -> str:
    """Return a signed text with the other of the two signatures if its own has the low s."""
    head, _, signature = text.rpartition('"SD": "')
    r, s = decode_dss_signature(bytes.fromhex(signature.rstrip('"}')))
    order = ORDERS[key.curve.name]
    return f'{head}"SD": "{encode_dss_signature(r, max(s, order - s)).hex()}"}}'


def telegram(*lines: str) -> bytes:
    """Return a P1 telegram with its checksum."""
    body = "\r\n".join(["/TST5meter", "", *lines]) + "\r\n!"
    crc = 0
    for byte in body.encode():
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return f"{body}{crc:04X}\r\n".encode()


def p1(at: str = "261120143000W", low: str = "000123.456", high: str = "000100.000") -> bytes:
    """Return a telegram of version 5 with two tariffs each way."""
    return telegram(
        "1-3:0.2.8(50)",
        f"0-0:1.0.0({at})",
        f"1-0:1.8.1({low}*kWh)",
        f"1-0:1.8.2({high}*kWh)",
        "1-0:2.8.1(000001.000*kWh)",
        "1-0:2.8.2(000000.500*kWh)",
        "1-0:1.7.0(00.244*kW)",
    )


def espi(values: list[tuple[int, int, int]], *, flow: int = 1, scale: int = 0) -> bytes:
    """Return a Green Button file of intervals: start, duration and value."""
    readings = "".join(
        f"<IntervalReading><timePeriod><duration>{length}</duration><start>{start}</start>"
        f"</timePeriod><value>{value}</value></IntervalReading>"
        for start, length, value in values
    )
    root = "/espi/UsagePoint/U1/MeterReading/1"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><entry><link rel="self" href="/espi/ReadingType/7"/>
<content><ReadingType xmlns="http://naesb.org/espi"><accumulationBehaviour>4</accumulationBehaviour>
<flowDirection>{flow}</flowDirection><powerOfTenMultiplier>{scale}</powerOfTenMultiplier>
<uom>72</uom></ReadingType></content></entry>
<entry><link rel="self" href="{root}"/><link rel="related" href="/espi/ReadingType/7"/>
<content><MeterReading xmlns="http://naesb.org/espi"/></content></entry>
<entry><link rel="self" href="{root}/IntervalBlock/1"/><link rel="up" href="{root}/IntervalBlock"/>
<content><IntervalBlock xmlns="http://naesb.org/espi">{readings}</IntervalBlock></content></entry>
</feed>""".encode()


def nem12(day: str, channels: dict[str, list[str]], *more: str) -> bytes:
    """Return a NEM12 file: values by channel, and further records behind the last."""
    rows = ["100,NEM12,202611201200,MDP,RET"]
    for suffix, values in channels.items():
        minutes = 1440 // len(values)
        rows.append(f"200,NMI1,E1B1,{suffix},{suffix},N1,METER1,kWh,{minutes},")
        rows.append(f"300,{day},{','.join(values)},A,,,20261120120000,")
    return "\n".join([*rows, *more, "900"]).encode()
