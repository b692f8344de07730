"""Every format that readings arrive in: what is right is read, what is not is refused by name."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from oracle.meters import csv_mapping, dsmr, espi, nem12, ocmf
from oracle.meters.csv_mapping import CsvMapping
from oracle.meters.sample import (
    MAX_PAYLOAD_BYTES,
    Fidelity,
    Kind,
    ParseError,
    Register,
    Reject,
    Sample,
)
from tests import meter_messages as messages

pytestmark = pytest.mark.filterwarnings("ignore::pyocmf.SpecWarning")

AT = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
AT_MS = int(AT.timestamp()) * 1000

KEYS = {"EV1": messages.public_hex(messages.P256), "EV2": messages.public_hex(messages.K256)}


def energies(found: list[Sample]) -> list[tuple[Register, int, int]]:
    return [(s.register, s.value_wh, s.at_ms) for s in found]


@pytest.mark.parametrize(
    ("meter", "key"), [("EV1", messages.P256), ("EV2", messages.K256)], ids=["P-256", "secp256k1"]
)
def test_ocmf__signed_by_the_registered_key__is_read_with_its_proof(
    meter: str, key: ec.EllipticCurvePrivateKey
) -> None:
    text = messages.ocmf(key, "12.345", AT, meter=meter)

    (sample,) = ocmf.read(text.encode(), "cp", KEYS.get)
    (from_hex,) = ocmf.read(text.encode().hex().encode(), "cp", KEYS.get)

    assert energies([sample]) == [(Register.IMPORT, 12_345, AT_MS)]
    assert sample.digest == hashlib.sha256(text.split("|")[1].encode()).digest()
    assert sample.proof is not None
    assert sample.proof.pagination == "T1"
    assert from_hex.digest == sample.digest


@pytest.mark.parametrize("key", [messages.P256, messages.K256], ids=["P-256", "secp256k1"])
def test_evidence__of_a_signature_with_high_s__has_the_low_one_a_contract_takes(
    key: ec.EllipticCurvePrivateKey,
) -> None:
    text = messages.with_high_s(messages.ocmf(key, "1", AT), key)
    r, s = decode_dss_signature(bytes.fromhex(text.rpartition('"SD": "')[2].rstrip('"}')))
    order = messages.ORDERS[key.curve.name]

    proof = ocmf.evidence(text, messages.public_hex(key))

    assert proof.s == order - s <= order // 2
    point = key.public_key().public_numbers()
    assert (proof.x, proof.y, proof.r) == (point.x, point.y, r)
    assert proof.text == text.split("|")[1]
    signed = proof.text.encode()
    key.public_key().verify(
        encode_dss_signature(proof.r, proof.s), signed, ec.ECDSA(hashes.SHA256())
    )


STRANGE = {
    "value changed": (messages.ocmf(messages.P256, "1", AT).replace(": 1,", ": 2,"), Kind.FORGED),
    "space added": (messages.ocmf(messages.P256, "1", AT).replace(": 1,", ":  1,"), Kind.FORGED),
    "other key": (messages.ocmf(messages.K256, "1", AT), Kind.FORGED),
    "no key": (messages.ocmf(messages.P256, "1", AT, meter="EV3"), Kind.UNREGISTERED),
    "manipulated": (messages.ocmf(messages.P256, "1", AT, ST="M"), Kind.FAULTY),
    "energy fault": (messages.ocmf(messages.P256, "1", AT, EF="E"), Kind.FAULTY),
    "time fault": (messages.ocmf(messages.P256, "1", AT, EF="t"), Kind.CLOCK),
    "not synchronised": (
        messages.ocmf(messages.P256, "1", AT, TM="2026-11-20T14:30:00,000+0000 U"),
        Kind.CLOCK,
    ),
    "one process": (messages.ocmf(messages.P256, "1", AT, RI="01-00:B2.08.00*FF"), Kind.MALFORMED),
    "unit": (messages.ocmf(messages.P256, "1", AT, RU="mOhm"), Kind.MALFORMED),
    "negative": (messages.ocmf(messages.P256, "-1", AT), Kind.MALFORMED),
    "no number": (messages.ocmf(messages.P256, "1", AT, pagination="x"), Kind.MALFORMED),
    "huge": ("OCMF|" + "x" * MAX_PAYLOAD_BYTES, Kind.OVERSIZED),
    "cut": ("OCMF|{}", Kind.MALFORMED),
}


@pytest.mark.parametrize("name", STRANGE)
def test_ocmf__that_must_not_be_believed__is_refused_by_kind(name: str) -> None:
    text, kind = STRANGE[name]
    with pytest.raises(ParseError) as refused:
        ocmf.read(text.encode(), "cp", KEYS.get)

    assert refused.value.kind is kind


def test_telegram__with_two_tariffs__is_their_sum_at_its_own_time() -> None:
    found = dsmr.read(messages.p1(), "m1", "p1", 0)

    at_ms = int(datetime(2026, 11, 20, 13, 30, tzinfo=UTC).timestamp()) * 1000
    assert energies(found) == [(Register.IMPORT, 223_456, at_ms), (Register.EXPORT, 1_500, at_ms)]


def test_telegram__of_one_tariff_without_time__is_of_its_arrival() -> None:
    raw = messages.telegram("1-0:1.8.0(000123.456*kWh)")

    assert energies(dsmr.read(raw, "m1", "p1", 77)) == [(Register.IMPORT, 123_456, 77)]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (messages.p1().replace(b"123.456", b"923.456"), "checksum"),
        (messages.p1()[:-6] + b"\r\n", "parsed"),
        (messages.telegram("1-0:1.8.0(000123.456*MJ)"), "unit"),
        (messages.telegram("0-0:1.0.0(261120143000W)"), "no total"),
        (messages.telegram("1-0:1.8.0(abc*kWh)"), "parsed"),
        (b"/" + b"x" * MAX_PAYLOAD_BYTES + b"!0000\r\n", "more than"),
    ],
    ids=["changed", "no checksum", "unit", "no energy", "no number", "huge"],
)
def test_telegram__that_must_not_be_believed__is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(ParseError, match=said):
        dsmr.read(raw, "m1", "p1", 0)


def test_telegram__without_checksum__is_read_only_where_that_was_declared() -> None:
    raw = messages.telegram("1-0:1.8.0(000123.456*kWh)")[:-6] + b"\r\n"

    assert dsmr.read(raw, "m1", "p1", 0, unchecked=True)[0].value_wh == 123_456


def test_stream__cut_anywhere_and_with_noise_before__yields_whole_telegrams() -> None:
    raw = b"half of a telegram\r\n!12" + b"/lost\r\n" + messages.p1() + messages.p1()
    framer = dsmr.Framer()

    found = [t for place in range(len(raw)) for t in framer.feed(raw[place : place + 1])]

    assert found == [messages.p1()] * 2


def test_stream__without_an_end__is_thrown_away_and_counted() -> None:
    found = list(dsmr.Framer().feed(b"/" + b"x" * MAX_PAYLOAD_BYTES))

    assert [t.kind for t in found if isinstance(t, ParseError)] == [Kind.OVERSIZED]


@pytest.mark.parametrize(
    ("flow", "scale", "register", "wh"),
    [(1, 0, Register.IMPORT, 250), (19, -3, Register.EXPORT, 0), (1, 3, Register.IMPORT, 250_000)],
)
def test_green_button__intervals__have_direction_and_scale_of_their_type(
    flow: int, scale: int, register: Register, wh: int
) -> None:
    raw = messages.espi([(1_700_000_100, 900, 250)], flow=flow, scale=scale)

    (sample,) = espi.read(raw, "file")

    assert isinstance(sample, Sample)
    assert energies([sample]) == [(register, wh, 1_700_001_000_000)]
    assert (sample.since_ms, sample.meter) == (1_700_000_100_000, "U1")


def test_green_button__with_an_entity_bomb_or_bad_interval__is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><feed>&b;</feed>'
    with pytest.raises(ParseError):
        list(espi.read(bomb, "file"))

    (nameless,) = espi.read(messages.espi([(5, 9, 1)]).replace(b"/UsagePoint/U1", b""), "file")
    assert isinstance(nameless, Reject)
    (bad, good) = espi.read(messages.espi([(5, -1, 1), (900, 900, 1)]), "file", "m1")
    assert isinstance(bad, Reject)
    assert isinstance(good, Sample)


def test_nem12__channels_of_one_direction__are_added_up_and_qualities_kept() -> None:
    halves = [f"{n / 10}" for n in range(48)]
    raw = messages.nem12(
        "20260105", {"B1": ["0"] * 48, "E1": halves, "E2": halves}, "400,1,2,A,,", "400,3,48,S53,,"
    )

    found = [s for s in nem12.read(raw, "file") if isinstance(s, Sample)]

    taken = [s for s in found if s.register is Register.IMPORT]
    assert [s.value_wh for s in taken] == [2 * n * 100 for n in range(48)]
    assert {s.fidelity for s in taken[:2]} == {Fidelity.MEASURED}
    assert {s.fidelity for s in taken[2:]} == {Fidelity.ESTIMATED}
    first = datetime(2026, 1, 4, 14, 0, tzinfo=UTC)
    assert taken[0].since_ms == int(first.timestamp()) * 1000
    assert sum(s.register is Register.EXPORT for s in found) == 48


def test_nem12__bad_records__are_refused_one_by_one() -> None:
    raw = messages.nem12("20260105", {"E1": ["1"] * 48}, "300,20260106,1,2,A", "400,", "777")

    found = list(nem12.read(raw, "file"))

    assert sum(isinstance(item, Reject) for item in found) == 3
    assert sum(isinstance(item, Sample) for item in found) == 48
    with pytest.raises(ParseError, match="100,NEM12"):
        list(nem12.read(b"300,20260105,1", "file"))


@pytest.mark.parametrize("quality", ["", "X", "1.5"])
def test_nem12__day_without_a_known_quality__is_refused_whole(quality: str) -> None:
    raw = messages.nem12("20260105", {"E1": ["1"] * 48})
    assert raw.count(b",A,") == 1
    (refused,) = nem12.read(raw.replace(b",A,", f",{quality},".encode()), "file")

    assert isinstance(refused, Reject)
    assert "no quality behind 48 values" in refused.why


def test_csv__by_its_mapping__is_registers_or_intervals() -> None:
    mapping = CsvMapping.model_validate(
        {
            "meter_column": "id",
            "time_column": "when",
            "energies": [{"column": "in", "direction": "import", "unit": "kWh"}],
            "interval_s": 900,
            "time_is": "end",
            "delimiter": ";",
            "decimal_comma": True,
        }
    )
    raw = b"id;when;in\nm1;2026-11-20T15:30:00+01:00;1,25\nm1;2026-11-20T15:30:00;1\nm2;;\n"

    first, no_offset, no_time = csv_mapping.read(raw, "file", mapping)

    assert isinstance(first, Sample)
    assert energies([first]) == [(Register.IMPORT, 1_250, AT_MS)]
    assert first.since_ms == AT_MS - 900_000
    assert isinstance(no_offset, Reject)
    assert "offset" in no_offset.why
    assert isinstance(no_time, Reject)


def test_csv__without_a_declared_column__is_refused() -> None:
    mapping = CsvMapping.model_validate(
        {
            "meter": "m1",
            "time_column": "t",
            "energies": [{"column": "wh", "direction": "export", "unit": "Wh"}],
        }
    )
    with pytest.raises(ParseError, match="no column 'wh'"):
        list(csv_mapping.read(b"t,kwh\n1,2\n", "file", mapping))
