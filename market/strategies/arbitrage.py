"""Buys into a battery when the period is cheap and sells from it when it is dear."""

from dataclasses import dataclass

import numpy as np

from market.messages import Step
from market.strategies.situation import Battery, Situation, StrategyError, tidy
from market.strategies.truthful import Truthful


@dataclass(frozen=True, slots=True)
class Arbitrage:
    """Bids below and asks above the mean planned price of the day, both in one order.

    What the member needs or has left apart from the battery is ordered truthfully. The battery bids
    for what it can draw and asks for what it can give, so that any fills leave its charge between
    empty and full. The ask is high enough to pay for the losses of a kWh bought at the bid.

    Attributes:
        margin_percent: How far bid and ask lie from the mean, 0 to 100.

    Raises:
        StrategyError: The margin is out of range.
    """

    margin_percent: int = 10

    def __post_init__(self) -> None:
        """Check the margin."""
        if not 0 <= self.margin_percent <= 100:
            raise StrategyError(f"margin_percent is {self.margin_percent}; give 0 to 100")

    def steps(self, situation: Situation, rng: np.random.Generator, /) -> tuple[Step, ...]:
        """Return at most three steps."""
        own = Truthful().steps(situation, rng)
        battery, plan = situation.battery, situation.plan_uyuan_per_kwh
        if battery is None or not plan:
            return own
        bid, ask = self._limits(battery, sum(plan) // len(plan))
        low, high = situation.band.low_uyuan_per_kwh, situation.band.high_uyuan_per_kwh
        wishes = list(own)
        if bid >= low:
            wishes.append(Step(False, battery.can_draw_wh, bid))
        if ask <= high:
            wishes.append(Step(True, battery.can_give_wh, ask))
        return tidy(wishes, situation)

    def _limits(self, battery: Battery, mean_uyuan_per_kwh: int) -> tuple[int, int]:
        bid = mean_uyuan_per_kwh * (100 - self.margin_percent) // 100
        ask = mean_uyuan_per_kwh * (100 + self.margin_percent) // 100
        return bid, max(ask, -(-bid * 100 // battery.efficiency_percent))
