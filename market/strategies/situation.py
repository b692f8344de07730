"""What a strategy knows, what it answers, and what every answer must respect."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from market.clearing import Band
from market.messages import Step
from market.orders import LEAST_WH


class StrategyError(ValueError):
    """A situation cannot be; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery that a member may charge and discharge as it trades.

    Attributes:
        capacity_wh: What it holds when full.
        power_wh: Most it draws or gives in a period, at the meter.
        efficiency_percent: What comes back of what it drew; losses count when it charges.
        stored_wh: What it holds now.

    Raises:
        StrategyError: It holds more than it can, or an attribute is out of range.
    """

    capacity_wh: int
    power_wh: int
    efficiency_percent: int
    stored_wh: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.stored_wh <= self.capacity_wh or self.power_wh < 0:
            raise StrategyError(
                f"a battery of {self.capacity_wh} Wh and {self.power_wh} Wh a period holds "
                f"{self.stored_wh} Wh; give 0 to its capacity, and power of 0 or more"
            )
        if not 1 <= self.efficiency_percent <= 100:
            raise StrategyError(f"efficiency_percent is {self.efficiency_percent}; give 1 to 100")

    @property
    def can_draw_wh(self) -> int:
        """Most it can draw in the next period, Wh at the meter."""
        room = (self.capacity_wh - self.stored_wh) * 100 // self.efficiency_percent
        return min(self.power_wh, room)

    @property
    def can_give_wh(self) -> int:
        """Most it can give in the next period, Wh at the meter."""
        return min(self.power_wh, self.stored_wh)

    def after(self, drawn_wh: int, given_wh: int) -> Self:
        """Return the battery after a period.

        Raises:
            StrategyError: It cannot draw or give so much.
        """
        if not 0 <= drawn_wh <= self.can_draw_wh or not 0 <= given_wh <= self.can_give_wh:
            raise StrategyError(
                f"the battery can draw {self.can_draw_wh} Wh and give {self.can_give_wh} Wh, "
                f"not {drawn_wh} and {given_wh}"
            )
        stored_wh = self.stored_wh + drawn_wh * self.efficiency_percent // 100 - given_wh
        return replace(self, stored_wh=stored_wh)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a member knows when it orders for a period.

    Attributes:
        import_wh: What it expects to draw, battery apart.
        export_wh: What it expects to feed in, battery apart.
        band: Prices at which the period may trade.
        value_uyuan_per_kwh: What a kWh is worth to it: it never bids more.
        cost_uyuan_per_kwh: What a kWh costs it: it never asks less.
        import_capacity_wh: Most it may buy in the period.
        export_capacity_wh: Most it may sell in the period.
        plan_uyuan_per_kwh: P_p of every period of the day.
        battery: Its battery, if it has one.
    """

    import_wh: int
    export_wh: int
    band: Band
    value_uyuan_per_kwh: int
    cost_uyuan_per_kwh: int
    import_capacity_wh: int
    export_capacity_wh: int
    plan_uyuan_per_kwh: tuple[int, ...] = ()
    battery: Battery | None = None

    @property
    def need_wh(self) -> int:
        """What it expects to draw beyond its own feed-in."""
        return max(0, self.import_wh - self.export_wh)

    @property
    def surplus_wh(self) -> int:
        """What it expects to feed in beyond its own need."""
        return max(0, self.export_wh - self.import_wh)

    @property
    def bid_range_uyuan_per_kwh(self) -> tuple[int, int] | None:
        """Lowest and highest limit at which buying is no loss; None if there is none."""
        low, high = self.band.low_uyuan_per_kwh, self.band.high_uyuan_per_kwh
        most = min(high, self.value_uyuan_per_kwh)
        return (low, most) if low <= most else None

    @property
    def ask_range_uyuan_per_kwh(self) -> tuple[int, int] | None:
        """Lowest and highest limit at which selling is no loss; None if there is none."""
        low, high = self.band.low_uyuan_per_kwh, self.band.high_uyuan_per_kwh
        least = max(low, self.cost_uyuan_per_kwh)
        return (least, high) if least <= high else None


class Strategy(Protocol):
    """Decides what a member orders."""

    def steps(self, situation: Situation, rng: np.random.Generator, /) -> tuple[Step, ...]:
        """Return the steps of the member's order for the period; none to stay out.

        Args:
            situation: What the member knows.
            rng: Where any chance comes from.
        """
        ...


def tidy(steps: Iterable[Step], situation: Situation) -> tuple[Step, ...]:
    """Make an order of wishes: what the book would refuse is cut or left out.

    Limits are moved into the band and asks above the highest bid; where the band has no room for
    that the ask is left out. Each side keeps its best steps within the capacity; steps below
    `LEAST_WH` go.

    Args:
        steps: At most four wishes.
        situation: Has the band and the capacities.

    Returns:
        Bids from the highest, then asks from the lowest.
    """
    low, high = situation.band.low_uyuan_per_kwh, situation.band.high_uyuan_per_kwh
    wishes = [
        replace(s, limit_uyuan_per_kwh=max(low, min(high, s.limit_uyuan_per_kwh))) for s in steps
    ]
    bids = sorted((s for s in wishes if not s.sells), key=lambda s: -s.limit_uyuan_per_kwh)
    bids = _within(bids, situation.import_capacity_wh)
    least_ask = bids[0].limit_uyuan_per_kwh + 1 if bids else low
    asks = [
        replace(s, limit_uyuan_per_kwh=max(least_ask, s.limit_uyuan_per_kwh))
        for s in wishes
        if s.sells and least_ask <= high
    ]
    asks.sort(key=lambda s: s.limit_uyuan_per_kwh)
    return (*bids, *_within(asks, situation.export_capacity_wh))


def _within(steps: list[Step], capacity_wh: int) -> list[Step]:
    kept = []
    for step in steps:
        energy_wh = min(step.energy_wh, capacity_wh)
        if energy_wh >= LEAST_WH:
            kept.append(replace(step, energy_wh=energy_wh))
            capacity_wh -= energy_wh
    return kept
