"""Hypothesis strategies for a period: positions, readings, prices.

A case is what really can meet a settlement: positions come from two-sided agreements, so energy and
money sold equal energy and money bought, inside the largest values of SPEC section 2.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from market.bill import Mode
from market.ledger import position_lock_uyuan
from market.prices import UINT32_MAX, PeriodPrices
from market.types import MAX_ENERGY_WH, MeterReading, Options, Position, Quality

# Both sides of every bucket border up to the fourth bucket, so that small sets still span several.
NODE_IDS = (1, 2, 3, 4, 5, 127, 254, 255, 256, 257, 511, 512, 513, 767, 768, 1023)

BEHAVIOURS = (
    "as planned",
    "off by a part",
    "off by a part",
    "anything",
    "everybody short",
    "everybody over",
    "a little off",
    "silent",
)


@dataclass(frozen=True)
class PeriodCase:
    """Everything that settles one period."""

    positions: tuple[Position, ...]
    readings: tuple[MeterReading, ...]
    prices: PeriodPrices
    mode: Mode
    void: bool


def period_prices(largest_uyuan_per_kwh: int = UINT32_MAX) -> st.SearchStrategy[PeriodPrices]:
    """Prices in order, often equal to each other, from nothing to the largest."""
    price = st.one_of(
        st.integers(0, min(1_000_000, largest_uyuan_per_kwh)),
        st.integers(0, largest_uyuan_per_kwh),
        st.sampled_from((0, 1, largest_uyuan_per_kwh)),
    )

    def in_order(trading: list[int], fee: int) -> PeriodPrices:
        feed_in, selling, planned, compensation, retail = sorted(trading)
        return PeriodPrices(feed_in, selling, planned, compensation, retail, fee)

    return st.builds(in_order, st.lists(price, min_size=5, max_size=5), price)


def energies_wh(largest_wh: int = MAX_ENERGY_WH) -> st.SearchStrategy[int]:
    """Energies of a node: none, a household's, a few Wh, the largest."""
    return st.one_of(
        st.just(0),
        st.integers(0, min(9, largest_wh)),
        st.integers(0, min(20_000, largest_wh)),
        st.integers(0, largest_wh),
        st.just(largest_wh),
    )


@st.composite
def positions_of(
    draw: st.DrawFn, nodes: list[int], prices: PeriodPrices, largest_wh: int = MAX_ENERGY_WH
) -> list[Position]:
    """Positions of some of the nodes, summed over agreements; others only declare options.

    A node may sell and buy. Trades that would exceed the largest energy are left out. Prices lie in
    the band between selling and compensation price; a buyer behind a binding line pays more.
    """
    price = st.integers(prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh)
    trade = st.tuples(
        st.sampled_from(nodes),
        st.sampled_from(nodes),
        energies_wh(largest_wh),
        st.one_of(price.map(lambda p: (p, p)), st.tuples(price, price).map(sorted)),
    )
    sold = dict.fromkeys(nodes, 0)
    bought = dict.fromkeys(nodes, 0)
    receive = dict.fromkeys(nodes, 0)
    pay = dict.fromkeys(nodes, 0)
    traders = set(draw(st.lists(st.sampled_from(nodes), max_size=3)))
    fewest = draw(st.sampled_from((0, 1, len(nodes))))
    for seller, buyer, energy_wh, (low, high) in draw(
        st.lists(trade, min_size=fewest, max_size=2 * len(nodes))
    ):
        fits = sold[seller] + energy_wh <= largest_wh and bought[buyer] + energy_wh <= largest_wh
        if seller == buyer or not fits:
            continue
        traders |= {seller, buyer}
        sold[seller] += energy_wh
        bought[buyer] += energy_wh
        receive[seller] += energy_wh * low
        pay[buyer] += energy_wh * high
    positions = []
    any_options = st.one_of(
        st.just(Options.RESERVE | Options.OFFER | Options.TAKE), st.integers(0, 7).map(Options)
    )
    for node in sorted(traders):
        options = draw(any_options)
        unlocked = Position(
            node, options, sold[node], bought[node], receive[node], pay[node], locked_uyuan=0
        )
        lock_uyuan = position_lock_uyuan(unlocked, prices)
        positions.append(
            Position(node, options, sold[node], bought[node], receive[node], pay[node], lock_uyuan)
        )
    return positions


@st.composite
def readings_of(
    draw: st.DrawFn,
    nodes: list[int],
    positions: list[Position],
    largest_wh: int = MAX_ENERGY_WH,
) -> list[MeterReading]:
    """Readings of some of the nodes: measured, substituted or missing, traders or not."""
    behaviour = draw(st.sampled_from(BEHAVIOURS))
    plan_of = {position.node: position for position in positions}
    readings = []
    for node in nodes:
        plan = plan_of.get(node, Position(node))
        export_wh, import_wh = plan.sold_wh, plan.bought_wh
        less, more = draw(energies_wh(largest_wh)), draw(energies_wh(largest_wh))
        if behaviour == "everybody short":
            export_wh, import_wh = export_wh - less, import_wh + more
        elif behaviour == "everybody over":
            export_wh, import_wh = export_wh + more, import_wh - less
        elif behaviour == "off by a part":
            part_wh = max(plan.sold_wh, plan.bought_wh, 6) // 2
            export_wh += draw(st.integers(-part_wh, part_wh))
            import_wh += draw(st.integers(-part_wh, part_wh))
        elif behaviour != "as planned":
            export_wh, import_wh = less, more
        kinds = ("missing", "substituted") if behaviour == "silent" else ("measured",) * 4
        kind = draw(st.sampled_from((*kinds, "substituted", "missing")))
        if behaviour == "as planned":
            kind = "measured"
        if kind != "missing":
            quality = Quality.SUBSTITUTED if kind == "substituted" else Quality.MEASURED
            readings.append(
                MeterReading(
                    node, quality, _clip(export_wh, largest_wh), _clip(import_wh, largest_wh)
                )
            )
    return readings


@st.composite
def period_cases(
    draw: st.DrawFn,
    max_nodes: int = 10,
    largest_wh: int = MAX_ENERGY_WH,
    largest_uyuan_per_kwh: int = UINT32_MAX,
) -> PeriodCase:
    """A whole period with nodes in several buckets, in shuffled order."""
    count = draw(st.one_of(st.integers(1, max_nodes), st.integers(min(3, max_nodes), max_nodes)))
    nodes = sorted(draw(st.permutations(NODE_IDS))[:count])
    prices = draw(period_prices(largest_uyuan_per_kwh))
    positions = draw(positions_of(nodes, prices, largest_wh))
    readings = draw(readings_of(nodes, positions, largest_wh))
    return PeriodCase(
        positions=tuple(draw(st.permutations(positions))),
        readings=tuple(draw(st.permutations(readings))),
        prices=prices,
        mode=draw(st.sampled_from(Mode)),
        void=draw(st.sampled_from((False, False, False, True))),
    )


def _clip(energy_wh: int, largest_wh: int) -> int:
    return min(max(energy_wh, 0), largest_wh)
