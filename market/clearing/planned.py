"""`planned`: everybody trades at the planned price (docs/clearing.md, section 5)."""

from market.clearing.feeder import Feeder
from market.clearing.orders import Band, Orders, Rule, eligible
from market.clearing.result import PoolClearing
from market.clearing.zones import clear_pool


def clear_planned(
    orders: Orders, band: Band, feeder: Feeder | None, planned_uyuan_per_kwh: int
) -> PoolClearing:
    """Trade as much as possible at P_p; the long side is filled by priority.

    Args:
        orders: The book.
        band: Prices at which the period may trade.
        feeder: The lines; None for none.
        planned_uyuan_per_kwh: P_p (Peng Eq. 6), uyuan/kWh.

    Raises:
        FeederError: An order's bus is not on the feeder.
    """
    at = eligible(orders, band, planned_uyuan_per_kwh)
    return clear_pool(Rule.PLANNED, orders, at, band, feeder, planned_uyuan_per_kwh)
