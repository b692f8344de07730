"""What serving everybody costs at least, with and without the wires: Peng Eq. 8-10.

A linear program over the same book and feeder that a clearing uses, solved by HiGHS, which shares
nothing with the clearing engine. Reported beside a clearing, it shows what the wires and the limits
that members chose cost: no clearing is cheaper.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array

from market.clearing import Clearing, Feeder, FeederError, Orders

IntArray: TypeAlias = NDArray[np.int64]


class DispatchError(RuntimeError):
    """The program was not solved; says what the solver says."""


@dataclass(frozen=True, eq=False)
class Dispatch:
    """The cheapest way to serve a book.

    Attributes:
        cost_nyuan: Its cost by Eq. 8, nano-yuan.
        filled_wh: What each order trades, Wh, shape (orders,).
        flow_wh: Flow of each line towards the root, Wh, shape (buses,); 0 for the root.
    """

    cost_nyuan: int
    filled_wh: IntArray
    flow_wh: IntArray

    @property
    def volume_wh(self) -> int:
        """What is traded, Wh."""
        return int(self.filled_wh.sum()) // 2


def dispatch(
    orders: Orders,
    at: IntArray,
    otherwise_uyuan_per_kwh: IntArray,
    feeder: Feeder | None = None,
    line_uyuan_per_kwh: int = 0,
) -> Dispatch:
    """Minimise what supply, transport and unserved load cost.

    Eq. 8 with alpha the limit of each ask, beta the cost of a kWh on a line, and gamma what a load
    costs that members do not serve, such as retail. A bid that can do without has no such cost;
    what it would pay at most counts as earned when it is served. Eq. 9 balances every bus, losses
    being the grid company's; Eq. 10 keeps every line within its headroom.

    Args:
        orders: The book.
        at: Places of the orders that take part, shape (m,).
        otherwise_uyuan_per_kwh: Gamma of each order of the book, 0 for a bid that can do without,
            ignored for asks, shape (n,).
        feeder: Lines and their headroom; None for none.
        line_uyuan_per_kwh: Beta, the same for every line and direction.

    Returns:
        The cheapest dispatch; where several are, one of them.

    Raises:
        FeederError: A taking-part order's bus is not on the feeder.
        DispatchError: The solver gave up.
    """
    lines = feeder or Feeder.single_bus()
    bus = orders.bus[at] if feeder else np.zeros(len(at), dtype=np.int64)
    if bus.size and int(bus.max()) >= len(lines):
        raise FeederError(f"bus {int(bus.max())} is not on a feeder of {len(lines)} buses")
    buys = orders.is_buy[at]
    limit, otherwise = orders.limit_uyuan_per_kwh[at], otherwise_uyuan_per_kwh[at]
    worth = np.where(buys, -np.where(otherwise > 0, otherwise, limit), limit)
    below = np.arange(1, len(lines))
    transport = np.full(2 * len(below), line_uyuan_per_kwh)
    # Columns: the orders, then each line upwards, then each line downwards.
    first_up, first_down = len(at), len(at) + len(below)
    rows = [bus, below, lines.parent[1:], below, lines.parent[1:]]
    up, down = first_up + below - 1, first_down + below - 1
    columns = [np.arange(len(at)), up, up, down, down]
    ones = np.ones(len(below))
    values = [np.where(buys, -1, 1), -ones, ones, ones, -ones]
    balance = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(lines), first_down + len(below)),
    )
    most = np.concatenate([orders.energy_wh[at], lines.up_wh[1:], lines.down_wh[1:]])
    filled = np.zeros(len(orders), dtype=np.int64)
    flow = np.zeros(len(lines), dtype=np.int64)
    if len(at):
        solution = linprog(
            np.concatenate([worth, transport]),
            A_eq=balance.tocsr(),
            b_eq=np.zeros(len(lines)),
            bounds=np.column_stack([np.zeros(len(most)), most]),
            method="highs",
        )
        if not solution.success:
            raise DispatchError(f"the dispatch was not solved: {solution.message}")
        # A network's vertices are whole numbers; what is left is the solver's tolerance.
        energy = np.rint(solution.x).astype(np.int64)
        filled[at] = energy[:first_up]
        flow[1:] = energy[up] - energy[down]
    cost = cost_nyuan(orders, at, filled, flow, otherwise_uyuan_per_kwh, line_uyuan_per_kwh)
    return Dispatch(cost, filled, flow)


def cost_of(
    clearing: Clearing,
    orders: Orders,
    at: IntArray,
    otherwise_uyuan_per_kwh: IntArray,
    line_uyuan_per_kwh: int = 0,
) -> int:
    """Return what a clearing costs by the same Eq. 8, nano-yuan; arguments as for `dispatch`."""
    return cost_nyuan(
        orders,
        at,
        clearing.filled_wh,
        clearing.flow_wh,
        otherwise_uyuan_per_kwh,
        line_uyuan_per_kwh,
    )


def cost_nyuan(
    orders: Orders,
    at: IntArray,
    filled_wh: IntArray,
    flow_wh: IntArray,
    otherwise_uyuan_per_kwh: IntArray,
    line_uyuan_per_kwh: int = 0,
) -> int:
    """Return Eq. 8 of given energies, exact, nano-yuan; arguments as for `dispatch`."""
    cost: int = line_uyuan_per_kwh * sum(abs(flow) for flow in flow_wh.tolist())
    columns = (orders.is_buy, orders.energy_wh, filled_wh, orders.limit_uyuan_per_kwh)
    chosen = (column[at].tolist() for column in (*columns, otherwise_uyuan_per_kwh))
    for buys, energy, filled, limit, otherwise in zip(*chosen, strict=True):
        if not buys:
            cost += filled * limit
        elif otherwise:
            cost += (energy - filled) * otherwise
        else:
            cost -= filled * limit
    return cost
