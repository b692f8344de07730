"""Files made whole before they are put in place, among them SQLite files that others write."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path


def copy(source: sqlite3.Connection, target: Path) -> Path:
    """Copy a database as of one instant, into a file beside where it is to be.

    Args:
        source: The database; others may write it.
        target: Where the copy is to be once it is found good.

    Returns:
        The copy, one file alone, for `put`.

    Raises:
        sqlite3.Error: If it cannot be read or written.
        OSError: Likewise.
    """
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part)) as made:
        source.backup(made)
        made.execute("PRAGMA journal_mode = DELETE")
    return part


def put(part: Path, target: Path, *, aside: bool = False) -> None:
    """Put a finished file in place of another, so that no power cut leaves half of it.

    Args:
        part: The finished file.
        target: Where to.
        aside: Whether what was there is kept, as `*.replaced`.

    Raises:
        OSError: If it cannot be put there.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    if aside and target.exists():
        # The file before its log: without it the last of what was written would be missing.
        for rest in ("", "-wal"):
            there, kept = target.with_name(target.name + rest), f"{target.name}.replaced{rest}"
            if there.exists():
                os.replace(there, target.with_name(kept))
            else:
                target.with_name(kept).unlink(missing_ok=True)
    for rest in ("-wal", "-shm"):
        target.with_name(target.name + rest).unlink(missing_ok=True)
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def damage(db: sqlite3.Connection) -> str | None:
    """Return what is wrong with the pages and indexes of a database, None if nothing is."""
    try:
        (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as exc:
        return str(exc)
    return None if found == "ok" else str(found)
