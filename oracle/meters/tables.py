"""Tables from CSV, gzipped CSV and Parquet files, row by row, damaged ones included."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oracle.meters.source import SourceError


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: where it stands and its cells by column, as text or as the file types them.

    `spoilt` says what is wrong with the row as a whole; `cells` then has those that are certain.
    """

    where: str
    cells: Mapping[str, object]
    spoilt: str | None = None


def read_table(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Return the rows of a file; nothing is read before the first is asked for.

    Args:
        path: a file ending in `.csv`, `.csv.gz` or `.parquet`.
        columns: columns to read; the unit of an energy is part of the name, `..._wh`.

    Raises:
        SourceError: the file cannot be read or is damaged, or a column is missing, twice there or
            in another unit.
    """
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return _read_csv(path, columns)
    if name.endswith(".parquet"):
        return _read_parquet(path, columns)
    raise SourceError(str(path), "is of an unknown kind", "Give a .csv, .csv.gz or .parquet file")


def _read_csv(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        raw = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            raw = gzip.decompress(raw)
        text = raw.decode("utf-8-sig")
        # Each line is parsed alone, so that a stray quote spoils its own row only.
        lines = io.StringIO(text, newline="")
        header = next(csv.reader([lines.readline()]), [])
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        # The checksum stands at the end: nothing of a cut file is known to be true.
        raise _damaged(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        why = f"is not UTF-8 at byte {error.start}"
        raise SourceError(str(path), why, "Copy the file again, or save it as UTF-8") from error
    except csv.Error as error:
        raise SourceError(f"{path}:1", f"has no header ({error})", "Restore the file") from error

    _check_header(f"{path}:1", header, columns)
    for number, line in enumerate(lines, start=2):
        if line.strip():
            yield _parse(f"{path}:{number}", line, header, columns)


def _parse(where: str, line: str, header: Sequence[str], columns: Sequence[str]) -> Row:
    """Return the row of one line."""
    shown = line.strip()[:60]
    whole = line.endswith(("\n", "\r"))
    try:
        (cells,) = csv.reader([line], strict=whole)
    except csv.Error as error:
        return Row(where, {}, f"{shown!r} cannot be parsed ({error})")
    if not whole:
        # 12 may have been 123: of a line without an end, only the last cell is in doubt.
        certain = dict(zip(header, cells[:-1], strict=False))
        spoilt = f"{shown!r} has no line end, the file may be cut"
        return Row(where, {column: certain.get(column) for column in columns}, spoilt)
    if len(cells) != len(header):
        return Row(where, {}, f"{shown!r} has {len(cells)} cells, the header has {len(header)}")
    found = dict(zip(header, cells, strict=True))
    return Row(where, {column: found[column] for column in columns})


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        fix = "Install pyarrow as pinned by this project, or give the table as .csv.gz"
        raise SourceError(str(path), f"needs pyarrow ({error})", fix) from error

    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            _check_header(str(path), file.schema_arrow.names, columns)
            table = file.read(columns=list(columns))
        values = [table.column(column).to_pylist() for column in columns]
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        # pyarrow reports damage as an OSError too, but only the system gives a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise _unreadable(path, error) from error
        raise _damaged(path, error) from error
    for number, cells in enumerate(zip(*values, strict=True)):
        yield Row(f"{path}:record {number}", dict(zip(columns, cells, strict=True)))


def _damaged(path: Path, error: Exception) -> SourceError:
    why = f"is cut or damaged ({str(error).partition(chr(10))[0]})"
    return SourceError(str(path), why, "Copy the file again; none of it was used")


def _unreadable(path: Path, error: OSError) -> SourceError:
    why = f"cannot be read ({error.strerror or error})"
    return SourceError(str(path), why, "Check the path and its permissions")


def _check_header(where: str, header: Sequence[str], columns: Sequence[str]) -> None:
    """Say which column is missing, twice there or in another unit."""
    if not header:
        raise SourceError(where, "has no header", f"Give the columns {', '.join(columns)}")
    for column in columns:
        if header.count(column) == 1:
            continue
        if column in header:
            raise SourceError(where, f"column {column!r} is there twice", "Keep one of them")
        stem, _, unit = column.rpartition("_")
        cousins = [name for name in header if unit == "wh" and name.startswith(stem)]
        if cousins:
            why = f"column {cousins[0]!r} stands where {column!r} is expected"
            fix = f"Convert it to the energy of the period in whole Wh and call it {column!r}"
        else:
            why = f"column {column!r} is missing, there are {', '.join(map(repr, header))[:200]}"
            fix = f"Give the columns {', '.join(columns)}"
        raise SourceError(where, why, fix)
