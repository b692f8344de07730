"""A member's hands on a market: order, sign, cancel, follow, explain. docs/sdk.md shows them.

Everything a member is told comes from the chain and is checked against what the contracts keep.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from eth_account.signers.local import LocalAccount

from market.audit import audit
from market.bill import Bill
from market.clear_calls import read_auction
from market.clearing import Explained
from market.deployment import Market
from market.history import History
from market.messages import NO_ORDER_DEADLINE, Cancel, Order, Step, compact
from market.orders import SignedOrder, encode_entries
from market.packing import bucket_of
from market.types import Options

POLL_S = 1.0
"""Pause between two looks at a period."""


class Stage(StrEnum):
    """Where a period stands, as a member sees it."""

    OPEN = "open"
    """Orders are taken."""
    CLOSED = "closed"
    """The gate has closed, no clearing is checked yet."""
    CHECKED = "checked"
    """A clearing is checked, the committee votes."""
    CLEARED = "cleared"
    """The positions are fixed."""
    VOID = "void"
    """No clearing in time: nothing trades."""
    REPORTED = "reported"
    """The committee agreed on the readings."""
    SETTLED = "settled"
    """Money has moved; later readings may move the difference."""
    FINAL = "final"
    """Nothing can follow."""


@dataclass(frozen=True, slots=True)
class Account:
    """Explanation of a member's period.

    Attributes:
        period: The period.
        stage: Where it stands.
        steps: What became of each step of the order; empty before the gate, or without an order.
        bill: The lines of the settlement; None before it.
    """

    period: int
    stage: Stage
    steps: tuple[Explained, ...]
    bill: Bill | None

    def __str__(self) -> str:
        """Say it in a line for each step and each line of the bill."""
        lines = [f"period {self.period}: {self.stage}", *map(str, self.steps)]
        if self.bill is not None:
            names = ("plan", "compensation", "selling", "local balance", "grid", "fee")
            lines += [
                f"{name}: sold {line.sold_wh} Wh, bought {line.bought_wh} Wh, "
                f"{line.net_uyuan:+d} uyuan"
                for name, line in zip(names, self.bill.lines, strict=True)
                if line.sold_wh or line.bought_wh
            ]
            lines.append(f"net {self.bill.net_uyuan:+d} uyuan")
        return "\n".join(lines)


def bid(energy_wh: int, limit_uyuan_per_kwh: int) -> Step:
    """Return a step that buys so much at no more than the limit."""
    return Step(False, energy_wh, limit_uyuan_per_kwh)


def ask(energy_wh: int, limit_uyuan_per_kwh: int) -> Step:
    """Return a step that sells so much at no less than the limit."""
    return Step(True, energy_wh, limit_uyuan_per_kwh)


class Member:
    """One node of a market and the account that acts for it.

    Attributes:
        market: The market.
        account: The node's account, which signs and, for its own transactions, pays gas.
        node: The node's id.
    """

    def __init__(self, market: Market, account: LocalAccount, node: int) -> None:
        """Act for a node; nothing is sent before the first use."""
        self.market, self.account, self.node = market, account, node
        self._history = History(market)

    def order(
        self,
        period: int,
        *steps: Step,
        last_period: int | None = None,
        options: Options = Options.NONE,
        deadline: int = NO_ORDER_DEADLINE,
    ) -> Order:
        """Write an order with the least nonce that the book takes.

        Args:
            period: The period; of a standing order the first.
            steps: One to four, see `bid` and `ask`.
            last_period: Last period of a standing order.
            options: What the node lets happen to its deviation.
            deadline: Last second it may be placed, Unix time.

        Raises:
            ChainError: If the chain does not answer.
        """
        read = self.market.book.functions.leastNonceOf(self.node, period)
        nonce = int(self.market.chain.read(read))
        last = period if last_period is None else last_period
        return Order(self.node, period, last, steps, nonce, options, deadline)

    def sign(self, order: Order) -> SignedOrder:
        """Sign an order, so that anyone can place it and pay for it."""
        return SignedOrder(order, compact(order.sign(self.account, self.market.domain)))

    def place(self, period: int, *steps: Step, options: Options = Options.NONE) -> Order:
        """Place an order by an own transaction.

        Raises:
            Reverted: If the book refuses; says why.
            ChainError: If the chain does not answer, or the account cannot pay for gas.
        """
        order = self.order(period, *steps, options=options)
        entry = encode_entries([SignedOrder(order, b"")])
        call = self.market.book.functions.placeOwn(period, bucket_of(self.node), entry)
        self.market.chain.send(self.account, call)
        return order

    def cancel(self, period: int) -> None:
        """Withdraw the order of a period by an own transaction, strictly before its gate.

        Signatures that the order's nonce was good for are dead for the period.

        Raises:
            LookupError: If there is no live order.
            Reverted: If the gate has closed.
            ChainError: If the chain does not answer, or the account cannot pay for gas.
        """
        place = self._history.book(period).place_of(self.node)
        book = self.market.book.functions
        present = int(self.market.chain.read(book.leastNonceOf(self.node, period)))
        cancel = Cancel(self.node, period, present + 1)
        call = book.cancel(cancel.as_tuple(self.market.domain), b"", *place)
        self.market.chain.send(self.account, call)

    def stage(self, period: int) -> Stage:
        """Return where a period stands."""
        state = self._history.state(period)
        if state.final:
            return Stage.FINAL
        if state.settled:
            return Stage.SETTLED
        if self._history.latest_version(period):
            return Stage.REPORTED
        now, schedule = self.market.chain.now(), self.market.schedule
        if state.void or (not state.cleared and now >= schedule.last_call(period)):
            return Stage.VOID
        if state.cleared:
            return Stage.CLEARED
        if state.checked:
            return Stage.CHECKED
        return Stage.CLOSED if now >= schedule.gate(period) else Stage.OPEN

    def follow(self, period: int, poll_s: float = POLL_S) -> Iterator[Stage]:
        """Yield where a period stands, and again whenever that changes, until it is settled.

        A stage that lasts for less than a poll may be passed over.

        Args:
            period: The period.
            poll_s: Pause between two looks, in seconds.
        """
        told = None
        while told not in (Stage.SETTLED, Stage.FINAL):
            stage = self.stage(period)
            if stage is told:
                time.sleep(poll_s)
            else:
                told = stage
                yield stage

    def explain(self, period: int) -> Account:
        """Say what became of the order of a period, and what the settlement moved.

        The clearing is computed again from the book, prices and lines of the chain.

        Raises:
            HistoryError: If the chain's events do not add up to its hashes.
            ChainError: If the chain does not answer.
        """
        stage = self.stage(period)
        steps = () if stage in (Stage.OPEN, Stage.VOID) else self._steps(period)
        bill = None
        if stage in (Stage.SETTLED, Stage.FINAL):
            bills = audit(self.market, period).settlement.bills
            bill = next((b for b in bills if b.node == self.node), None)
        return Account(period, stage, steps, bill)

    def _steps(self, period: int) -> tuple[Explained, ...]:
        book = self._history.book(period)
        auction = read_auction(self.market, self._history, period, book)
        if auction is None:
            return ()
        places = np.flatnonzero(auction.orders.node == self.node).tolist()
        return tuple(auction.explain(auction.clear(), places))
