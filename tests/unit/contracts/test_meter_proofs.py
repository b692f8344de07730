"""Proving on chain what a meter has signed: the OCMF texts that nodes read, on both curves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from eth_utils.crypto import keccak
from web3.contract import Contract

from oracle.meters import ocmf
from oracle.meters.ocmf import Evidence
from tests import meter_messages as messages
from tests.unit.contracts.support import accepted, events, refused
from tests.world import World, new_world

pytestmark = pytest.mark.filterwarnings("ignore::pyocmf.SpecWarning")

AT = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
KEYS = {"secp256r1": messages.P256, "secp256k1": messages.K256}
CURVES = tuple(KEYS)
OTHERS = {
    "secp256r1": ec.derive_private_key(0xDAD, ec.SECP256R1()),
    "secp256k1": ec.derive_private_key(0xDAD, ec.SECP256K1()),
}
METER, OTHER = ((node).to_bytes(32, "big") for node in (1, 2))
VALID_FROM = 1_700_000_000


def point(key: ec.EllipticCurvePrivateKey) -> tuple[int, int]:
    numbers = key.public_key().public_numbers()
    return numbers.x, numbers.y


def entry(
    key: ec.EllipticCurvePrivateKey, valid_from: int = VALID_FROM
) -> tuple[int, int, int, int]:
    """Return the contract's `MeterKey`."""
    return valid_from, CURVES.index(key.curve.name), *point(key)


def register(
    world: World, key: ec.EllipticCurvePrivateKey, meter: bytes = METER, at: int = VALID_FROM
) -> None:
    world.chain.send(world.grid, world.market.proofs.functions.register(meter, entry(key, at)))


def signed(key: ec.EllipticCurvePrivateKey, **changes: str) -> Evidence:
    """Return what a node makes of a text signed by a meter."""
    return ocmf.evidence(messages.ocmf(key, "12.345", AT, **changes), messages.public_hex(key))


def words(e: Evidence, **changes: object) -> tuple[object, ...]:
    """Return the arguments of `prove` and `check` after the meter."""
    values = {"text": e.text, "r": e.r, "s": e.s, **changes}
    r, s = (int(str(values[half])).to_bytes(32, "big") for half in "rs")
    return values["text"], r, s


@pytest.fixture
def proofs(world: World) -> Contract:
    world.join(2)
    return world.market.proofs


# -- what is signed


@pytest.mark.parametrize("curve", CURVES)
def test_prove__text_of_the_meter__says_so_to_everybody(
    world: World, proofs: Contract, curve: str
) -> None:
    register(world, KEYS[curve])
    e = signed(KEYS[curve])
    assert accepted(proofs.functions.check(METER, *words(e)), world.stranger) == [True, 0]

    receipt = world.chain.send(world.stranger, proofs.functions.prove(METER, *words(e)))

    (event,) = events(receipt, proofs, "Proven")
    assert dict(event) == {"meter": METER, "digest": e.digest, "index": 0, "text": e.text}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("pagination", [f"T{number}" for number in range(1, 9)])
def test_check__whichever_form_of_a_signature_a_meter_gives__finds_it(
    world: World, proofs: Contract, curve: str, pagination: str
) -> None:
    """Meters sign with either s, and either point may stand behind r."""
    register(world, KEYS[curve])
    e = signed(KEYS[curve], pagination=pagination)
    assert accepted(proofs.functions.check(METER, *words(e)), world.stranger) == [True, 0]


@pytest.mark.parametrize("curve", CURVES)
def test_prove__what_a_node_makes_of_a_text_with_high_s__is_taken(
    world: World, proofs: Contract, curve: str
) -> None:
    key = KEYS[curve]
    register(world, key)
    text = messages.with_high_s(messages.ocmf(key, "12.345", AT), key)
    e = ocmf.evidence(text, messages.public_hex(key))
    world.chain.send(world.stranger, proofs.functions.prove(METER, *words(e)))


@pytest.mark.parametrize("curve", CURVES)
def test_prove__high_s__is_refused_for_the_low_one_is_as_good(
    world: World, proofs: Contract, curve: str
) -> None:
    register(world, KEYS[curve])
    e = signed(KEYS[curve])
    high = words(e, s=messages.ORDERS[curve] - e.s)
    refused("MeterProofs.NotSigned", proofs.functions.prove(METER, *high), world.stranger,
            METER, e.digest, *high[1:])  # fmt: skip
    assert not accepted(proofs.functions.check(METER, *high), world.stranger)[0]


@pytest.mark.parametrize("curve", CURVES)
def test_prove__text_changed_by_a_letter__is_refused(
    world: World, proofs: Contract, curve: str
) -> None:
    register(world, KEYS[curve])
    e = signed(KEYS[curve])
    tampered = e.text.replace("12.345", "12.346")
    assert tampered != e.text
    assert accepted(proofs.functions.check(METER, *words(e, text=tampered)), world.stranger) == [
        False,
        0,
    ]
    call = proofs.functions.prove(METER, *words(e, text=tampered))
    digest = hashlib.sha256(tampered.encode()).digest()
    refused("MeterProofs.NotSigned", call, world.stranger, METER, digest, *words(e)[1:])


