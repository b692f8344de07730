"""What a settlement says: a bill of six lines per node, and the grid company's account.

The lines are those of SPEC section 6, so that a member can recompute every one of them.
"""

from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """How unread meters count."""

    PROVISIONAL = "provisional"
    """Inside the window: as planned or as substituted, money held."""
    FINAL = "final"
    """After the window: nothing was exported."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: energy and money of a node in one leg.

    Attributes:
        sold_wh: Energy sold in the leg, Wh.
        bought_wh: Energy bought in the leg, Wh.
        credit_uyuan: Money received, rounded down, micro-yuan.
        debit_uyuan: Money paid, rounded up, micro-yuan.
    """

    sold_wh: int
    bought_wh: int
    credit_uyuan: int
    debit_uyuan: int

    @property
    def net_uyuan(self) -> int:
        """What the line adds to the node's account, micro-yuan."""
        return self.credit_uyuan - self.debit_uyuan


@dataclass(frozen=True, slots=True)
class Deviation:
    """What a node did differently from its plan, all in Wh.

    Attributes:
        export_wh: Effective export, `E`.
        import_wh: Effective import, `I`.
        short_wh: Sold but not delivered.
        extra_wh: Needed beyond the plan for other reasons.
        over_wh: Delivered beyond what was sold.
        unused_wh: Bought but not used.
    """

    export_wh: int
    import_wh: int
    short_wh: int
    extra_wh: int
    over_wh: int
    unused_wh: int


@dataclass(frozen=True, slots=True)
class Bill:
    """Everything a node is paid and charged for in a period.

    Attributes:
        node: Member id.
        flagged: The effective reading is not a measured one.
        locked_uyuan: Lock of the position, micro-yuan.
        deviation: Effective reading and deviation.
        plan: The agreements, take or pay.
        compensation: Leg 1, `Subordinate_one`.
        selling: Leg 2, `Subordinate_two`.
        balance: Leg 3, `Subordinate_two`.
        grid: Leg 4, `Master`.
        fee: Network fee on `Qb + extra`; nothing is sold or received here.
    """

    node: int
    flagged: bool
    locked_uyuan: int
    deviation: Deviation
    plan: Line
    compensation: Line
    selling: Line
    balance: Line
    grid: Line
    fee: Line

    @property
    def lines(self) -> tuple[Line, ...]:
        """The six lines in the order of the specification."""
        return (self.plan, self.compensation, self.selling, self.balance, self.grid, self.fee)

    @property
    def net_uyuan(self) -> int:
        """Net of the node, micro-yuan; positive is received."""
        return sum(line.net_uyuan for line in self.lines)


@dataclass(frozen=True, slots=True)
class GridAccount:
    """The grid company's side of a settlement.

    Attributes:
        sold_wh: Energy it sold, `T4`, Wh.
        bought_wh: Energy it bought, `T4'`, Wh.
        sales_nyuan: `T4 * retail`, received.
        purchases_nyuan: `T4' * feed_in`, paid.
        spread_nyuan: `T3 * (P_c - P_s)`, received.
        fees_nyuan: `sum fee * (Qb + extra)`, received.
        rent_nyuan: What plans paid more than they received, the rent of binding lines.
        dust_nyuan: What rounding left, never negative.
        net_uyuan: Minus the sum of all nodes' nets.
    """

    sold_wh: int
    bought_wh: int
    sales_nyuan: int
    purchases_nyuan: int
    spread_nyuan: int
    fees_nyuan: int
    rent_nyuan: int
    dust_nyuan: int
    net_uyuan: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """One version of a period's settlement.

    Attributes:
        bills: One per node with a position or a reading, in ascending node id.
        grid_company: The residual account.
        mode: Provisional or final.
    """

    bills: tuple[Bill, ...]
    grid_company: GridAccount
    mode: Mode

    @property
    def nets_uyuan(self) -> dict[int, int]:
        """Net of every node by id, micro-yuan, without the grid company."""
        return {bill.node: bill.net_uyuan for bill in self.bills}

    @property
    def flagged(self) -> tuple[int, ...]:
        """Nodes whose effective reading is not a measured one, ascending."""
        return tuple(bill.node for bill in self.bills if bill.flagged)
