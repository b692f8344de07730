"""Back-fill: what live sources have missed comes from files, through the same gate."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from oracle.meters import csv_mapping, espi, nem12
from oracle.meters.gate import Gate
from oracle.meters.sample import Delivery, ParseError, Reject, Sample
from oracle.meters.source import SourceError
from oracle.meters.store import SampleStore

MAX_FILE_BYTES = 64 * 2**20
"""Largest file that is read; split larger ones."""

_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Filled:
    """What a file came to.

    Attributes:
        added: Samples that were new.
        known: Samples that were there already.
        refused: What was refused, with the reason.
    """

    added: int
    known: int
    refused: tuple[Reject, ...]


def read_file(
    path: Path, mapping: Path | None = None, meter: str | None = None
) -> Iterator[Sample | Reject]:
    """Yield the samples of a file: Green Button (`.xml`), or CSV as NEM12 or by a mapping.

    Args:
        path: The file.
        mapping: TOML file with the keys of `oracle.meters.csv_mapping.CsvMapping`; without one a
            CSV file is taken for NEM12.
        meter: The meter a Green Button file is of.

    Raises:
        SourceError: If a file cannot be read or is of another kind.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            why = f"has more than {MAX_FILE_BYTES // 2**20} MB"
            raise SourceError(str(path), why, "Split the file")
        raw = path.read_bytes()
    except OSError as exc:
        fix = "Check the path and its permissions"
        raise SourceError(str(path), f"cannot be read ({exc.strerror})", fix) from exc
    source = f"file:{path.name}"
    try:
        if mapping is not None:
            yield from csv_mapping.read(raw, source, load_mapping(mapping))
        elif path.suffix.lower() == ".xml":
            yield from espi.read(raw, source, meter)
        else:
            yield from nem12.read(raw, source)
    except ParseError as exc:
        fix = "Give .xml of Green Button, NEM12, or CSV with a mapping"
        raise SourceError(str(path), str(exc), fix) from exc


def load_mapping(path: Path) -> csv_mapping.CsvMapping:
    """Read a mapping.

    Raises:
        SourceError: If it cannot be read, or a key is missing, unknown or bad.
    """
    try:
        return csv_mapping.CsvMapping.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SourceError(str(path), f"cannot be read ({exc})", "Give a TOML file") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the mapping"
        fix = "docs/meters.md has every key"
        raise SourceError(str(path), f"{key}: {first['msg']}", fix) from exc


def fill(samples: Iterator[Sample | Reject], gate: Gate, store: SampleStore) -> Filled:
    """Bring samples through the gate into the store.

    Raises:
        sqlite3.Error: If the store cannot be written; what came before is kept.
    """
    added = known = 0
    refused: list[Reject] = []
    while batch := list(islice(samples, _AT_ONCE)):
        fresh = tuple(item for item in batch if isinstance(item, Sample))
        bad = tuple(item for item in batch if isinstance(item, Reject))
        believed, rejects = gate.judge(Delivery(fresh, bad))
        rejects = [gate.bounded(reject) for reject in rejects]
        new, replayed = store.add(believed, rejects, int(time.time() * 1000))
        added += new
        known += len(believed) - new - len(replayed)
        refused += [*rejects, *replayed]
    return Filled(added, known, tuple(refused))
