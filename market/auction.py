"""One period's clearing, with all it depends on: what keeper, seat and member compute alike.

Pure: whoever has read the same book, prices and lines from the chain arrives at the same clearing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from market.clearing import (
    Band,
    Clearing,
    Explained,
    Feeder,
    Orders,
    Rule,
    check,
    clear,
    explain,
)
from market.prices import Limits, PeriodPrices


def trading_band(prices: PeriodPrices, limits: Limits | None = None) -> Band:
    """Return the prices at which a period may trade: P_s to P_c, within F_min to F_max.

    Args:
        prices: The period's prices.
        limits: The market's bounds; None for none.

    Raises:
        OrdersError: Nothing lies within both.
    """
    low, high = prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh
    if limits is not None:
        low = max(low, limits.trade_floor_uyuan_per_kwh)
        high = min(high, limits.trade_ceiling_uyuan_per_kwh)
    return Band(low, high)


def room_beside(feeder: Feeder, agreed_wh: Mapping[int, int]) -> Feeder:
    """Return what lines leave to orders when agreements have flowed first (SPEC section 10).

    Args:
        feeder: What the lines may carry.
        agreed_wh: What agreements sell less what they buy by bus, Wh; an unknown bus counts as the
            root.
    """
    net = np.zeros(len(feeder), dtype=np.int64)
    for bus, energy_wh in agreed_wh.items():
        net[bus if bus < len(feeder) else 0] += energy_wh
    agreed = feeder.flows(net)
    agreed[0] = 0
    return replace(
        feeder,
        up_wh=np.maximum(feeder.up_wh - agreed, 0),
        down_wh=np.maximum(feeder.down_wh + agreed, 0),
    )


@dataclass(frozen=True, eq=False)
class Auction:
    """A book, and what its clearing depends on besides it.

    Attributes:
        rule: The market's rule.
        orders: The book; every bus is on the feeder.
        band: Prices at which the period may trade.
        feeder: What the lines leave to orders.
        planned_uyuan_per_kwh: P_p under `planned`, else None.
    """

    rule: Rule
    orders: Orders
    band: Band
    feeder: Feeder
    planned_uyuan_per_kwh: int | None = None

    @classmethod
    def of(
        cls,
        rule: Rule,
        orders: Orders,
        prices: PeriodPrices,
        feeder: Feeder | None = None,
        *,
        limits: Limits | None = None,
        agreed_wh: Mapping[int, int] | None = None,
    ) -> Self:
        """Take the terms from a period's prices, as the contracts do.

        Args:
            rule: The market's rule.
            orders: The book; an order whose bus is not on the feeder counts at the root.
            prices: The period's prices.
            feeder: What the lines may carry in the period; None for no lines.
            limits: The market's bounds; None for none.
            agreed_wh: What agreements sell less what they buy by bus, Wh.

        Raises:
            OrdersError: The period's prices leave no band.
        """
        lines = room_beside(feeder or Feeder.single_bus(), agreed_wh or {})
        known = replace(orders, bus=np.where(orders.bus < len(lines), orders.bus, 0))
        planned = prices.planned_uyuan_per_kwh if rule is Rule.PLANNED else None
        return cls(rule, known, trading_band(prices, limits), lines, planned)

    def clear(self) -> Clearing:
        """Return the one valid clearing."""
        return clear(
            self.rule,
            self.orders,
            band=self.band,
            feeder=self.feeder,
            planned_uyuan_per_kwh=self.planned_uyuan_per_kwh,
        )

    def check(self, clearing: Clearing) -> None:
        """Refuse every clearing but the valid one.

        Raises:
            InvalidClearing: It is another one.
        """
        check(
            self.rule,
            self.orders,
            clearing,
            band=self.band,
            feeder=self.feeder,
            planned_uyuan_per_kwh=self.planned_uyuan_per_kwh,
        )

    def explain(self, clearing: Clearing, places: Iterable[int]) -> list[Explained]:
        """Explain some orders of the valid clearing, see `market.clearing.explain`."""
        return explain(clearing, self.orders, places, band=self.band, feeder=self.feeder)
