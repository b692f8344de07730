"""What the committee says to a clearing: it may stand, or which line carries too much.

What a trade changes on the wires is what it adds to the energy that would flow anyhow. A load is
therefore taken twice: as forecast, and as forecast or trade, whichever is more in each direction,
for what a node trades is the first part of what it draws or feeds in. Only what the second case
breaks and the first one does not, or less, is the market's to mend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from market.grid import IntArray
from market.lines import Derate, Lines
from market.powerflow.check import AcCheck, Diverged, Injections
from market.powerflow.result import AcResult, Direction, Quantity, Violation

_ALONE, _TRADING = 0, 1


class Load(NamedTuple):
    """What is expected of one meter in a period, and what it has traded.

    Attributes:
        bus: Its bus as the contracts number it: position in `Tree.buses`; 0 if off the feeder.
        import_wh: Energy it is expected to draw, Wh.
        export_wh: Energy it is expected to feed in, Wh.
        bought_wh: What its position has bought, agreements included, Wh.
        sold_wh: What it has sold, Wh.
        var_per_w: Reactive power (var) it draws with each W imported.
    """

    bus: int
    import_wh: int
    export_wh: int
    bought_wh: int = 0
    sold_wh: int = 0
    var_per_w: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to vote.

    Attributes:
        derate: What would mend the clearing; None if it may stand.
        reason: Why, in words.
    """

    derate: Derate | None
    reason: str


def judge(check: AcCheck, lines: Lines, loads: Sequence[Load]) -> Verdict:
    """Run the AC power flow of forecast and clearing, and say what to vote.

    Args:
        check: The AC model of the feeder.
        lines: What held for the clearing, of the same feeder: an objection must go below.
        loads: Every meter on the feeder, and every node that trades.

    Returns:
        For an overload the line itself with the flow scaled to its limit; for a voltage the line
        between bus and root that adds most to it, or the next one that the market loads. At least
        1 Wh below what the market lets flow there now.
    """
    tree = check.grid.tree
    buses = [load.bus if load.bus < len(tree.buses) else 0 for load in loads]
    alone = [load.export_wh - load.import_wh for load in loads]
    trading = [
        max(load.export_wh, load.sold_wh) - max(load.import_wh, load.bought_wh) for load in loads
    ]
    net_wh = np.zeros((1, len(tree.buses)), dtype=np.int64)
    np.add.at(net_wh[0], buses, np.array([load.sold_wh - load.bought_wh for load in loads], int))
    market = _Market(lines, tree.flows_wh(net_wh)[0])
    if not market.flow_wh.any():
        return Verdict(None, "nothing flows for the market")
    try:
        result = check.run(
            Injections(
                np.array([alone, trading], dtype=np.int64),
                [tree.buses[bus] for bus in buses],
                [load.var_per_w for load in loads],
            )
        )
    except Diverged as error:
        if _ALONE in error.cases:
            return Verdict(None, "the forecast has no power flow, whatever the market does")
        derate = market.halved()
        cause = "trades" if derate else "agreements"
        return Verdict(derate, f"the power flow does not converge with the {cause}")
    kept = None
    for violation in result.violations(_TRADING):
        derate = market.mending(result, violation)
        if derate is not None:
            return Verdict(derate, str(violation))
        kept = kept or violation
    return Verdict(None, f"not the market's: {kept}" if kept else "within all limits")


class _Market(NamedTuple):
    """What the market lets flow (Wh by branch, positive towards the root), and what held."""

    lines: Lines
    flow_wh: IntArray

    def mending(self, result: AcResult, violation: Violation) -> Derate | None:
        """Return the limit that mends a violation as far as the market caused it."""
        up = violation.direction is Direction.UP
        sign = 1 if up else -1
        added_wh = sign * (result.linear_flow_wh[_TRADING] - result.linear_flow_wh[_ALONE])
        needed_wh = max(1, violation.flow_wh - violation.limit_wh)
        for line in _candidates(result, violation):
            flow_wh = sign * int(self.flow_wh[line - 1])
            cut_wh = min(needed_wh, int(added_wh[line - 1]), flow_wh)
            if cut_wh <= 0:
                continue
            # Agreements alone go beyond what held: no limit takes them back.
            if flow_wh <= self.lines.limit_wh(line, up=up):
                return Derate(line, up, flow_wh - cut_wh)
        return None

    def halved(self) -> Derate | None:
        """Return half the flow of the line that the market fills most, if orders fill any."""
        up, flow_wh = self.flow_wh > 0, np.abs(self.flow_wh)
        held_wh = np.where(up, self.lines.up_wh[1:], self.lines.down_wh[1:])
        share = np.where(flow_wh <= held_wh, flow_wh / np.maximum(held_wh, 1), 0)
        branch = int(share.argmax())
        if not share[branch]:
            return None
        return Derate(branch + 1, bool(up[branch]), int(flow_wh[branch]) // 2)


def _candidates(result: AcResult, violation: Violation) -> Iterator[int]:
    """Name the lines whose limit could mend a violation, the best first."""
    yield violation.line
    if violation.quantity is Quantity.VOLTAGE_PU:
        tree = result.grid.tree
        names = [result.grid.bus(bus).name for bus in tree.buses]
        path = tree.path(names.index(violation.element))
        yield from (branch + 1 for branch in path if branch + 1 != violation.line)
