"""Events as contracts tell them, and as text in a journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

LASTING = frozenset({"Admitted", "SeatRotated", "BenchmarkSet"})
"""Events that count for all periods from one on; every other one is of its period alone."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a contract told.

    Attributes:
        block: Number of its block.
        position: Index of the log in the block.
        name: The event.
        at: The block's time, Unix seconds.
        args: Its values: integers, booleans, bytes, text for addresses, and tuples of them.
    """

    block: int
    position: int
    name: str
    at: int
    args: dict[str, Any]

    @property
    def period(self) -> int | None:
        """The period it is of, or the first one of those it is of; None if it lasts."""
        if self.name in LASTING:
            return None
        return self.args.get("period", self.args.get("fromPeriod"))


_BYTES = "bytes:"


def dump(args: dict[str, Any]) -> str:
    """Write an event's values as text."""
    return json.dumps(args, default=lambda value: _BYTES + bytes(value).hex())


def load(text: str) -> dict[str, Any]:
    """Read an event's values back."""
    return {key: _revive(value) for key, value in json.loads(text).items()}


def _revive(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return tuple(_revive(item) for item in value)
    if isinstance(value, str) and value.startswith(_BYTES):
        return bytes.fromhex(value.removeprefix(_BYTES))
    return value
