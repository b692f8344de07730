"""What configures a node: keys in a file and in the environment, and which of both gave a key."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

PREFIX = "SUBGRID_ORACLE_"
"""What the name of an environment variable that gives a key begins with."""

BETWEEN = "__"
"""What stands in such a name for the dots of the key."""

NO_KEY = "is not a key of this table; docs/operating.md has every key"

_HINTS = {
    "missing": "is needed but missing; docs/operating.md has every key",
    "extra_forbidden": NO_KEY,
    "tuple_type": "is no list; give it in brackets",
    "model_type": "is no table; its keys stand under a heading of its own in brackets",
}
"""Kinds of bad keys that pydantic explains in words of its own."""


class Environment(EnvSettingsSource):
    """Keys that environment variables give: texts, or JSON for lists and tables."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ANN401
        """Leave what is no JSON to the check of the key, which tells its name and what it takes."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def variables() -> dict[str, tuple[str, ...]]:
    """Return the environment variables that give keys, each with the parts of its key."""
    return {
        name: tuple(name[len(PREFIX) :].lower().split(BETWEEN))
        for name in os.environ
        if name.upper().startswith(PREFIX)
    }


def explain(
    path: Path, raw: Mapping[str, object], read: Mapping[str, object], exc: ValidationError
) -> Iterator[str]:
    """Yield one line for each bad key: who gave it, its name, its value and what is expected.

    Args:
        path: The file.
        raw: What the file gave.
        read: What the environment gave.
        exc: What is wrong with both together.
    """
    for error in exc.errors():
        key = _named(error["loc"], (raw, read), error["type"] == "missing")
        given = "" if error["type"] == "missing" else f" = {error['input']!r}"
        expected = _HINTS.get(error["type"], error["msg"])
        name = ".".join(key) or "the file"
        yield f"{_giver(path, key)}: {name}{given}: {expected}"


def _named(loc: Sequence[str | int], given: Sequence[object], missing: bool) -> tuple[str, ...]:
    """Return a key as it is written, without what pydantic says of the kind of a table."""
    parts = []
    for number, part in enumerate(loc):
        inner = [value for value in (_inside(table, part) for table in given) if value is not None]
        if inner or (missing and number == len(loc) - 1):
            parts.append(str(part))
            given = inner
    return tuple(parts)


def _inside(value: object, part: str | int) -> object:
    try:
        return value[part]  # type: ignore[index]
    except (LookupError, TypeError):
        return None


def _giver(path: Path, key: tuple[str, ...]) -> str:
    """Return who gave a key: one variable, or the file with the variables that gave parts of it."""
    whole, parts = [], []
    for name, of in variables().items():
        if key[: len(of)] == of:
            whole.append(name)
        elif of[: len(key)] == key:
            parts.append(name)
    if whole:
        return f"environment variable {max(whole, key=len)}"
    return " and ".join([str(path), *sorted(parts)])


_Value = TypeVar("_Value")


def rooted(value: _Value, folder: Path) -> _Value:
    """Return a value in which relative paths start at a folder, also those in its tables."""
    found: Any = value
    if isinstance(value, Path):
        found = folder / value.expanduser()
    elif isinstance(value, tuple):
        found = tuple(rooted(part, folder) for part in value)
    elif isinstance(value, BaseModel):
        given = {name: rooted(getattr(value, name), folder) for name in value.model_fields_set}
        found = value.model_copy(update=given)
    made: _Value = found
    return made
