"""Recomputes a settled period from the chain alone, and compares it with what the vault moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from market.bill import Bill, Mode, Settlement
from market.deployment import Market
from market.history import History
from market.prices import PeriodPrices
from market.settlement import settle


class AuditError(Exception):
    """There is nothing to recompute yet; the message says what to wait for."""


@dataclass(frozen=True, slots=True)
class Audit:
    """A settled period: what the model makes of it, and what the chain did.

    Attributes:
        period: The period.
        version: Report version it was last settled on, 0 for none.
        void: The clearing was not complete in time; plans count as nothing.
        prices: Its prices.
        settlement: What the reference model computes.
        moved_uyuan: What the vault moved by node, all versions added up, micro-yuan.
    """

    period: int
    version: int
    void: bool
    prices: PeriodPrices
    settlement: Settlement
    moved_uyuan: Mapping[int, int]

    def bill(self, node: int) -> Bill:
        """Return the bill of a node.

        Raises:
            AuditError: If it took no part in the period.
        """
        for bill in self.settlement.bills:
            if bill.node == node:
                return bill
        raise AuditError(
            f"node {node} has neither a position nor a reading in period {self.period}; "
            f"the nodes that have: {', '.join(str(b.node) for b in self.settlement.bills)}"
        )

    @property
    def differing(self) -> tuple[int, ...]:
        """Nodes for which the vault moved something else than their bill says, ascending."""
        nets = self.settlement.nets_uyuan
        nodes = sorted(nets.keys() | self.moved_uyuan.keys())
        return tuple(n for n in nodes if nets.get(n, 0) != self.moved_uyuan.get(n, 0))


def audit(market: Market, period: int) -> Audit:
    """Recompute a period on the latest version it was settled on.

    Args:
        market: The market.
        period: The period, settled.

    Raises:
        AuditError: If it is not settled, or another version is being settled just now.
        HistoryError: If the chain's events do not add up to its roots.
        ChainError: If the chain does not answer.
    """
    history = History(market)
    state = history.state(period)
    if not state.settled:
        raise AuditError(
            f"period {period} is not settled; wait for its report, or settle it yourself once "
            "its deadline has passed"
        )
    if history.job(period) is not None:
        raise AuditError(f"a version of period {period} is being settled; ask again when it is")
    mode = Mode.FINAL if history.ended(period) else Mode.PROVISIONAL
    prices, void = history.prices(period), history.void(period)
    model = settle(
        history.positions(period),
        history.readings(period, state.version),
        prices,
        mode,
        void=void,
    )
    moved: dict[int, int] = {}
    for move in history.moved(period):
        moved[move.node] = moved.get(move.node, 0) + move.net_uyuan
    return Audit(period, state.version, void, prices, model, moved)
