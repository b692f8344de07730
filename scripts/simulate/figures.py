"""A run in numbers: by period for the picture, summed for the table, by member for the bills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market.clearing import Rule
from market.powerflow.result import FloatArray
from scripts.simulate.book import traded_prices
from scripts.simulate.play import Outcome
from scripts.simulate.world import World

YUAN = 1_000_000
NYUAN_PER_YUAN = 1_000_000_000


@dataclass(frozen=True)
class Run:
    """A world played under one rule.

    Attributes:
        rule: The rule.
        outcomes: Its periods.
        loading_percent: Metered AC loading of each line, shape (periods, lines).
        voltage_pu: Lowest and highest metered voltage.
    """

    rule: Rule
    outcomes: Sequence[Outcome]
    loading_percent: FloatArray
    voltage_pu: tuple[float, float]

    @classmethod
    def of(cls, world: World, rule: Rule, outcomes: Sequence[Outcome]) -> Run:
        """Add the power flow of what was metered, all periods at once."""
        net = np.stack([o.metered_net_wh for o in outcomes])
        metered = world.ac.run(world.injections(net))
        voltage = (float(metered.voltage_pu.min()), float(metered.voltage_pu.max()))
        return cls(rule, outcomes, metered.loading_percent, voltage)

    @property
    def volume_kwh(self) -> float:
        """What is traded."""
        return sum(o.totals.volume_wh for o in self.outcomes) / 1000

    @property
    def welfare_yuan(self) -> float:
        """What bids would pay at most less what asks would take at least."""
        return sum(o.totals.welfare_nyuan for o in self.outcomes) / NYUAN_PER_YUAN

    @property
    def rent_yuan(self) -> float:
        """What buyers pay less what sellers get."""
        return sum(o.totals.rent_nyuan for o in self.outcomes) / NYUAN_PER_YUAN

    @property
    def mean_price_yuan_per_kwh(self) -> float:
        """What buyers pay on average."""
        paid = sum(o.totals.paid_nyuan for o in self.outcomes) / NYUAN_PER_YUAN
        return paid / self.volume_kwh if self.volume_kwh else 0.0

    @property
    def cost_yuan(self) -> float:
        """Peng Eq. 8 of the clearings."""
        return sum(o.cost_nyuan for o in self.outcomes) / NYUAN_PER_YUAN

    @property
    def best_cost_yuan(self) -> float:
        """Peng Eq. 8 of the cheapest dispatch within the lines."""
        return sum(o.best.cost_nyuan for o in self.outcomes) / NYUAN_PER_YUAN

    @property
    def unwired_cost_yuan(self) -> float:
        """Peng Eq. 8 of the cheapest dispatch without lines."""
        return sum(o.unwired.cost_nyuan for o in self.outcomes) / NYUAN_PER_YUAN

    @property
    def wires_yuan(self) -> float:
        """What the lines cost: the difference of the two cheapest dispatches."""
        return self.best_cost_yuan - self.unwired_cost_yuan

    @property
    def binding_periods(self) -> int:
        """In how many periods a line binds."""
        return sum(bool(o.binding) for o in self.outcomes)

    @property
    def split_periods(self) -> int:
        """In how many periods zones have different prices."""
        return sum(len(set(prices)) > 1 for prices in self.prices_by_zone())

    @property
    def derates(self) -> int:
        """How often the AC check tightened a line."""
        return sum(len(o.derates) for o in self.outcomes)

    @property
    def unmended_periods(self) -> int:
        """In how many periods the AC check still objects."""
        return sum(bool(o.unmended) for o in self.outcomes)

    @property
    def overloaded_periods(self) -> int:
        """In how many periods a line or the transformer was metered above its rating."""
        return int((self.loading_percent > 100).any(axis=1).sum())

    @property
    def grid_net_yuan(self) -> float:
        """Net of the grid company, rent included."""
        return sum(o.settlement.grid_company.net_uyuan for o in self.outcomes) / YUAN

    def binding_lines(self) -> Counter[int]:
        """Count the periods in which each line binds, by the bus below."""
        return Counter(line for o in self.outcomes for line in o.binding)

    def prices_by_zone(self) -> list[list[int]]:
        """Return the prices of the zones in which something trades, one list a period.

        Under `pairwise`, which knows no zones, the lowest and the highest price of a pair.
        """
        return [traded_prices(o.clearing) for o in self.outcomes]

    def savings_yuan(self) -> dict[int, float]:
        """Return what the market was worth to each member: its net less that without neighbours."""
        saved: Counter[int] = Counter()
        for o in self.outcomes:
            nets = o.settlement.nets_uyuan
            for node, alone_uyuan in o.alone_uyuan.items():
                saved[node] += nets[node] - alone_uyuan
        return {node: amount / YUAN for node, amount in sorted(saved.items())}
