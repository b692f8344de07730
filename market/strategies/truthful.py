"""Orders what is expected, at what it is worth."""

import numpy as np

from market.messages import Step
from market.strategies.situation import Situation, tidy


class Truthful:
    """Bids its value for its need, asks its cost for its surplus.

    Under `uniform` nobody gains by another limit unless the own order sets the price.
    """

    def steps(self, situation: Situation, _rng: np.random.Generator, /) -> tuple[Step, ...]:
        """Return at most one step: the net of what is expected."""
        bid, ask = situation.bid_range_uyuan_per_kwh, situation.ask_range_uyuan_per_kwh
        wishes = []
        if bid:
            wishes.append(Step(False, situation.need_wh, bid[1]))
        if ask:
            wishes.append(Step(True, situation.surplus_wh, ask[0]))
        return tidy(wishes, situation)
