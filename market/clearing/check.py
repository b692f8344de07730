"""Accepts the one valid clearing of a book, in one pass per step and without a sort.

Written from docs/clearing.md and not from the engine: plain integers, order by order, as the
contracts check it. What the engine sorted comes as a claim whose order is only compared.
"""

from typing import NamedTuple

from market.clearing.errors import InvalidClearing
from market.clearing.feeder import Feeder
from market.clearing.orders import Band, Orders, Rule
from market.clearing.result import Clearing, Cut, PairClearing, PoolClearing

_Key = tuple[int, int, int]
"""Limit, side, place among equals (section 3)."""


class _Order(NamedTuple):
    node: int
    bus: int
    buys: bool
    energy_wh: int
    limit: int
    seq: int

    @property
    def key(self) -> _Key:
        return (self.limit, 1, -self.seq) if self.buys else (self.limit, 0, self.seq)


class _Lines(NamedTuple):
    parent: list[int]
    up_wh: list[int]
    down_wh: list[int]


def check(
    rule: Rule,
    orders: Orders,
    clearing: Clearing,
    *,
    band: Band | None = None,
    feeder: Feeder | None = None,
    planned_uyuan_per_kwh: int | None = None,
) -> None:
    """Refuse every clearing but the valid one; the arguments are those of ``clear``.

    Raises:
        InvalidClearing: A rule of docs/clearing.md is broken; names the order where there is one.
    """
    band = band or Band()
    if clearing.rule is not rule:
        raise InvalidClearing(f"the rule is {rule.value}, not {clearing.rule.value}")
    book = _rows(orders, feeder)
    lines = _Lines([0], [0], [0])
    if feeder is not None:
        lines = _Lines(feeder.parent.tolist(), feeder.up_wh.tolist(), feeder.down_wh.tolist())
    takes_part = _eligible(book, band, planned_uyuan_per_kwh)
    if isinstance(clearing, PoolClearing):
        if clearing.planned_uyuan_per_kwh != planned_uyuan_per_kwh:
            raise InvalidClearing(f"P_p is {planned_uyuan_per_kwh}")
        filled = _check_pool(book, takes_part, lines, clearing, band)
    else:
        filled = _check_pairs(book, takes_part, lines, clearing)
    _check_fills(book, filled, clearing.filled_wh.tolist())
    flow = _flows(book, filled, lines)
    if flow != clearing.flow_wh.tolist():
        raise InvalidClearing(f"the flows are {flow}")