@pytest.mark.parametrize("curve", CURVES)
def test_prove__with_another_meters_key__is_refused(
    world: World, proofs: Contract, curve: str
) -> None:
    register(world, KEYS[curve])
    register(world, OTHERS[curve], OTHER)
    e = signed(OTHERS[curve])
    call = proofs.functions.prove(METER, *words(e))
    refused("MeterProofs.NotSigned", call, world.stranger, METER, e.digest, *words(e)[1:])
    assert accepted(proofs.functions.check(OTHER, *words(e)), world.stranger) == [True, 0]


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (0, 0), (2**256 - 1, 1), (1, 2**256 - 1)])
def test_check__numbers_that_are_no_signature__says_no(
    world: World, proofs: Contract, curve: str, r: int, s: int
) -> None:
    register(world, KEYS[curve])
    e = signed(KEYS[curve])
    call = proofs.functions.check(METER, *words(e, r=r, s=s))
    assert accepted(call, world.stranger) == [False, 0]


def test_prove__meter_without_a_key__is_refused(world: World, proofs: Contract) -> None:
    e = signed(KEYS["secp256r1"])
    refused("MeterProofs.NoKey", proofs.functions.prove(METER, *words(e)), world.stranger, METER)
    assert accepted(proofs.functions.check(METER, *words(e)), world.stranger) == [False, 0]


@pytest.fixture(scope="module")
def older() -> Iterator[World]:
    """A market on a chain without a precompile for P-256."""
    with new_world(options=("--hardfork", "prague")) as world:
        yield world


def test_prove__on_a_chain_without_the_precompile__says_the_same(older: World) -> None:
    older.join(1)
    register(older, KEYS["secp256r1"])
    e = signed(KEYS["secp256r1"])
    check = older.market.proofs.functions.check
    assert accepted(check(METER, *words(e)), older.stranger) == [True, 0]
    assert accepted(check(METER, *words(e, text=e.text + " ")), older.stranger) == [False, 0]


# -- keys


def test_register__another_key__leaves_texts_of_the_one_before_good(
    world: World, proofs: Contract
) -> None:
    old, new = KEYS["secp256r1"], KEYS["secp256k1"]
    register(world, old)
    register(world, new, at=VALID_FROM + 1)
    for index, key in enumerate((old, new)):
        receipt = world.chain.send(
            world.stranger, proofs.functions.prove(METER, *words(signed(key)))
        )
        assert events(receipt, proofs, "Proven")[0]["index"] == index
    kept = world.chain.read(proofs.functions.keysOf(METER))
    assert [tuple(key) for key in kept] == [entry(old), entry(new, VALID_FROM + 1)]


def test_register__a_key__is_logged(world: World, proofs: Contract) -> None:
    key = KEYS["secp256k1"]
    receipt = world.chain.send(world.grid, proofs.functions.register(METER, entry(key)))
    (event,) = events(receipt, proofs, "KeyRegistered")
    x, y = point(key)
    assert dict(event) == {
        **{"meter": METER, "index": 0, "validFrom": VALID_FROM},
        **{"curve": CURVES.index("secp256k1"), "x": x, "y": y},
    }


def test_register__by_anybody_but_the_grid_company__is_refused(
    world: World, proofs: Contract
) -> None:
    call = proofs.functions.register(METER, entry(KEYS["secp256r1"]))
    role = keccak(text="ADMISSION_ROLE")
    for who in (world.stranger, world.members[0]):
        refused("MeterProofs.NotAllowed", call, who, who.address, role)


def test_register__of_no_meter_of_the_market__is_refused(world: World, proofs: Contract) -> None:
    nobody = bytes(31) + b"\7"
    call = proofs.functions.register(nobody, entry(KEYS["secp256r1"]))
    refused("MeterProofs.UnknownMeter", call, world.grid, nobody)


@pytest.mark.parametrize("curve", CURVES)
def test_register__point_that_is_not_on_the_curve__is_refused(
    world: World, proofs: Contract, curve: str
) -> None:
    number = CURVES.index(curve)
    x, y = point(KEYS[curve])
    field = {
        "secp256r1": 2**256 - 2**224 + 2**192 + 2**96 - 1,
        "secp256k1": 2**256 - 2**32 - 977,
    }[curve]
    other = point(KEYS[CURVES[1 - number]])
    for bad in ((x, y + 1), (0, 0), other, (x, y + field), (x + field, y)):
        if max(bad) < 2**256:
            call = proofs.functions.register(METER, (VALID_FROM, number, *bad))
            refused("MeterProofs.NotOnCurve", call, world.grid, number, *bad)


def test_register__not_after_the_key_before_or_in_the_future__is_refused(
    world: World, proofs: Contract
) -> None:
    key, now = KEYS["secp256r1"], world.now()
    ahead = entry(key, now + 1_000)
    call = proofs.functions.register(METER, ahead)
    refused("MeterProofs.ValidFromOutOfOrder", call, world.grid, METER, now + 1_000, 0, now)
    register(world, key)
    for at in (VALID_FROM, VALID_FROM - 1):
        call = proofs.functions.register(METER, entry(KEYS["secp256k1"], at))
        refused("MeterProofs.ValidFromOutOfOrder", call, world.grid,
                METER, at, VALID_FROM + 1, world.now())  # fmt: skip
