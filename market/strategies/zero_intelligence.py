"""Orders what is expected, at a random price without loss.

Source: Gode and Sunder, Allocative Efficiency of Markets with Zero-Intelligence Traders, Journal of
Political Economy 101(1), 1993: the budget-constrained trader ZI-C, its prices those of the band.
"""

import numpy as np

from market.messages import Step
from market.strategies.situation import Situation, tidy


class ZeroIntelligence:
    """Draws bids evenly from the low end to the value, asks from the cost to the high end."""

    def steps(self, situation: Situation, rng: np.random.Generator, /) -> tuple[Step, ...]:
        """Return at most one step: the net of what is expected."""
        bid, ask = situation.bid_range_uyuan_per_kwh, situation.ask_range_uyuan_per_kwh
        wishes = []
        if bid and situation.need_wh:
            wishes.append(Step(False, situation.need_wh, int(rng.integers(*bid, endpoint=True))))
        if ask and situation.surplus_wh:
            wishes.append(Step(True, situation.surplus_wh, int(rng.integers(*ask, endpoint=True))))
        return tidy(wishes, situation)
