"""What planning to deviate earns, in money: each known trick against the same member being honest.

A village of random members plays one period twice, once with the trick and once without, everything
else equal. The gain is the difference of the trickster's nets (both accounts, where it has two),
per kWh at stake. Positive gains are residuals and are explained in SPEC section 9.

    python -m scripts.bench.gaming
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from market.clearing import Band, Orders, Rule, clear
from market.prices import PeriodPrices
from market.settlement import settle
from market.types import MeterReading, Options, Position, Quality

PRICES = PeriodPrices(
    feed_in_uyuan_per_kwh=100_000,
    selling_uyuan_per_kwh=329_700,
    planned_uyuan_per_kwh=437_900,
    compensation_uyuan_per_kwh=535_900,
    retail_uyuan_per_kwh=800_000,
    fee_uyuan_per_kwh=20_000,
)
"""Peng's Table V with a grid company around it and a small fee."""

BAND = Band(PRICES.selling_uyuan_per_kwh, PRICES.compensation_uyuan_per_kwh)
TRICKSTER, PARTNER = 1, 2
STAKE_WH = 5_000
ALL = Options.RESERVE | Options.OFFER | Options.TAKE
VILLAGES = 200


class Wish(NamedTuple):
    """One order."""

    node: int
    buys: bool
    energy_wh: int
    limit_uyuan_per_kwh: int


@dataclass(frozen=True)
class Play:
    """What one member, or two of one owner, do in a period.

    Attributes:
        wishes: Their orders.
        meters: What their meters read, by node: export and import, Wh.
    """

    wishes: Sequence[Wish] = ()
    meters: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def sells(energy_wh: int, node: int = TRICKSTER) -> Wish:
    """An ask that takes any price."""
    return Wish(node, False, energy_wh, BAND.low_uyuan_per_kwh)


def buys(energy_wh: int, node: int = TRICKSTER) -> Wish:
    """A bid that pays any price."""
    return Wish(node, True, energy_wh, BAND.high_uyuan_per_kwh)


Q = STAKE_WH
TRICKS: dict[str, tuple[Play, Play]] = {
    "naked seller": (Play(), Play([sells(Q)])),
    "naked buyer": (Play(), Play([buys(Q)])),
    "least order, rest as reserve": (
        Play([sells(Q)], {TRICKSTER: (Q, 0)}),
        Play([sells(10)], {TRICKSTER: (Q, 0)}),
    ),
    "over-ordering reserve": (
        Play([buys(Q)], {TRICKSTER: (0, Q)}),
        Play([buys(2 * Q)], {TRICKSTER: (0, Q)}),
    ),
    "two-account wash": (
        Play([buys(Q)], {TRICKSTER: (0, Q)}),
        Play([sells(Q, PARTNER), buys(2 * Q)], {TRICKSTER: (0, Q)}),
    ),
    "taker plans five sixths": (
        Play([buys(Q)], {TRICKSTER: (0, Q)}),
        Play([buys(Q - Q // 6)], {TRICKSTER: (0, Q)}),
    ),
}
"""Name, honest play, trick."""

RIGHTEOUS = ("naked seller", "naked buyer", "over-ordering reserve")
"""Tricks that never gain, whatever the others do: a theorem, held by the property tests."""


def village(rng: np.random.Generator, members: int = 24) -> Play:
    """Draw members who order what they expect and deliver something near it."""
    wishes, meters = [], {}
    for node in range(PARTNER + 1, PARTNER + 1 + members):
        planned_wh = int(rng.integers(200, 8_000))
        limit = int(rng.integers(BAND.low_uyuan_per_kwh, BAND.high_uyuan_per_kwh + 1))
        consumes = bool(rng.random() < 0.5)
        wishes.append(Wish(node, consumes, planned_wh, limit))
        actual_wh = max(0, round(planned_wh * rng.normal(1.0, 0.25)))
        meters[node] = (0, actual_wh) if consumes else (actual_wh, 0)
    rng.shuffle(wishes)
    return Play([Wish(*wish) for wish in wishes], meters)


def net_uyuan(rule: Rule, others: Play, own: Play, prices: PeriodPrices = PRICES) -> int:
    """What the trickster's accounts net in a period, fees included, micro-yuan."""
    positions = cleared(rule, [*own.wishes, *others.wishes], prices)
    meters = {**dict.fromkeys((TRICKSTER, PARTNER), (0, 0)), **others.meters, **own.meters}
    readings = [MeterReading(node, Quality.MEASURED, *wh) for node, wh in meters.items()]
    nets = settle(positions, readings, prices).nets_uyuan
    return nets[TRICKSTER] + nets[PARTNER]


def cleared(rule: Rule, wishes: Sequence[Wish], prices: PeriodPrices) -> list[Position]:
    """Clear a book without wires into one position per node; everybody has every option."""
    columns = [np.array(c) for c in zip(*wishes, strict=True)] or [np.zeros(0, dtype=np.int64)] * 4
    node, is_buy, energy, limit = columns
    orders = Orders(node, 0 * node, is_buy.astype(np.bool_), energy, limit, np.arange(len(node)))
    band = Band(prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh)
    planned = prices.planned_uyuan_per_kwh if rule is Rule.PLANNED else None
    result = clear(rule, orders, band=band, planned_uyuan_per_kwh=planned)
    sums = {int(n): [0, 0, 0, 0] for n in node}
    fills = zip(wishes, result.filled_wh.tolist(), result.amounts_nyuan(orders), strict=True)
    for wish, filled_wh, amount_nyuan in fills:
        side = 1 if wish.buys else 0
        sums[wish.node][side] += filled_wh
        sums[wish.node][2 + side] += amount_nyuan
    return [Position(n, ALL, *values) for n, values in sums.items()]


def gains_uyuan_per_kwh(
    rule: Rule, trick: str, villages: int = VILLAGES, seed: int = 1
) -> list[float]:
    """Play a trick in random villages; return its gain in each, micro-yuan per kWh at stake."""
    honest, tricky = TRICKS[trick]
    rng = np.random.default_rng(seed)
    gains = []
    for _ in range(villages):
        others = village(rng)
        gain = net_uyuan(rule, others, tricky) - net_uyuan(rule, others, honest)
        gains.append(gain * 1000 / STAKE_WH)
    return gains


def table(play: Callable[[Rule, str], list[float]] = gains_uyuan_per_kwh) -> str:
    """Return the page's table: mean and highest gain per rule, yuan per kWh."""
    lines = [
        f"Yuan per kWh at stake, mean and highest of {VILLAGES} random villages of 24 members at "
        "Peng's prices and a fee of 0.02.",
        "",
        "| trick | " + " | ".join(f"{rule.value}, mean | highest" for rule in Rule) + " |",
        "|---|" + "---:|" * 6,
    ]
    for trick in TRICKS:
        cells = []
        for rule in Rule:
            gains = play(rule, trick)
            cells += [f"{sum(gains) / len(gains) / 1e6:+.3f}", f"{max(gains) / 1e6:+.3f}"]
        lines.append(f"| {trick} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
