"""`pairwise`: least price gap first (Hao Eq. 2; docs/clearing.md, section 6)."""

import numpy as np

from market.clearing.feeder import Feeder, connect, sum_by
from market.clearing.orders import MAX_SEQ, SEQ_BITS, Band, Ints, Orders, eligible
from market.clearing.result import PairClearing, Pairs


def clear_pairwise(orders: Orders, band: Band, feeder: Feeder | None) -> PairClearing:
    """Trade the greatest volume at the least total gap, then cut pairs that lines do not carry.

    Args:
        orders: The book.
        band: Prices at which the period may trade.
        feeder: The lines; None for none.

    Raises:
        FeederError: An order's bus is not on the feeder.
    """
    feeder, bus = connect(orders, feeder)
    merge_order = _merge_order(orders, eligible(orders, band))
    ask, bid, matched = _stack(orders, merge_order)
    ask_limit, bid_limit = orders.limit_uyuan_per_kwh[ask], orders.limit_uyuan_per_kwh[bid]
    first = np.lexsort((bid, ask, bid_limit - ask_limit))
    ask, bid, matched = ask[first], bid[first], matched[first]
    filled = _fit(bus[ask], bus[bid], matched, feeder)
    filled_wh = sum_by(ask, filled, len(orders)) + sum_by(bid, filled, len(orders))
    net = sum_by(bus[ask], filled, len(feeder)) - sum_by(bus[bid], filled, len(feeder))
    price = (orders.limit_uyuan_per_kwh[ask] + orders.limit_uyuan_per_kwh[bid]) // 2
    pairs = Pairs(ask, bid, matched, filled, price)
    return PairClearing(merge_order, pairs, filled_wh, feeder.flows(net))


def _merge_order(orders: Orders, at: Ints) -> Ints:
    """Sort by limit, asks before bids, late asks and early bids first."""
    buys, seq = orders.is_buy[at], orders.seq[at]
    last = np.where(buys, (1 << SEQ_BITS) | seq, MAX_SEQ - seq)
    keys = (orders.limit_uyuan_per_kwh[at] << (SEQ_BITS + 1)) | last
    return at[np.argsort(keys)]


def _stack(orders: Orders, merge_order: Ints) -> tuple[Ints, Ints, Ints]:
    """Push asks, let bids take the top; return asks, bids and energies of the pairs."""
    asks: list[int] = []
    bids: list[int] = []
    energies_wh: list[int] = []
    waiting: list[int] = []
    left_wh: list[int] = []
    columns = (merge_order, orders.is_buy[merge_order], orders.energy_wh[merge_order])
    for order, buys, energy_wh in zip(*(column.tolist() for column in columns), strict=True):
        if not buys:
            waiting.append(order)
            left_wh.append(energy_wh)
            continue
        wanted_wh = energy_wh
        while wanted_wh and waiting:
            top_wh = left_wh[-1]
            asks.append(waiting[-1])
            bids.append(order)
            if top_wh <= wanted_wh:
                energies_wh.append(top_wh)
                wanted_wh -= top_wh
                waiting.pop()
                left_wh.pop()
            else:
                energies_wh.append(wanted_wh)
                left_wh[-1] = top_wh - wanted_wh
                wanted_wh = 0
    pairs = (np.array(column, dtype=np.int64) for column in (asks, bids, energies_wh))
    ask, bid, energy = pairs
    return ask, bid, energy


def _fit(seller_bus: Ints, buyer_bus: Ints, matched_wh: Ints, feeder: Feeder) -> Ints:
    """Let pairs through in their order as far as lines carry the net flow, Wh, ``int64[pairs]``."""
    sold = feeder.flows(sum_by(seller_bus, matched_wh, len(feeder)))
    bought = feeder.flows(sum_by(buyer_bus, matched_wh, len(feeder)))
    lines = feeder.contracted((sold <= feeder.up_wh) & (bought <= feeder.down_wh))
    seller, buyer = lines.zone_of_bus[seller_bus], lines.zone_of_bus[buyer_bus]
    crossing = np.flatnonzero(seller != buyer)
    filled = matched_wh.copy()
    # Room of each line towards the root, then of each away from it; what one gains the other loses.
    room_wh = lines.feeder.up_wh.tolist() + lines.feeder.down_wh.tolist()
    parent = lines.feeder.parent.tolist()
    paths: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    columns = (crossing, seller[crossing], buyer[crossing], matched_wh[crossing])
    for pair, start, end, matched in zip(*(column.tolist() for column in columns), strict=True):
        path = paths.get((start, end))
        if path is None:
            path = paths[start, end] = _path(start, end, parent)
        ahead, back = path
        through_wh = min(matched, min(map(room_wh.__getitem__, ahead)))
        if through_wh:
            for line in ahead:
                room_wh[line] -= through_wh
            for line in back:
                room_wh[line] += through_wh
        filled[pair] = through_wh
    return filled


def _path(start: int, end: int, parent: list[int]) -> tuple[list[int], list[int]]:
    """Lines from one bus to another, as their places among the rooms ahead and among those back."""
    ahead: list[int] = []
    back: list[int] = []
    while start != end:
        # Parents come first, so the end with the higher number is the one below.
        climbs = start > end
        line = start if climbs else end
        ahead.append(line if climbs else line + len(parent))
        back.append(line + len(parent) if climbs else line)
        start, end = (parent[start], end) if climbs else (start, parent[end])
    return ahead, back
