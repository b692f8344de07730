"""A book as arrays, who of it takes part, and who comes first (docs/clearing.md, sections 1-3)."""

from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt

from market.clearing.errors import OrdersError

Ints = npt.NDArray[np.int64]
"""One integer per order, bus, line or pair."""

Flags = npt.NDArray[np.bool_]
"""One truth value per order, bus, line or pair."""

SEQ_BITS: Final = 30
MAX_SEQ: Final = 2**SEQ_BITS - 1
MAX_ENERGY_WH: Final = 2**40 - 1
MAX_PRICE_UYUAN_PER_KWH: Final = 2**32 - 1
MAX_ID: Final = 2**32 - 1
ORDER_BITS: Final = 22
MAX_ORDERS: Final = 2**ORDER_BITS
"""Keeps every sum of energies below 2^62."""


class Rule(Enum):
    """How a market matches (DESIGN section 5)."""

    PLANNED = "planned"
    UNIFORM = "uniform"
    PAIRWISE = "pairwise"


@dataclass(frozen=True, slots=True)
class Band:
    """Prices at which a period may trade, both ends included, uyuan/kWh.

    Raises:
        OrdersError: It is empty or exceeds 32 bits.
    """

    low_uyuan_per_kwh: int = 0
    high_uyuan_per_kwh: int = MAX_PRICE_UYUAN_PER_KWH

    def __post_init__(self) -> None:
        """Check the order of the ends."""
        if not 0 <= self.low_uyuan_per_kwh <= self.high_uyuan_per_kwh <= MAX_PRICE_UYUAN_PER_KWH:
            raise OrdersError(
                f"price band [{self.low_uyuan_per_kwh}, {self.high_uyuan_per_kwh}] is not within "
                f"[0, {MAX_PRICE_UYUAN_PER_KWH}]; give its ends in ascending order"
            )


def as_ints(name: str, values: npt.ArrayLike, highest: int) -> Ints:
    """Copy values into a read-only array of integers.

    Raises:
        OrdersError: They are not one column of integers within ``[0, highest]``.
    """
    given = np.asarray(values)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise OrdersError(
            f"{name} has shape {given.shape}, type {given.dtype}; give one integer each"
        )
    if given.size and not 0 <= int(given.min()) <= int(given.max()) <= highest:
        raise OrdersError(f"{name} holds a value outside [0, {highest}]; correct it at its source")
    column = np.array(given, dtype=np.int64)
    column.flags.writeable = False
    return column


@dataclass(frozen=True, eq=False)
class Orders:
    """The book of one period, one entry per order, in the order of acceptance.

    Attributes:
        node: Member id, ``int64[n]``.
        bus: Bus of the node's connection, ``int64[n]``.
        is_buy: True for a bid, False for an ask, ``bool[n]``.
        energy_wh: Energy, Wh; 0 if cancelled, ``int64[n]``.
        limit_uyuan_per_kwh: Highest price to pay or lowest to take, uyuan/kWh, ``int64[n]``.
        seq: Order of acceptance, strictly increasing, ``int64[n]``.

    Raises:
        OrdersError: A column has another length or type, or holds a value the chain cannot carry.
    """

    node: Ints
    bus: Ints
    is_buy: Flags
    energy_wh: Ints
    limit_uyuan_per_kwh: Ints
    seq: Ints

    def __post_init__(self) -> None:
        """Check and copy the columns."""
        highest = {
            "node": MAX_ID,
            "bus": MAX_ID,
            "energy_wh": MAX_ENERGY_WH,
            "limit_uyuan_per_kwh": MAX_PRICE_UYUAN_PER_KWH,
            "seq": MAX_SEQ,
        }
        for name, most in highest.items():
            object.__setattr__(self, name, as_ints(name, getattr(self, name), most))
        is_buy = np.array(self.is_buy)
        if is_buy.size and is_buy.dtype != np.bool_:
            raise OrdersError(
                f"is_buy has type {is_buy.dtype}; give True for a bid, False for an ask"
            )
        is_buy = is_buy.astype(np.bool_)
        is_buy.flags.writeable = False
        object.__setattr__(self, "is_buy", is_buy)
        lengths = {field.name: getattr(self, field.name).shape for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise OrdersError(f"columns differ in shape: {lengths}; give one entry per order")
        if len(self) > MAX_ORDERS:
            raise OrdersError(f"{len(self)} orders are more than {MAX_ORDERS}; split the market")
        if len(self) > 1 and int(np.diff(self.seq).min()) <= 0:
            raise OrdersError(
                "seq does not strictly increase; give the orders as they were accepted"
            )

    def __len__(self) -> int:
        """Number of orders, cancelled ones included."""
        return len(self.seq)


def merit_keys(orders: Orders) -> Ints:
    """Place of every order in the one priority of bids and asks, ``int64[n]``.

    Low keys are good for asks, high keys for bids; a bid stands above an ask of the same limit.
    Keys of different orders differ.
    """
    late_first = np.where(orders.is_buy, MAX_SEQ - orders.seq, orders.seq)
    side = orders.is_buy.astype(np.int64)
    keys: Ints = (orders.limit_uyuan_per_kwh << (SEQ_BITS + 1)) | (side << SEQ_BITS) | late_first
    return keys


def eligible(orders: Orders, band: Band, planned_uyuan_per_kwh: int | None = None) -> Ints:
    """Find the orders that take part.

    Args:
        orders: The book.
        band: Prices at which the period may trade.
        planned_uyuan_per_kwh: P_p, where limits unwilling at it drop out.

    Returns:
        Their places in the book, ascending, ``int64[m]``.
    """
    limit = orders.limit_uyuan_per_kwh
    takes_part = orders.energy_wh > 0
    takes_part &= (limit >= band.low_uyuan_per_kwh) & (limit <= band.high_uyuan_per_kwh)
    if planned_uyuan_per_kwh is not None:
        takes_part &= np.where(
            orders.is_buy, limit >= planned_uyuan_per_kwh, limit <= planned_uyuan_per_kwh
        )
    at: Ints = np.flatnonzero(takes_part)
    return at[~_crosses_itself(orders.node[at], orders.is_buy[at], limit[at])]


def _crosses_itself(node: Ints, is_buy: Flags, limit_uyuan_per_kwh: Ints) -> Flags:
    """Mark orders that an earlier order of the same node on the other side crosses.

    Sorted by node and acceptance, a running maximum per node becomes one over the whole column by
    adding a step per node that is higher than any price.
    """
    by_node = np.argsort(numbered(node))
    node, buys, price = node[by_node], is_buy[by_node], limit_uyuan_per_kwh[by_node]
    step = np.cumsum(np.diff(node, prepend=node[:1]) != 0) << 34
    fallen = MAX_PRICE_UYUAN_PER_KWH - price
    highest_bid = np.maximum.accumulate(np.where(buys, step + price + 1, step)) - step
    lowest_ask = np.maximum.accumulate(np.where(buys, step, step + fallen + 1)) - step
    crossing = np.empty(len(node), dtype=np.bool_)
    crossing[by_node] = np.where(buys, lowest_ask > fallen, highest_bid > price)
    return crossing


def numbered(values: Ints) -> Ints:
    """Make equal values differ by their place: a stable order without a stable sort."""
    places: Ints = np.arange(len(values))
    return (values << ORDER_BITS) | places
