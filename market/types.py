"""Small types shared by the pure models: options, quality, position, meter reading.

Largest values follow SPEC section 2; a value outside them is refused where it is made, so that
no function downstream has to ask again.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

MAX_ENERGY_WH = 2**40 - 1
"""Largest energy of a node in a period, Wh."""

MAX_PLAN_NYUAN = 2**72 - 1
"""Largest money a position receives or pays, nano-yuan."""

MAX_SUPPLY_UYUAN = 2**64 - 1
"""Largest token supply, hence largest lock, micro-yuan."""

GRID_COMPANY = 0
"""Node id of the grid company's account; members count from 1."""


class OutOfRangeError(ValueError):
    """A quantity lies outside the range the chain can carry."""

    def __init__(self, name: str, value: int, lowest: int, highest: int) -> None:
        """Say which quantity, its value and its range.

        Args:
            name: The quantity, with its unit.
            value: What was given.
            lowest: Smallest value allowed.
            highest: Largest value allowed.
        """
        super().__init__(
            f"{name} is {value}, outside [{lowest}, {highest}]; correct it at its source, "
            "values are never clipped"
        )


def require_range(name: str, value: int, highest: int, lowest: int = 0) -> None:
    """Refuse a value outside `[lowest, highest]`.

    Raises:
        OutOfRangeError: If it is outside.
    """
    if not lowest <= value <= highest:
        raise OutOfRangeError(name, value, lowest, highest)


class Options(IntFlag):
    """What a node lets the market do with its deviation (SPEC section 5)."""

    NONE = 0
    RESERVE = 1
    """My surplus may compensate others at the compensation price."""
    OFFER = 2
    """Sell my surplus at the selling price."""
    TAKE = 4
    """Let me take others' surplus at the selling price."""


class Quality(IntEnum):
    """Where the values of a reading come from."""

    MEASURED = 0
    SUBSTITUTED = 1
    """The meter was silent; the committee gives profile values."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a node has agreed for one period, summed over its agreements.

    Attributes:
        node: Member id, from 1.
        options: Union of the options given.
        sold_wh: Energy sold, `Qs`, Wh.
        bought_wh: Energy bought, `Qb`, Wh.
        receive_nyuan: Money agreed for the energy sold, nano-yuan.
        pay_nyuan: Money agreed for the energy bought, nano-yuan.
        locked_uyuan: Funds locked for the position, micro-yuan.
    """

    node: int
    options: Options = Options.NONE
    sold_wh: int = 0
    bought_wh: int = 0
    receive_nyuan: int = 0
    pay_nyuan: int = 0
    locked_uyuan: int = 0

    def __post_init__(self) -> None:
        """Refuse what no packed record can hold.

        Raises:
            OutOfRangeError: If a field is negative or above its largest value.
        """
        _require_member(self.node)
        require_range("position options", int(self.options), 7)
        require_range("position sold_wh", self.sold_wh, MAX_ENERGY_WH)
        require_range("position bought_wh", self.bought_wh, MAX_ENERGY_WH)
        require_range("position receive_nyuan", self.receive_nyuan, MAX_PLAN_NYUAN)
        require_range("position pay_nyuan", self.pay_nyuan, MAX_PLAN_NYUAN)
        require_range("position locked_uyuan", self.locked_uyuan, MAX_SUPPLY_UYUAN)


@dataclass(frozen=True, slots=True)
class MeterReading:
    """What the committee reports for one node and period.

    Attributes:
        node: Member id, from 1.
        quality: Measured, or substituted by a profile.
        export_wh: Energy fed into the grid, `E`, Wh.
        import_wh: Energy drawn from the grid, `I`, Wh.
    """

    node: int
    quality: Quality
    export_wh: int
    import_wh: int

    def __post_init__(self) -> None:
        """Refuse what no packed record can hold.

        Raises:
            OutOfRangeError: If a field is negative or above its largest value.
        """
        _require_member(self.node)
        require_range("reading quality", int(self.quality), 1)
        require_range("reading export_wh", self.export_wh, MAX_ENERGY_WH)
        require_range("reading import_wh", self.import_wh, MAX_ENERGY_WH)


def _require_member(node: int) -> None:
    require_range("node id (0 is the grid company)", node, 2**32 - 1, lowest=1)
