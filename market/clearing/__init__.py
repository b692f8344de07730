"""Clearing of a period's book: three rules, wires included, and the check of a result.

Pure integer functions of their arguments; `docs/clearing.md` has the rules and why each has exactly
one valid result.
"""

from market.clearing.check import check
from market.clearing.errors import (
    ClearingError,
    FeederError,
    InvalidClearing,
    OrdersError,
    RuleError,
)
from market.clearing.explain import Explained, Why, explain
from market.clearing.feeder import MAX_HEADROOM_WH, Feeder
from market.clearing.orders import Band, Orders, Rule
from market.clearing.pairwise import clear_pairwise
from market.clearing.planned import clear_planned
from market.clearing.result import (
    Clearing,
    Cut,
    PairClearing,
    Pairs,
    PoolClearing,
    Totals,
    Zone,
    totals,
)
from market.clearing.uniform import clear_uniform

__all__ = [
    "MAX_HEADROOM_WH",
    "Band",
    "Clearing",
    "ClearingError",
    "Cut",
    "Explained",
    "Feeder",
    "FeederError",
    "InvalidClearing",
    "Orders",
    "OrdersError",
    "PairClearing",
    "Pairs",
    "PoolClearing",
    "Rule",
    "RuleError",
    "Totals",
    "Why",
    "Zone",
    "check",
    "clear",
    "clear_pairwise",
    "clear_planned",
    "clear_uniform",
    "explain",
    "totals",
]


def clear(
    rule: Rule,
    orders: Orders,
    *,
    band: Band | None = None,
    feeder: Feeder | None = None,
    planned_uyuan_per_kwh: int | None = None,
) -> Clearing:
    """Clear a book under a rule.

    Args:
        rule: The market's rule.
        orders: The book.
        band: Prices at which the period may trade; None for any.
        feeder: Lines and their headroom in the period; None for none.
        planned_uyuan_per_kwh: P_p, for `planned` and for no other rule.

    Returns:
        The one valid clearing.

    Raises:
        RuleError: P_p is missing, out of range, or given to a rule that does not use it.
        FeederError: An order's bus is not on the feeder.
    """
    band = band or Band()
    if rule is Rule.PLANNED:
        if planned_uyuan_per_kwh is None or not 0 <= planned_uyuan_per_kwh < 2**32:
            raise RuleError(
                f"planned_uyuan_per_kwh is {planned_uyuan_per_kwh}; give the period's P_p, 32 bits"
            )
        return clear_planned(orders, band, feeder, planned_uyuan_per_kwh)
    if planned_uyuan_per_kwh is not None:
        raise RuleError(f"{rule.value} does not trade at P_p; leave planned_uyuan_per_kwh out")
    if rule is Rule.UNIFORM:
        return clear_uniform(orders, band, feeder)
    return clear_pairwise(orders, band, feeder)
