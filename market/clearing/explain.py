"""Why an order traded as it did: what a clearing means for it, and which line stopped it.

Under `uniform` and `planned` an order with energy left could trade in two ways: with an order of
the other side that has energy left, too, or in place of one of its own side with less priority. A
clearing being the maximum of docs/clearing.md, section 4, a full line lies between it and each such
order; without any, it is at or beyond the margin. Under `pairwise` the pairs are replayed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from market.clearing.errors import OrdersError
from market.clearing.feeder import Feeder, connect
from market.clearing.orders import Band, Orders, eligible, merit_keys
from market.clearing.result import Clearing, PairClearing


class Why(Enum):
    """What became of the part of an order that did not trade."""

    FULL = "all of it traded"
    CANCELLED = "it was cancelled"
    OUTSIDE_BAND = "its limit lies outside the period's band"
    UNWILLING = "its limit refuses the planned price"
    CROSSES_OWN = "an earlier order of its node crosses it"
    BEYOND_PRICE = "its limit is worse than the price"
    AT_MARGIN = "others with priority took what there was"
    UNMATCHED = "no order was left that its limit reaches"
    BEHIND_LINE = "a line is at its limit"


@dataclass(frozen=True, slots=True)
class Explained:
    """What became of one order.

    Attributes:
        seq: Its order of acceptance.
        sells: Whether it is an ask.
        energy_wh: Its energy.
        limit_uyuan_per_kwh: Its limit.
        filled_wh: What of it trades.
        amount_nyuan: What that gets (ask) or pays (bid).
        zone: Its zone; None under `pairwise`.
        price_uyuan_per_kwh: The price of its zone; under `pairwise` the mean of its pairs, rounded
            down, None without any.
        why: What became of the rest.
        line: The line it is behind, named by the bus below it.
    """

    seq: int
    sells: bool
    energy_wh: int
    limit_uyuan_per_kwh: int
    filled_wh: int
    amount_nyuan: int
    zone: int | None
    price_uyuan_per_kwh: int | None
    why: Why
    line: int | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        side, verb = ("ask", "sells") if self.sells else ("bid", "buys")
        at = f" at {self.price_uyuan_per_kwh}" if self.filled_wh else ""
        price = self.price_uyuan_per_kwh
        known = self.zone is not None and price is not None
        where = f", zone {self.zone} at {price} uyuan/kWh" if known else ""
        rest = self.why.value if self.line is None else f"line {self.line} is at its limit"
        return (
            f"{side} {self.seq}: {self.energy_wh} Wh at {self.limit_uyuan_per_kwh} uyuan/kWh "
            f"{verb} {self.filled_wh} Wh{at}{where}: {rest}"
        )


def explain(
    clearing: Clearing,
    orders: Orders,
    places: Iterable[int],
    *,
    band: Band | None = None,
    feeder: Feeder | None = None,
) -> list[Explained]:
    """Explain some orders of a book.

    Args:
        clearing: The valid clearing of the book.
        orders: The book.
        places: Places of the orders in it.
        band: Prices at which the period may trade, as the clearing had it.
        feeder: Lines, as the clearing had them.

    Raises:
        OrdersError: A place is not in the book.
        FeederError: An order's bus is not on the feeder.
    """
    story = _Story(clearing, orders, band or Band(), feeder)
    return [story.of(place) for place in places]


class _Story:
    """What all explanations of a clearing share."""

    def __init__(
        self, clearing: Clearing, orders: Orders, band: Band, feeder: Feeder | None
    ) -> None:
        self.clearing, self.orders, self.band = clearing, orders, band
        self.lines, self.bus = connect(orders, feeder)
        self.planned = None
        if not isinstance(clearing, PairClearing):
            self.planned = clearing.planned_uyuan_per_kwh
        self.takes_part = np.zeros(len(orders), dtype=np.bool_)
        self.takes_part[eligible(orders, band, self.planned)] = True
        self.key = merit_keys(orders)
        self.amount_nyuan = clearing.amounts_nyuan(orders)
        self.cuts = _cuts(clearing, self.bus.tolist(), self.lines)

    def of(self, place: int) -> Explained:
        orders, clearing = self.orders, self.clearing
        if not 0 <= place < len(orders):
            raise OrdersError(f"place {place} is not in a book of {len(orders)} orders")
        filled_wh, amount = int(clearing.filled_wh[place]), self.amount_nyuan[place]
        zone = price = None
        if not isinstance(clearing, PairClearing):
            zone = int(clearing.zone_of_bus[self.bus[place]])
            price = clearing.zones[zone].price_uyuan_per_kwh
        elif filled_wh:
            price = amount // filled_wh
        why, line = self._why(place, filled_wh, price)
        return Explained(
            int(orders.seq[place]),
            not orders.is_buy[place],
            int(orders.energy_wh[place]),
            int(orders.limit_uyuan_per_kwh[place]),
            filled_wh,
            amount,
            zone,
            price,
            why,
            line,
        )

    def _why(self, place: int, filled_wh: int, price: int | None) -> tuple[Why, int | None]:
        orders = self.orders
        energy_wh, limit = int(orders.energy_wh[place]), int(orders.limit_uyuan_per_kwh[place])
        buys = bool(orders.is_buy[place])
        if energy_wh == 0:
            return Why.CANCELLED, None
        if filled_wh == energy_wh:
            return Why.FULL, None
        if not self.takes_part[place]:
            return self._not_taking_part(limit, buys), None
        if isinstance(self.clearing, PairClearing):
            line = self.cuts.get(place)
            return (Why.UNMATCHED, None) if line is None else (Why.BEHIND_LINE, line)
        line = self._line_before(place)
        if line is not None:
            return Why.BEHIND_LINE, line
        assert price is not None
        beyond = self.planned is None and (limit < price if buys else limit > price)
        return (Why.BEYOND_PRICE if beyond else Why.AT_MARGIN), None

    def _not_taking_part(self, limit: int, buys: bool) -> Why:
        if not self.band.low_uyuan_per_kwh <= limit <= self.band.high_uyuan_per_kwh:
            return Why.OUTSIDE_BAND
        if self.planned is not None and (limit < self.planned if buys else limit > self.planned):
            return Why.UNWILLING
        return Why.CROSSES_OWN

    def _line_before(self, place: int) -> int | None:
        """Return the nearest full line to the best order that this one cannot reach."""
        orders, filled = self.orders, self.clearing.filled_wh
        buys = bool(orders.is_buy[place])
        better = self.key < self.key[place] if buys else self.key > self.key[place]
        left = filled < orders.energy_wh
        others = orders.is_buy != buys
        reachable = self.takes_part & better & np.where(others, left, filled > 0)
        places = np.flatnonzero(reachable)
        if not places.size:
            return None
        key = self.key[places]
        best = int(places[np.argmin(key) if buys else np.argmax(key)])
        own, far = int(self.bus[place]), int(self.bus[best])
        path = _path(far, own, self.lines) if buys else _path(own, far, self.lines)
        flow, up, down = self.clearing.flow_wh, self.lines.up_wh, self.lines.down_wh
        full = [v for v, climbs in path if flow[v] == (up[v] if climbs else -down[v])]
        return full[-1 if buys else 0]


def _path(start: int, end: int, lines: Feeder) -> list[tuple[int, bool]]:
    """Return the lines from one bus to another and whether each is taken towards the root."""
    parent = lines.parent
    climb: list[tuple[int, bool]] = []
    descend: list[tuple[int, bool]] = []
    while start != end:
        # Parents come first, so the end with the higher number is the one below.
        if start > end:
            climb.append((start, True))
            start = int(parent[start])
        else:
            descend.append((end, False))
            end = int(parent[end])
    return climb + descend[::-1]


def _cuts(clearing: Clearing, bus: list[int], lines: Feeder) -> dict[int, int]:
    """Replay the pairs; return the line that first cut each order's pairs."""
    cuts: dict[int, int] = {}
    if not isinstance(clearing, PairClearing):
        return cuts
    up, down = lines.up_wh.tolist(), lines.down_wh.tolist()
    pairs = clearing.pairs
    columns = (pairs.ask, pairs.bid, pairs.matched_wh, pairs.filled_wh)
    for ask, bid, matched, filled in zip(*(c.tolist() for c in columns), strict=True):
        path = _path(bus[ask], bus[bid], lines)
        if filled < matched:
            line, _ = min(path, key=lambda step: up[step[0]] if step[1] else down[step[0]])
            cuts.setdefault(ask, line)
            cuts.setdefault(bid, line)
        for v, climbs in path:
            up[v] -= filled if climbs else -filled
            down[v] += filled if climbs else -filled
    return cuts
