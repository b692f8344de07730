"""What a clearing says, and what follows from it (docs/clearing.md, sections 4-8)."""

from dataclasses import dataclass
from typing import NamedTuple

from market.clearing.orders import Ints, Orders, Rule


class Cut(NamedTuple):
    """The worst accepted order of one side of a zone; better ones are full, worse ones empty.

    Attributes:
        limit_uyuan_per_kwh: Its limit, uyuan/kWh.
        seq: Its order of acceptance.
        part_wh: What it trades, from 1 Wh to all of it.
    """

    limit_uyuan_per_kwh: int
    seq: int
    part_wh: int


class Zone(NamedTuple):
    """Buses joined by lines that do not bind.

    Attributes:
        head_bus: Its lowest bus.
        price_uyuan_per_kwh: What every bid in it pays and every ask gets, uyuan/kWh.
        bid_cut: Its worst accepted bid, None if no bid trades.
        ask_cut: Its worst accepted ask, None if no ask trades.
    """

    head_bus: int
    price_uyuan_per_kwh: int
    bid_cut: Cut | None
    ask_cut: Cut | None


@dataclass(frozen=True, eq=False)
class PoolClearing:
    """A clearing under `planned` or `uniform`.

    Attributes:
        rule: Which of the two.
        planned_uyuan_per_kwh: P_p under `planned`, else None.
        filled_wh: What each order trades, Wh, ``int64[n]``.
        flow_wh: Flow of each line towards the root, Wh, ``int64[buses]``; 0 for the root.
        zone_of_bus: Zone of each bus, ``int64[buses]``.
        zones: The zones, by their lowest bus.
    """

    rule: Rule
    planned_uyuan_per_kwh: int | None
    filled_wh: Ints
    flow_wh: Ints
    zone_of_bus: Ints
    zones: tuple[Zone, ...]

    def amounts_nyuan(self, orders: Orders) -> list[int]:
        """What each order pays (bid) or gets (ask), nano-yuan, exact."""
        price = [zone.price_uyuan_per_kwh for zone in self.zones]
        if len(self.zones) == 1:
            return [filled * price[0] for filled in self.filled_wh.tolist()]
        zone = self.zone_of_bus[orders.bus].tolist()
        return [filled * price[z] for filled, z in zip(self.filled_wh.tolist(), zone, strict=True)]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs by (gap, seq of the ask, seq of the bid).

    Attributes:
        ask: Place of the ask in the book, ``int64[pairs]``.
        bid: Place of the bid in the book, ``int64[pairs]``.
        matched_wh: What the two orders matched, Wh, ``int64[pairs]``.
        filled_wh: What of it the lines let through, Wh, ``int64[pairs]``.
        price_uyuan_per_kwh: What the bid pays and the ask gets, uyuan/kWh, ``int64[pairs]``.
    """

    ask: Ints
    bid: Ints
    matched_wh: Ints
    filled_wh: Ints
    price_uyuan_per_kwh: Ints

    def __len__(self) -> int:
        """Number of pairs, those that lines stop altogether included."""
        return len(self.ask)


@dataclass(frozen=True, eq=False)
class PairClearing:
    """A clearing under `pairwise`.

    Attributes:
        merge_order: Places of all eligible orders in the order they meet the stack, ``int64[m]``.
        pairs: The pairs.
        filled_wh: What each order trades, Wh, ``int64[n]``.
        flow_wh: Flow of each line towards the root, Wh, ``int64[buses]``; 0 for the root.
    """

    merge_order: Ints
    pairs: Pairs
    filled_wh: Ints
    flow_wh: Ints

    @property
    def rule(self) -> Rule:
        """Always `pairwise`."""
        return Rule.PAIRWISE

    def amounts_nyuan(self, orders: Orders) -> list[int]:
        """What each order pays (bid) or gets (ask), nano-yuan, exact."""
        amounts = [0] * len(orders)
        pairs = self.pairs
        columns = (pairs.ask, pairs.bid, pairs.filled_wh, pairs.price_uyuan_per_kwh)
        for ask, bid, filled, price in zip(*(c.tolist() for c in columns), strict=True):
            amounts[ask] += filled * price
            amounts[bid] += filled * price
        return amounts


Clearing = PoolClearing | PairClearing


class Totals(NamedTuple):
    """A clearing in five numbers.

    Attributes:
        volume_wh: What is sold, hence bought, Wh.
        welfare_nyuan: What bids would pay at most less what asks would take at least, nano-yuan.
        paid_nyuan: What buyers pay, nano-yuan.
        received_nyuan: What sellers get, nano-yuan.
        rent_nyuan: The difference, from lines that bind, nano-yuan.
    """

    volume_wh: int
    welfare_nyuan: int
    paid_nyuan: int
    received_nyuan: int
    rent_nyuan: int


def totals(clearing: Clearing, orders: Orders) -> Totals:
    """Sum a clearing over its orders."""
    amounts = clearing.amounts_nyuan(orders)
    columns = (orders.is_buy, clearing.filled_wh, orders.limit_uyuan_per_kwh)
    volume = welfare = paid = received = 0
    rows = zip(*(c.tolist() for c in columns), amounts, strict=True)
    for buys, filled, limit, amount in rows:
        if buys:
            volume += filled
            welfare += filled * limit
            paid += amount
        else:
            welfare -= filled * limit
            received += amount
    return Totals(volume, welfare, paid, received, paid - received)
