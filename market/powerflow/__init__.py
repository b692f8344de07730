"""AC check of a clearing: voltages and loadings of a feeder, and the flow to cut where they fail.

What a bus exports in a period, integer Wh, becomes its average power; everything behind that is
float. The flow is balanced, of constant power, solved by power-grid-model (Newton-Raphson), with
losses, reactive power and the tap of the transformer, all of which the linear flow of the
contract leaves out (`Tree.flows_wh`, Peng Eq. 9-10).
"""

from market.powerflow.check import AcCheck, Diverged, Injections
from market.powerflow.result import AcResult, Direction, Quantity, Violation
from market.powerflow.security import Load, Verdict, judge

__all__ = [
    "AcCheck",
    "AcResult",
    "Direction",
    "Diverged",
    "Injections",
    "Load",
    "Quantity",
    "Verdict",
    "Violation",
    "judge",
]
