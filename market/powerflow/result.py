"""What a power flow says: voltages, flows, loadings, and the limits that they break."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from market.grid import Grid, IntArray

FloatArray: TypeAlias = NDArray[np.float64]

# Cut a little deeper than first order asks: less feed-in lowers the voltage, and with it rises the
# current of what is left. Otherwise the next attempt often breaks the same limit by a hair.
_AIM = 0.98


class Direction(StrEnum):
    """Which way energy flows in a branch."""

    UP = "up"
    """Towards the feed: below it more is exported than drawn."""
    DOWN = "down"
    """Away from the feed."""


class Quantity(StrEnum):
    """What has left its limit."""

    VOLTAGE_PU = "voltage_pu"
    LOADING_PERCENT = "loading_percent"


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that a case breaks, and the flow whose cut would mend it.

    Attributes:
        case: Index in the batch.
        element: Name of the bus, line or transformer.
        quantity: What is beyond its limit.
        direction: Which way too much energy flows.
        limit: The limit, in the unit of the quantity.
        value: What the case reaches.
        line: The line to limit, `Tree.branches[line - 1]`: the one above bus `Tree.buses[line]`,
            so that the contract's line has the same number. The overloaded one; for a voltage the
            one, between bus and feed, that adds most to the deviation.
        flow_wh: Linear flow of that line in that direction, Wh.
        limit_wh: What it should be at most, base load included, Wh: a first-order cut and 2 %
            more. Below `flow_wh`, unless that is 0 and the cause is not the market.
    """

    case: int
    element: str
    quantity: Quantity
    direction: Direction
    limit: float
    value: float
    line: int
    flow_wh: int
    limit_wh: int

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"case {self.case}: {self.element} {self.quantity} {self.value:.4g}, "
            f"limit {self.limit:.4g}, {self.direction}"
        )


@dataclass(frozen=True, slots=True)
class AcResult:
    """Power flow of a batch.

    Attributes:
        grid: The grid; columns are in the order of its tree.
        max_loading_percent: Limit of every loading.
        voltage_pu: Shape (cases, buses).
        idle_voltage_pu: Voltages without any load, shape (buses,).
        flow_w: Active power at the lower end of each branch, W, positive towards the feed, shape
            (cases, branches).
        linear_flow_wh: The lossless flow of the same energy, shape (cases, branches).
        loading_percent: Current over rating, of a transformer at its more loaded side, shape
            (cases, branches).
    """

    grid: Grid
    max_loading_percent: float
    voltage_pu: FloatArray
    idle_voltage_pu: FloatArray
    flow_w: FloatArray
    linear_flow_wh: IntArray
    loading_percent: FloatArray

    @property
    def violating_cases(self) -> tuple[int, ...]:
        """Cases with a violation, ascending."""
        low, high = self._bands()
        bad = ((self.voltage_pu < low) | (self.voltage_pu > high)).any(axis=1)
        bad |= (self.loading_percent > self.max_loading_percent).any(axis=1)
        return tuple(int(case) for case in np.flatnonzero(bad))

    def violations(self, case: int) -> tuple[Violation, ...]:
        """Return the violations of a case, the one that needs the deepest cut first.

        Args:
            case: Index in the batch.
        """
        found = [*self._overloads(case), *self._voltages(case)]
        found.sort(key=lambda v: (v.limit_wh / v.flow_wh if v.flow_wh else 0.0, v.line))
        return tuple(found)

    def _overloads(self, case: int) -> list[Violation]:
        found = []
        limit = self.max_loading_percent
        for branch in np.flatnonzero(self.loading_percent[case] > limit).tolist():
            direction = Direction.UP if self.flow_w[case, branch] > 0 else Direction.DOWN
            value = float(self.loading_percent[case, branch])
            flow_wh = self._flow_wh(case, branch, direction)
            found.append(
                Violation(
                    case=case,
                    element=self.grid.tree.branches[branch].name,
                    quantity=Quantity.LOADING_PERCENT,
                    direction=direction,
                    limit=limit,
                    value=value,
                    line=branch + 1,
                    flow_wh=flow_wh,
                    limit_wh=math.floor(_AIM * flow_wh * limit / value),
                )
            )
        return found

    def _voltages(self, case: int) -> list[Violation]:
        low, high = self._bands()
        found = []
        tree, voltage = self.grid.tree, self.voltage_pu[case]
        parents = [branch.parent for branch in tree.branches]
        # What load and feed-in add to the voltage along each branch, the tap left out.
        shift = voltage - self.idle_voltage_pu
        rise = shift[1:] - shift[parents]
        for position in np.flatnonzero((voltage < low) | (voltage > high)).tolist():
            up = bool(voltage[position] > high[position])
            direction, sign = (Direction.UP, 1) if up else (Direction.DOWN, -1)
            limit = float((high if up else low)[position])
            value = float(voltage[position])
            branch = max(tree.path(position), key=lambda k: sign * rise[k])
            flow_wh = self._flow_wh(case, branch, direction)
            added, excess = sign * float(rise[branch]), abs(value - limit)
            keep = 1 - excess / added if added > excess else 0.0
            found.append(
                Violation(
                    case=case,
                    element=self.grid.bus(tree.buses[position]).name,
                    quantity=Quantity.VOLTAGE_PU,
                    direction=direction,
                    limit=limit,
                    value=value,
                    line=branch + 1,
                    flow_wh=flow_wh,
                    limit_wh=math.floor(_AIM * flow_wh * keep),
                )
            )
        return found

    def _flow_wh(self, case: int, branch: int, direction: Direction) -> int:
        flow_wh = int(self.linear_flow_wh[case, branch])
        return max(0, flow_wh if direction is Direction.UP else -flow_wh)

    def _bands(self) -> tuple[FloatArray, FloatArray]:
        buses = [self.grid.bus(bus) for bus in self.grid.tree.buses]
        return np.array([b.min_vm_pu for b in buses]), np.array([b.max_vm_pu for b in buses])
