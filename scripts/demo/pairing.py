"""From forecasts to bilateral agreements, in node order; a market's matching replaces this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """One seller, one buyer, and the energy between them in Wh."""

    seller: int
    buyer: int
    energy_wh: int


def pair(
    exports_wh: Iterable[tuple[int, int]], imports_wh: Iterable[tuple[int, int]]
) -> list[Pair]:
    """Serve buyers from sellers, both in the order given, until one side has nothing left.

    Args:
        exports_wh: Sellers and the energy they expect to feed in.
        imports_wh: Buyers and the energy they expect to draw.

    Returns:
        At most one pair per seller and buyer, in order, none without energy.
    """
    sellers = [[node, wh] for node, wh in exports_wh if wh]
    buyers = [[node, wh] for node, wh in imports_wh if wh]
    pairs: list[Pair] = []
    s = b = 0
    while s < len(sellers) and b < len(buyers):
        energy_wh = min(sellers[s][1], buyers[b][1])
        pairs.append(Pair(sellers[s][0], buyers[b][0], energy_wh))
        sellers[s][1] -= energy_wh
        buyers[b][1] -= energy_wh
        s += not sellers[s][1]
        b += not buyers[b][1]
    return pairs
