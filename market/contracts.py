"""The compiled contracts that the package ships: interfaces, code, and their errors by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from market.clearing import Rule

NAMES = (
    "Registry",
    "SettlementToken",
    "Oracle",
    "Grid",
    "Rule",
    "Subordinate_one",
    "Subordinate_two",
    "Book",
    "Vault",
    "Master",
    "MeterProofs",
)
"""The contracts of a market, in the order of their deployment; `Rule` is one of `RULES`."""

RULES = {Rule.PLANNED: "Planned", Rule.UNIFORM: "Uniform", Rule.PAIRWISE: "Pairwise"}
"""The contract of each rule of matching."""

ARTIFACTS = (*(name for name in NAMES if name != "Rule"), *RULES.values())
"""Every contract a market can consist of."""


class ArtifactError(Exception):
    """A shipped artifact is missing or unreadable."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract.

    Attributes:
        name: The contract.
        abi: Its interface.
        bytecode: The code that deploys it.
        runtime: The code that stands on chain, immutables zero.
        immutables: Where immutables are written in it, as (start, length) in bytes.
    """

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    runtime: bytes
    immutables: tuple[tuple[int, int], ...]

    def is_code_of(self, code: bytes) -> bool:
        """Return whether code found on chain is this contract, whatever its immutables."""
        if len(code) != len(self.runtime):
            return False
        blank = bytearray(code)
        for start, length in self.immutables:
            blank[start : start + length] = bytes(length)
        return bytes(blank) == self.runtime


@cache
def artifact(name: str) -> Artifact:
    """Load a shipped artifact.

    Raises:
        ArtifactError: If it is not there, or not what `make compile` writes.
    """
    file = resources.files("market") / "artifacts" / f"{name}.json"
    try:
        raw: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return Artifact(
            name=name,
            abi=raw["abi"],
            bytecode=bytes.fromhex(raw["bytecode"].removeprefix("0x")),
            runtime=bytes.fromhex(raw["deployedBytecode"].removeprefix("0x")),
            immutables=tuple((start, length) for start, length in raw["immutables"]),
        )
    except (OSError, KeyError, ValueError) as exc:
        raise ArtifactError(
            f"the artifact of {name} cannot be read ({exc}); "
            "run `make compile` or reinstall subgrid"
        ) from exc


def decode_error(data: bytes) -> tuple[str, Sequence[object]]:
    """Name the error in a contract's revert data, with its values.

    Args:
        data: What the contract returned when it refused.
    """
    if len(data) < 4:
        return "Refused", ("without a reason",)
    known = _errors().get(data[:4])
    if known is None:
        return "UnknownError", (f"0x{data.hex()}",)
    try:
        return known.name, decode(list(known.types), data[4:])
    except DecodingError:
        return known.name, (f"0x{data[4:].hex()}",)


@dataclass(frozen=True, slots=True)
class _KnownError:
    name: str
    types: tuple[str, ...]


@cache
def _errors() -> Mapping[bytes, _KnownError]:
    errors = {
        keccak(text="Error(string)")[:4]: _KnownError("Error", ("string",)),
        keccak(text="Panic(uint256)")[:4]: _KnownError("Panic", ("uint256",)),
    }
    for name in ARTIFACTS:
        for item in artifact(name).abi:
            if item["type"] == "error":
                signature = abi_to_signature(item)  # type: ignore[arg-type]
                known = _KnownError(item["name"], tuple(_type(i) for i in item["inputs"]))
                errors[keccak(text=signature)[:4]] = known
    return errors


def _type(item: Mapping[str, Any]) -> str:
    """Write a parameter's ABI type, tuples spelled out."""
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_type(component) for component in item["components"])
    return f"({inner}){kind.removeprefix('tuple')}"
