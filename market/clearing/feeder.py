"""The feeder: a tree of buses, its headroom and its flows (docs/clearing.md; Peng Eq. 9-10)."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from market.clearing.errors import FeederError, OrdersError
from market.clearing.orders import Flags, Ints, Orders, as_ints

MAX_HEADROOM_WH = 2**62 - 1
"""The most a line can have; it never binds, as no book holds that much energy."""


class Contraction(NamedTuple):
    """A feeder with some lines taken out by joining their ends.

    Attributes:
        feeder: The smaller feeder.
        zone_of_bus: Bus of the smaller feeder for each of the larger one, ``int64[buses]``.
        head_bus: Lowest bus of the larger feeder for each of the smaller one, ``int64[zones]``.
    """

    feeder: "Feeder"
    zone_of_bus: Ints
    head_bus: Ints


@dataclass(frozen=True, eq=False)
class Feeder:
    """A tree of buses, parents first. Line v joins bus v to ``parent[v]``; bus 0 is the root.

    Attributes:
        parent: Parent of each bus, below its own index; 0 for the root, ``int64[buses]``.
        up_wh: Headroom towards the root in the period, Wh; ignored for the root, ``int64[buses]``.
        down_wh: Headroom away from the root, Wh, likewise.

    Raises:
        FeederError: A parent does not come first, or a headroom is negative.
    """

    parent: Ints
    up_wh: Ints
    down_wh: Ints

    def __post_init__(self) -> None:
        """Check and copy the columns."""
        for name in ("parent", "up_wh", "down_wh"):
            try:
                object.__setattr__(self, name, as_ints(name, getattr(self, name), MAX_HEADROOM_WH))
            except OrdersError as error:
                raise FeederError(str(error)) from error
        if not len(self.parent) == len(self.up_wh) == len(self.down_wh) > 0:
            raise FeederError("parent, up_wh and down_wh need one entry per bus, the root included")
        late = np.flatnonzero(self.parent[1:] >= np.arange(1, len(self.parent)))
        if self.parent[0] != 0 or late.size:
            bus = int(late[0]) + 1 if late.size else 0
            raise FeederError(f"bus {bus} has parent {self.parent[bus]}; number parents first")

    def __len__(self) -> int:
        """Number of buses."""
        return len(self.parent)

    @classmethod
    def single_bus(cls) -> Self:
        """A feeder without lines."""
        zero = np.zeros(1, dtype=np.int64)
        return cls(zero, zero, zero)

    def flows(self, net_wh: Ints) -> Ints:
        """Flow of each line: the sum below it.

        Args:
            net_wh: Energy fed in less energy drawn at each bus, Wh, ``int64[buses]``.

        Returns:
            Flow towards the root, Wh, ``int64[buses]``; entry 0 is the whole feeder's surplus.
        """
        flow = net_wh.tolist()
        parent = self.parent.tolist()
        for bus in range(len(flow) - 1, 0, -1):
            flow[parent[bus]] += flow[bus]
        return np.array(flow, dtype=np.int64)

    def contracted(self, joins: Flags) -> Contraction:
        """Join the two buses of each line marked in ``joins``, ``bool[buses]``."""
        zone_of_bus: list[int] = []
        heads: list[int] = []
        parents = self.parent.tolist()
        for bus, (parent, joined) in enumerate(zip(parents, joins.tolist(), strict=True)):
            if bus and joined:
                zone_of_bus.append(zone_of_bus[parent])
            else:
                zone_of_bus.append(len(heads))
                heads.append(bus)
        zones = np.array(zone_of_bus, dtype=np.int64)
        head_bus = np.array(heads, dtype=np.int64)
        smaller = Feeder(zones[self.parent[head_bus]], self.up_wh[head_bus], self.down_wh[head_bus])
        return Contraction(smaller, zones, head_bus)


def connect(orders: Orders, feeder: Feeder | None) -> tuple[Feeder, Ints]:
    """Put orders on a feeder.

    Args:
        orders: The book.
        feeder: The feeder; None puts every order on one bus.

    Returns:
        The feeder and the bus of every order, ``int64[n]``.

    Raises:
        FeederError: An order's bus is not on the feeder.
    """
    if feeder is None:
        return Feeder.single_bus(), np.zeros(len(orders), dtype=np.int64)
    if len(orders) and int(orders.bus.max()) >= len(feeder):
        seq = int(orders.seq[np.argmax(orders.bus)])
        raise FeederError(
            f"order {seq} is on bus {int(orders.bus.max())}, the feeder has {len(feeder)} buses; "
            "check the node's bus or use the feeder it belongs to"
        )
    return feeder, orders.bus


def sum_by(place: Ints, amount: Ints, places: int) -> Ints:
    """Sum amounts by place, ``int64[places]``; exact, unlike ``bincount`` with weights."""
    total = np.zeros(places, dtype=np.int64)
    if places == 1:
        total[0] = amount.sum()
    else:
        np.add.at(total, place, amount)
    return total
