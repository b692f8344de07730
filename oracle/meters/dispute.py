"""What a meter has signed, as `MeterProofs` takes it, and what the chain says to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from market.deployment import Market
from oracle.config import ConfigError
from oracle.meters.gate import Gate
from oracle.meters.ocmf import Evidence, evidence
from oracle.meters.roster import meter_key
from oracle.meters.sample import ParseError
from oracle.meters.store import SampleStore


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A signed text of a meter, and everything it takes to prove it.

    Attributes:
        meter: Id of the meter.
        evidence: The text with its signature and key.
    """

    meter: str
    evidence: Evidence

    @property
    def values(self) -> tuple[bytes, str, bytes, bytes]:
        """What `MeterProofs.prove` and `check` take."""
        e = self.evidence
        return meter_key(self.meter), e.text, e.r.to_bytes(32, "big"), e.s.to_bytes(32, "big")

    def as_json(self) -> dict[str, str]:
        """Return it for people and programs; numbers and bytes are in hexadecimal."""
        meter, text, r, s = self.values
        e = self.evidence
        words = {"meter": meter, "digest": e.digest, "r": r, "s": s}
        numbers = {"x": e.x, "y": e.y}
        return {
            **{name: f"0x{word.hex()}" for name, word in words.items()},
            **{name: f"0x{number:064x}" for name, number in numbers.items()},
            "curve": e.curve,
            "text": text,
        }


def exhibit_of(
    store: SampleStore, gate: Gate, name: str, pagination: str, key: str | None = None
) -> Exhibit:
    """Return a text that a meter has signed.

    Args:
        store: The node's samples.
        gate: Its meters and their keys.
        name: The meter's id, or another name of it.
        pagination: The text's running number.
        key: Its public key, DER in hex; the registered one if not given.

    Raises:
        ConfigError: If there is no such meter, key or text, or the key has not signed it.
    """
    meter, key = gate.meter(name), key or gate.key(name)
    if meter is None:
        raise ConfigError(f"no meter is called {name!r}; give its id in the roster")
    if key is None:
        raise ConfigError(f"{name!r} has no key in meters.live.meter; give --key its public key")
    text = store.proof(meter, pagination)
    if text is None:
        raise ConfigError(f"{store.path} has no text {pagination!r} signed by {meter!r}")
    try:
        return Exhibit(meter, evidence(text, key))
    except ParseError as exc:
        raise ConfigError(f"{exc}; if the meter had another key then, give it as --key") from exc


def chain_says(market: Market, exhibit: Exhibit) -> dict[str, object]:
    """Ask the chain whether one of the keys registered for the meter has signed the text.

    Args:
        market: The market.
        exhibit: The text.

    Returns:
        `signed`, and with it the key's number and since when it is good; else why not.

    Raises:
        ChainError: If the chain does not answer.
    """
    proofs = market.proofs.functions
    signed, index = market.chain.read(proofs.check(*exhibit.values))
    keys = market.chain.read(proofs.keysOf(exhibit.values[0]))
    if not signed:
        why = "none of the registered keys has signed it" if keys else "no key is registered"
        return {"signed": False, "problem": why}
    since = datetime.fromtimestamp(keys[index][0], UTC)
    return {"signed": True, "key": index, "valid_from": since.isoformat()}
