"""Prices from a CSV file, read again whenever it changes."""

from __future__ import annotations

import stat
from pathlib import Path

from oracle import log
from oracle.prices.formats import MOST_BYTES, FeedError, read_csv
from oracle.prices.source import Known


class PriceFile:
    """A CSV file of prices; a bad new one leaves those before in force.

    Attributes:
        known: The prices in force; published when the file was written.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            FeedError: If it cannot be read or a row is bad; names file, line and column.
        """
        self._path = path
        self._stamp = self._stamped()
        self._failing = False
        self.known: Known | None = self._read()

    def look(self) -> None:
        """Read the file again if it has changed."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.known = self._read()
        except FeedError as exc:
            self._failing = True
            log.warning("price feed fails", feed=self._path, problem=exc)
            return
        log.info("price feed is back" if self._failing else "prices read", feed=self._path)
        self._failing = False

    def renewed(self, _proposal: bytes, /) -> bool:
        """Return True: every look sees the file as it is."""
        return True

    def _stamped(self) -> tuple[int, ...] | None:
        """Return what tells one state of the file from another, None if it is not there."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> Known:
        try:
            found = self._path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise FeedError(f"{self._path} cannot be read (it is no file); give a CSV file")
            with self._path.open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
        except OSError as exc:
            problem = f"{self._path} cannot be read ({exc.strerror}); give a CSV file"
            raise FeedError(problem) from exc
        return Known(read_csv(raw, str(self._path)).prices, int(found.st_mtime))
