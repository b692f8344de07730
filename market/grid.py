"""A feeder as its file describes it, and the tree that the linear flow of a clearing runs on.

The file is JSON, plain or gzipped: `data/*/grid.json`, made by `scripts/extract_simbench.py`. The
electrical fields keep the names and units of pandapower's tables.
"""

import gzip
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

IntArray: TypeAlias = NDArray[np.int64]

_Id = Annotated[int, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class GridError(ValueError):
    """A grid, or something that refers to one, is wrong; the message says what to correct."""


class GridFileError(GridError):
    """A grid file cannot be read or describes no feeder."""

    def __init__(self, path: Path, why: str) -> None:
        """Name the file and what is wrong with it.

        Args:
            path: The file.
            why: What is wrong.
        """
        super().__init__(f"{path}: {why}; make it with scripts/extract_simbench.py or correct it")


class UnknownBus(GridError):
    """A bus is not part of the grid."""

    def __init__(self, unknown: Iterable[int], net: str) -> None:
        """Name the buses and the net.

        Args:
            unknown: The buses that are not there.
            net: Name of the net.
        """
        names = ", ".join(str(bus) for bus in sorted(set(unknown)))
        super().__init__(f"bus {names} is not in grid {net!r}: correct the bus in the registry")


class _Element(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Bus(_Element):
    """A node of the grid: its nominal voltage (V) and the band it must keep (pu)."""

    bus: _Id
    name: str
    vn_v: Annotated[int, Field(gt=0)]
    min_vm_pu: _Positive
    max_vm_pu: _Positive


class Line(_Element):
    """A cable between two buses of the same nominal voltage.

    `max_i_a` is its rating in A, `limit_w` the same in W: three phases at nominal voltage and
    power factor 1, rounded down.
    """

    line: _Id
    name: str
    from_bus: _Id
    to_bus: _Id
    length_km: _Positive
    r_ohm_per_km: _Positive
    x_ohm_per_km: _NotNegative
    c_nf_per_km: _NotNegative
    max_i_a: Annotated[int, Field(gt=0)]
    limit_w: Annotated[int, Field(gt=0)]


class Transformer(_Element):
    """The transformer above the feeder; `limit_w` is its rating `sn_mva` in W."""

    name: str
    hv_bus: _Id
    lv_bus: _Id
    limit_w: Annotated[int, Field(gt=0)]
    sn_mva: _Positive
    vn_hv_kv: _Positive
    vn_lv_kv: _Positive
    vk_percent: _Positive
    vkr_percent: _NotNegative
    pfe_kw: _NotNegative
    i0_percent: _NotNegative
    shift_degree: float
    tap_side: Literal["hv", "lv"]
    tap_neutral: int
    tap_pos: int
    tap_step_percent: _NotNegative


class Feed(_Element):
    """Where the public grid holds the voltage: above the transformer."""

    bus: _Id
    vm_pu: _Positive


class Grid(_Element):
    """A radial feeder below one transformer.

    Attributes:
        net: Name of the net.
        source: Where it comes from, with its licence.
        first_row_of_year: Row of the source's year that the profiles beside it begin with.
        buses: All buses, the feed's included.
        lines: All lines.
        trafo: The transformer.
        feed: The feed-in point.
        var_per_w: By meter, the reactive power (var) drawn with each W imported.
    """

    net: str
    source: str
    first_row_of_year: int
    buses: tuple[Bus, ...]
    lines: tuple[Line, ...]
    trafo: Transformer
    feed: Feed
    var_per_w: dict[str, float]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a grid file.

        Args:
            path: JSON, gzipped if it ends in `.gz`.

        Raises:
            GridFileError: If it cannot be read or is no radial feeder below one transformer.
        """
        try:
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "grid"
            raise GridFileError(path, f"{where}: {first['msg']}") from error
        except (OSError, EOFError, zlib.error) as error:
            raise GridFileError(path, f"cannot be read ({error})") from error

    @model_validator(mode="after")
    def _is_a_feeder(self) -> Self:
        numbers = [bus.bus for bus in self.buses]
        if len(set(numbers)) < len(numbers):
            raise ValueError("a bus is there twice")
        ends = {self.feed.bus, self.trafo.hv_bus, self.trafo.lv_bus}
        ends.update(bus for line in self.lines for bus in (line.from_bus, line.to_bus))
        if ends - set(numbers):
            raise ValueError(f"buses {sorted(ends - set(numbers))} are named but not described")
        if self.feed.bus != self.trafo.hv_bus:
            raise ValueError(f"the feed is at bus {self.feed.bus}, not above the transformer")
        feed = self.bus(self.feed.bus)
        if not feed.min_vm_pu <= self.feed.vm_pu <= feed.max_vm_pu:
            raise ValueError(f"the feed holds {self.feed.vm_pu} pu, outside the band of its bus")
        below = len(self.tree.buses)
        # Joined with as many branches as buses below the feed: a tree.
        if below != len(self.buses) or len(self.lines) + 1 != len(self.buses) - 1:
            raise ValueError(
                f"{len(self.lines)} lines join {below} of {len(self.buses)} buses to the feed: "
                "a feeder has one way to each bus"
            )
        return self

    def bus(self, bus: int) -> Bus:
        """Return a bus by its number.

        Raises:
            UnknownBus: If there is none of that number.
        """
        if bus not in self._by_number:
            raise UnknownBus([bus], self.net)
        return self._by_number[bus]

    @cached_property
    def _by_number(self) -> dict[int, Bus]:
        return {bus.bus: bus for bus in self.buses}

    @cached_property
    def tree(self) -> "Tree":
        """The buses with their parents first, breadth first, siblings by ascending number."""
        joined: dict[int, list[tuple[int, Line | Transformer]]] = defaultdict(list)
        for line in self.lines:
            joined[line.from_bus].append((line.to_bus, line))
            joined[line.to_bus].append((line.from_bus, line))
        joined[self.trafo.hv_bus].append((self.trafo.lv_bus, self.trafo))
        order, branches = [self.feed.bus], []
        seen = {self.feed.bus}
        for position, upper in enumerate(order):
            for lower, element in sorted(joined[upper], key=lambda edge: edge[0]):
                if lower not in seen:
                    seen.add(lower)
                    order.append(lower)
                    branches.append(Branch(element, position, upper, lower))
        return Tree(self.net, tuple(order), tuple(branches))


@dataclass(frozen=True, slots=True)
class Branch:
    """A line or the transformer, seen from the feed.

    Attributes:
        element: What it is.
        parent: Position of its upper bus in `Tree.buses`.
        upper: The bus nearer to the feed.
        lower: The bus further from it.
    """

    element: Line | Transformer
    parent: int
    upper: int
    lower: int

    @property
    def name(self) -> str:
        """Name of the element."""
        return self.element.name

    @property
    def limit_w(self) -> int:
        """Static limit in either direction, W."""
        return self.element.limit_w


@dataclass(frozen=True)
class Tree:
    """A feeder as a tree, parents first: branch k joins `buses[k + 1]` to its parent.

    Attributes:
        net: Name of the net.
        buses: Bus numbers; the first is the feed.
        branches: One fewer than buses; with a feed above one transformer, the first is it.
    """

    net: str
    buses: tuple[int, ...]
    branches: tuple[Branch, ...]

    @property
    def parents(self) -> tuple[int, ...]:
        """Position of each bus's parent in `buses`; 0 for the feed itself."""
        return (0, *(branch.parent for branch in self.branches))

    def limits_wh(self, period_s: int = 900) -> tuple[int, ...]:
        """Return the static limit of every branch as energy of a period, Wh, rounded down.

        Args:
            period_s: Length of a period in seconds.
        """
        return tuple(branch.limit_w * period_s // 3600 for branch in self.branches)

    def columns(self, buses: Sequence[int] | IntArray) -> IntArray:
        """Return the position of each bus in `buses`.

        Args:
            buses: Bus numbers, shape (columns,).

        Raises:
            UnknownBus: If one is not in the tree.
        """
        numbers = [int(bus) for bus in buses]
        unknown = [bus for bus in numbers if bus not in self._positions]
        if unknown:
            raise UnknownBus(unknown, self.net)
        return np.array([self._positions[bus] for bus in numbers], dtype=np.int64)

    def flows_wh(self, net_export_wh: IntArray) -> IntArray:
        """Return the lossless flow of every branch: what its buses below export (Peng Eq. 9).

        Args:
            net_export_wh: Energy fed in less energy drawn, Wh, shape (cases, buses) in the order
                of `buses`.

        Returns:
            Wh, shape (cases, branches); positive flows up, towards the feed.

        Raises:
            GridError: If the shape is another.
        """
        if net_export_wh.ndim != 2 or net_export_wh.shape[1] != len(self.buses):
            raise GridError(
                f"net_export_wh has shape {net_export_wh.shape}: "
                f"give (cases, {len(self.buses)}), a column for each bus of the tree"
            )
        # Buses first, so that each addition is over contiguous memory.
        below = np.array(net_export_wh.T, order="C")
        for position in range(len(self.buses) - 1, 0, -1):
            below[self.branches[position - 1].parent] += below[position]
        return np.ascontiguousarray(below[1:].T)

    def path(self, position: int) -> tuple[int, ...]:
        """Return the branches from a bus up to the feed, nearest first.

        Args:
            position: Position of the bus in `buses`.
        """
        branches: list[int] = []
        while position:
            branches.append(position - 1)
            position = self.branches[position - 1].parent
        return tuple(branches)

    @cached_property
    def _positions(self) -> Mapping[int, int]:
        return {bus: position for position, bus in enumerate(self.buses)}