def _rows(orders: Orders, feeder: Feeder | None) -> list[_Order]:
    columns = (
        orders.node,
        orders.bus if feeder else orders.bus * 0,
        orders.is_buy,
        orders.energy_wh,
        orders.limit_uyuan_per_kwh,
        orders.seq,
    )
    return [_Order(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _eligible(book: list[_Order], band: Band, planned: int | None) -> list[bool]:
    """Section 2, in the order of acceptance."""
    highest_bid: dict[int, int] = {}
    lowest_ask: dict[int, int] = {}
    takes_part = []
    for order in book:
        node, limit = order.node, order.limit
        willing = planned is None or (limit >= planned if order.buys else limit <= planned)
        if (
            not willing
            or order.energy_wh == 0
            or not band.low_uyuan_per_kwh <= limit <= band.high_uyuan_per_kwh
        ):
            takes_part.append(False)
        elif order.buys:
            takes_part.append(limit < lowest_ask.get(node, limit + 1))
            highest_bid[node] = max(limit, highest_bid.get(node, limit))
        else:
            takes_part.append(limit > highest_bid.get(node, limit - 1))
            lowest_ask[node] = min(limit, lowest_ask.get(node, limit))
    return takes_part


def _check_fills(book: list[_Order], filled: list[int], claimed: list[int]) -> None:
    if len(claimed) != len(filled):
        raise InvalidClearing(f"it fills {len(claimed)} orders, the book has {len(filled)}")
    for order, right, claim in zip(book, filled, claimed, strict=True):
        if right != claim:
            raise InvalidClearing(f"it trades {right} Wh, not {claim}", order.seq)


def _flows(book: list[_Order], filled: list[int], lines: _Lines) -> list[int]:
    """Sum what is sold less what is bought below each line; the whole must be 0."""
    flow = [0] * len(lines.parent)
    for order, energy in zip(book, filled, strict=True):
        flow[order.bus] += -energy if order.buys else energy
    for bus in range(len(flow) - 1, 0, -1):
        flow[lines.parent[bus]] += flow[bus]
        if not -lines.down_wh[bus] <= flow[bus] <= lines.up_wh[bus]:
            raise InvalidClearing(f"line {bus} carries {flow[bus]} Wh, beyond its headroom")
    if flow[0] != 0:
        raise InvalidClearing(f"it sells {flow[0]} Wh more than it buys")
    return flow


def _check_pool(
    book: list[_Order], takes_part: list[bool], lines: _Lines, claim: PoolClearing, band: Band
) -> list[int]:
    """Sections 4 and 5: cuts, zones, the proof and the prices. Returns what each order trades."""
    zone_of_bus = claim.zone_of_bus.tolist()
    zones = claim.zones
    if len(zone_of_bus) != len(lines.parent):
        raise InvalidClearing(f"it places {len(zone_of_bus)} buses of {len(lines.parent)} in zones")
    if not all(0 <= zone < len(zones) for zone in zone_of_bus):
        raise InvalidClearing("it places a bus in a zone it does not have")
    lowest, highest = (band.low_uyuan_per_kwh, -1, 0), (band.high_uyuan_per_kwh, 2, 0)
    low: list[_Key] = [lowest] * len(zones)
    high: list[_Key] = [highest] * len(zones)
    met: set[tuple[int, bool]] = set()
    filled = []
    for order, eligible in zip(book, takes_part, strict=True):
        zone = zone_of_bus[order.bus]
        cut = zones[zone].bid_cut if order.buys else zones[zone].ask_cut
        energy = _by_cut(order, cut) if eligible else 0
        filled.append(energy)
        if not eligible:
            continue
        if cut is not None and cut.seq == order.seq:
            met.add((zone, order.buys))
        # Not `elif`: a partial order bounds the price on both sides.
        if energy > 0:
            _bound(low, high, zone, order.key, above=order.buys)
        if energy < order.energy_wh:
            _bound(low, high, zone, order.key, above=not order.buys)
    for number, zone_claim in enumerate(zones):
        for buys, cut in ((True, zone_claim.bid_cut), (False, zone_claim.ask_cut)):
            if cut is not None and (number, buys) not in met:
                raise InvalidClearing(f"it is no eligible order of zone {number}", cut.seq)
    flow = _flows(book, filled, lines)
    edges = _check_zones(lines, flow, claim)
    _check_proof(low, high, edges)
    for number, zone_claim in enumerate(zones):
        price = (low[number][0] + high[number][0]) // 2
        if claim.planned_uyuan_per_kwh is not None:
            price = claim.planned_uyuan_per_kwh
        if zone_claim.price_uyuan_per_kwh != price:
            raise InvalidClearing(f"the price of zone {number} is {price}")
    return filled


def _by_cut(order: _Order, cut: Cut | None) -> int:
    if cut is None:
        return 0
    if cut.seq == order.seq:
        if cut.limit_uyuan_per_kwh != order.limit or not 1 <= cut.part_wh <= order.energy_wh:
            raise InvalidClearing("the cut misstates its limit or takes more than it has", cut.seq)
        return cut.part_wh
    if order.buys:
        better = (order.limit, -order.seq) > (cut.limit_uyuan_per_kwh, -cut.seq)
    else:
        better = (order.limit, order.seq) < (cut.limit_uyuan_per_kwh, cut.seq)
    return order.energy_wh if better else 0


def _bound(low: list[_Key], high: list[_Key], zone: int, key: _Key, *, above: bool) -> None:
    """Note that the marginal key of a zone is at most (`above`) or at least `key`."""
    if above:
        high[zone] = min(high[zone], key)
    else:
        low[zone] = max(low[zone], key)


def _check_zones(lines: _Lines, flow: list[int], claim: PoolClearing) -> list[tuple[int, int]]:
    """Check that zones end where lines bind; return (upstream, downstream), leaves last."""
    zone_of_bus = claim.zone_of_bus.tolist()
    edges = []
    count = 0
    for bus, parent in enumerate(lines.parent):
        full_up, full_down = flow[bus] == lines.up_wh[bus], flow[bus] == -lines.down_wh[bus]
        if bus and not (full_up or full_down):
            right = zone_of_bus[parent]
        else:
            right = count
            count += 1
            if right >= len(claim.zones) or claim.zones[right].head_bus != bus:
                raise InvalidClearing(f"bus {bus} is not the head of zone {right}")
            if bus and full_up != full_down:
                up, down = (right, zone_of_bus[parent]), (zone_of_bus[parent], right)
                edges.append(up if full_up else down)
        if zone_of_bus[bus] != right:
            raise InvalidClearing(f"bus {bus} is in zone {right}, not {zone_of_bus[bus]}")
    if count != len(claim.zones):
        raise InvalidClearing(f"there are {count} zones, not {len(claim.zones)}")
    return edges


def _check_proof(low: list[_Key], high: list[_Key], edges: list[tuple[int, int]]) -> None:
    for ordered in (edges[::-1], edges):
        for upstream, downstream in ordered:
            low[downstream] = max(low[downstream], low[upstream])
            high[upstream] = min(high[upstream], high[downstream])
    for least, most in zip(low, high, strict=True):
        if least > most:
            raise InvalidClearing(
                f"it outranks order {abs(most[2])} or leaves it out wrongly", abs(least[2])
            )


def _check_pairs(
    book: list[_Order], takes_part: list[bool], lines: _Lines, claim: PairClearing
) -> list[int]:
    """Section 6: replay the stack, then the pairs. Returns what each order trades."""
    matched = _replay(book, takes_part, claim.merge_order.tolist())
    pairs = claim.pairs
    columns = (pairs.ask, pairs.bid, pairs.matched_wh, pairs.filled_wh, pairs.price_uyuan_per_kwh)
    if {len(column) for column in columns} != {len(matched)}:
        raise InvalidClearing(f"there are {len(matched)} pairs")
    up, down = list(lines.up_wh), list(lines.down_wh)
    filled = [0] * len(book)
    previous = (-1, -1, -1)
    for ask, bid, energy, through, price in zip(*(c.tolist() for c in columns), strict=True):
        if matched.get((ask, bid)) != energy:
            raise InvalidClearing("its pair does not match so", _seq(book, bid))
        seller, buyer = book[ask], book[bid]
        key = (buyer.limit - seller.limit, seller.seq, buyer.seq)
        if key <= previous:
            raise InvalidClearing("its pair comes too late or twice", buyer.seq)
        previous = key
        if price != (buyer.limit + seller.limit) // 2:
            raise InvalidClearing("its pair has another price", buyer.seq)
        path = _path(seller.bus, buyer.bus, lines.parent)
        room = min([energy, *(up[v] if climbs else down[v] for v, climbs in path)])
        if through != room:
            raise InvalidClearing(f"the lines let {room} Wh of its pair through", buyer.seq)
        for v, climbs in path:
            up[v] -= room if climbs else -room
            down[v] += room if climbs else -room
        filled[ask] += room
        filled[bid] += room
    return filled


def _seq(book: list[_Order], place: int) -> int | None:
    return book[place].seq if 0 <= place < len(book) else None


def _replay(
    book: list[_Order], takes_part: list[bool], merge_order: list[int]
) -> dict[tuple[int, int], int]:
    if len(merge_order) != sum(takes_part):
        raise InvalidClearing(f"{sum(takes_part)} orders take part, not {len(merge_order)}")
    matched: dict[tuple[int, int], int] = {}
    stack: list[tuple[int, int]] = []
    previous: _Key = (-1, 0, 0)
    for place in merge_order:
        if not 0 <= place < len(book) or not takes_part[place]:
            raise InvalidClearing("it does not take part", _seq(book, place))
        order = book[place]
        key = (order.limit, int(order.buys), order.seq if order.buys else -order.seq)
        if key <= previous:
            raise InvalidClearing("it is merged too late or twice", order.seq)
        previous = key
        if not order.buys:
            stack.append((place, order.energy_wh))
            continue
        wanted = order.energy_wh
        while wanted and stack:
            ask, left = stack.pop()
            taken = min(left, wanted)
            matched[ask, place] = taken
            wanted -= taken
            if left > taken:
                stack.append((ask, left - taken))
    return matched


def _path(start: int, end: int, parent: list[int]) -> list[tuple[int, bool]]:
    """Lines from one bus to another, and whether each is taken towards the root."""
    path = []
    while start != end:
        climbs = start > end
        path.append((start if climbs else end, climbs))
        start, end = (parent[start], end) if climbs else (start, parent[end])
    return path
