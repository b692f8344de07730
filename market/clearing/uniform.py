"""`uniform`: one price per zone, greatest welfare and volume (docs/clearing.md, section 4)."""

from market.clearing.feeder import Feeder
from market.clearing.orders import Band, Orders, Rule, eligible
from market.clearing.result import PoolClearing
from market.clearing.zones import clear_pool


def clear_uniform(orders: Orders, band: Band, feeder: Feeder | None) -> PoolClearing:
    """Trade for the greatest welfare, then volume, at the middle of each zone's marginal prices.

    Args:
        orders: The book.
        band: Prices at which the period may trade.
        feeder: The lines; None for none.

    Raises:
        FeederError: An order's bus is not on the feeder.
    """
    return clear_pool(Rule.UNIFORM, orders, eligible(orders, band), band, feeder)
