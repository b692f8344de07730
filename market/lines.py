"""The lines of a feeder as the `Grid` contract packs them, and what bounds them in a period.

Buses are numbered with parents first, as `Tree.buses` has them: bus 0 is the root, line v joins bus
v to its parent. Numbers are big-endian, energies Wh of a period:

    table, lines (10 bytes a bus, from bus 0)   parent 2, up 4, down 4
    headroom      (8 bytes a bus, from bus 1)   up 4, down 4
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from market.clearing import Feeder
from market.grid import GridError, IntArray, Tree

BUS_BYTES = 10
LIMITS_BYTES = 8
MOST_WH = 2**32 - 1
MOST_BUSES = 2_453
"""What fits into the code of a contract."""

SINGLE_BUS = bytes(BUS_BYTES)
"""The table of a market without wires."""


class Derate(NamedTuple):
    """A limit the committee's vote lowered for a period, Wh."""

    line: int
    up: bool
    limit_wh: int


class Lines(NamedTuple):
    """Parents and limits by bus; those of the root are 0.

    Attributes:
        parent: Parent of each bus, shape (buses,).
        up_wh: Limit towards the root, Wh, shape (buses,).
        down_wh: Limit away from it, likewise.
    """

    parent: IntArray
    up_wh: IntArray
    down_wh: IntArray

    @classmethod
    def unpack(cls, packed: bytes) -> Lines:
        """Read a table, or what `Grid.linesOf` returns.

        Raises:
            GridError: If it is no whole number of records.
        """
        if not packed or len(packed) % BUS_BYTES:
            raise GridError(f"{len(packed)} bytes are no lines: they come in records of 10")
        raw = np.frombuffer(packed, dtype=_RECORD)
        return cls(*(raw[name].astype(np.int64) for name in ("parent", "up", "down")))

    def pack(self) -> bytes:
        """Return the bytes."""
        raw = np.zeros(len(self.parent), dtype=_RECORD)
        raw["parent"], raw["up"], raw["down"] = self
        return raw.tobytes()

    def with_headroom(self, headroom: bytes) -> Lines:
        """Return the lines of a period with a headroom in place of the static limits.

        Raises:
            GridError: If it is of another feeder.
        """
        if len(headroom) != LIMITS_BYTES * (len(self.parent) - 1):
            raise GridError(
                f"a headroom of {len(headroom)} bytes is not for {len(self.parent)} buses"
            )
        limits = np.frombuffer(headroom, dtype=">u4").astype(np.int64).reshape(-1, 2)
        up_wh, down_wh = np.insert(limits, 0, 0, axis=0).T
        return Lines(self.parent, up_wh, down_wh)

    def derated(self, derates: Iterable[Derate]) -> Lines:
        """Return the lines with lower limits where votes lowered them."""
        up_wh, down_wh = self.up_wh.copy(), self.down_wh.copy()
        for line, up, limit_wh in derates:
            side = up_wh if up else down_wh
            side[line] = min(int(side[line]), limit_wh)
        return Lines(self.parent, up_wh, down_wh)

    def limit_wh(self, line: int, *, up: bool) -> int:
        """Return the limit of one line in one direction."""
        return int((self.up_wh if up else self.down_wh)[line])

    def feeder(self) -> Feeder:
        """Return what a clearing engine takes."""
        return Feeder(*self)


_RECORD = np.dtype([("parent", ">u2"), ("up", ">u4"), ("down", ">u4")])


def table_of(tree: Tree, period_s: int) -> bytes:
    """Return the table a feeder is deployed with: every line with its static limits.

    Args:
        tree: The feeder.
        period_s: Length of a period in seconds.

    Raises:
        GridError: If it has more buses than fit a contract, or a limit too large for its field.
    """
    if len(tree.buses) > MOST_BUSES:
        raise GridError(
            f"grid {tree.net!r} has {len(tree.buses)} buses, a market holds {MOST_BUSES}: "
            "join the buses no trade needs to tell apart"
        )
    limits_wh = (0, *tree.limits_wh(period_s))
    if max(limits_wh) > MOST_WH:
        raise GridError(
            f"a line of grid {tree.net!r} may carry {max(limits_wh)} Wh in {period_s} s, more "
            f"than {MOST_WH}: its limit is wrong or the period too long"
        )
    limits = np.array(limits_wh, dtype=np.int64)
    return Lines(np.array(tree.parents, dtype=np.int64), limits, limits).pack()


def pack_headroom(up_wh: Sequence[int] | IntArray, down_wh: Sequence[int] | IntArray) -> bytes:
    """Pack a headroom.

    Args:
        up_wh: Energy towards the root by line, from line 1, Wh.
        down_wh: Energy away from it, likewise.

    Raises:
        GridError: If a value does not fit its field.
    """
    pairs = np.array([up_wh, down_wh], dtype=np.int64).T
    if pairs.size and not 0 <= pairs.min() <= pairs.max() <= MOST_WH:
        raise GridError(f"headroom from {pairs.min()} to {pairs.max()} Wh: give 0 to {MOST_WH}")
    return pairs.astype(">u4").tobytes()
