"""Reference model of the vault: who has how much, and what a settlement moves (SPEC section 7).

Money is micro-yuan. The grid company's account (node 0) is the residual: it pays credits, takes
debits, is owed the members' debts and owes the claims.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from market.prices import Benchmark, Limits
from market.settlement import NYUAN_PER_UYUAN, Transfer, div_up
from market.types import GRID_COMPANY, Position

WINDOW_PERIODS = 96
"""Periods, from the first open one on, that orders may be live in."""


class Outcome(IntEnum):
    """How an order fared that was to enter a period, as the vault's byte."""

    ENTERED = 0
    ALREADY_LIVE = 1
    IN_DEBT = 2
    INSUFFICIENT_FREE = 3


class LedgerError(ValueError):
    """The vault refuses a movement of money."""


class InsufficientFundsError(LedgerError):
    """An account's free funds do not cover what is asked of them."""

    def __init__(self, node: int, free_uyuan: int, needed_uyuan: int, purpose: str) -> None:
        """Say who lacks how much for what.

        Args:
            node: The account.
            free_uyuan: What is free, micro-yuan.
            needed_uyuan: What would have to be free, micro-yuan.
            purpose: What the money was for.
        """
        super().__init__(
            f"node {node} has {free_uyuan} uyuan free but needs {needed_uyuan} to {purpose}; "
            f"deposit {needed_uyuan - free_uyuan} more or ask for less"
        )


class InDebtError(LedgerError):
    """A node in debt cannot lock funds, hence cannot trade."""

    def __init__(self, node: int, debt_uyuan: int) -> None:
        """Say who owes how much.

        Args:
            node: The account.
            debt_uyuan: What it owes the grid company, micro-yuan.
        """
        super().__init__(f"node {node} owes {debt_uyuan} uyuan; deposit as much before trading")


@dataclass(slots=True)
class Account:
    """Balances of one node, micro-yuan.

    Attributes:
        free_uyuan: May be locked or withdrawn.
        locked_uyuan: Locks of unsettled positions, and money held for flagged periods.
        debt_uyuan: Owed to the grid company.
    """

    free_uyuan: int = 0
    locked_uyuan: int = 0
    debt_uyuan: int = 0


@dataclass(slots=True)
class Claim:
    """Credit the grid company could not pay when it was due, micro-yuan.

    Attributes:
        node: Who is owed.
        amount_uyuan: What is owed in all.
        funded_uyuan: What the grid company has set aside for it since.
        collected_uyuan: What the node has collected of that.
    """

    node: int
    amount_uyuan: int
    funded_uyuan: int = 0
    collected_uyuan: int = 0


def position_lock_uyuan(position: Position, prices: Benchmark) -> int:
    """Lock of a whole position (SPEC section 5).

    The buyer's worst case is what it agreed plus the fee; the seller's is buying everything back at
    retail.

    Args:
        position: The position; its own `locked_uyuan` is not read.
        prices: Prices of the period.

    Returns:
        `ceil((pay + fee * Qb) / 1000) + ceil(retail * Qs / 1000)`, micro-yuan.
    """
    buyer_nyuan = position.pay_nyuan + prices.fee_uyuan_per_kwh * position.bought_wh
    seller_nyuan = prices.retail_uyuan_per_kwh * position.sold_wh
    return div_up(buyer_nyuan, NYUAN_PER_UYUAN) + div_up(seller_nyuan, NYUAN_PER_UYUAN)


def margin_uyuan(import_capacity_wh: int, limits: Limits, unsettled_periods: int) -> int:
    """Money a withdrawal must leave (SPEC section 5).

    Args:
        import_capacity_wh: Largest import of the node in a period, Wh.
        limits: The caps fixed at deployment.
        unsettled_periods: Periods that have started and are not settled, already capped at as many
            as can be open.

    Returns:
        `ceil(capacity * (price_cap + fee_cap) / 1000)` for every such period, micro-yuan.
    """
    worst_uyuan_per_kwh = limits.price_cap_uyuan_per_kwh + limits.fee_cap_uyuan_per_kwh
    return unsettled_periods * div_up(import_capacity_wh * worst_uyuan_per_kwh, NYUAN_PER_UYUAN)


class Ledger:
    """Accounts, locks, orders, holds and claims of one vault.

    A call either succeeds or raises and changes nothing.
    """

    def __init__(self) -> None:
        """Open an empty vault."""
        self.accounts: dict[int, Account] = {}
        self.locks: dict[tuple[int, int], int] = {}
        self.orders: dict[tuple[int, int], int] = {}
        self.live: dict[int, set[int]] = {}
        self.holds: dict[tuple[int, int], int] = {}
        self.transits: dict[int, int] = {}
        self.claims: list[Claim] = []
        self.token_balance_uyuan = 0

    def account(self, node: int) -> Account:
        """Balances of a node, opened empty at its first use."""
        return self.accounts.setdefault(node, Account())

    def deposit(self, node: int, amount_uyuan: int) -> None:
        """Take tokens in: debt is repaid first, the rest is free.

        Raises:
            LedgerError: If the amount is not positive.
        """
        _require_positive(amount_uyuan, "deposit")
        self.token_balance_uyuan += amount_uyuan
        if node == GRID_COMPANY:
            self._grid_receives(amount_uyuan)
            return
        self.account(node).free_uyuan += amount_uyuan
        self._grid_receives(self._repay_from_free(node))

    def withdraw(self, node: int, amount_uyuan: int, margin_uyuan: int = 0) -> None:
        """Pay tokens out of what is free, leaving the margin.

        Raises:
            LedgerError: If the amount is not positive.
            InsufficientFundsError: If less than the margin would stay free.
        """
        _require_positive(amount_uyuan, "withdraw")
        account = self.account(node)
        if account.free_uyuan < amount_uyuan + margin_uyuan:
            raise InsufficientFundsError(
                node,
                account.free_uyuan,
                amount_uyuan + margin_uyuan,
                f"withdraw {amount_uyuan} and leave a margin of {margin_uyuan}",
            )
        account.free_uyuan -= amount_uyuan
        self.token_balance_uyuan -= amount_uyuan

    def lock(self, period: int, node: int, lock_uyuan: int) -> None:
        """Set the lock of a node's whole position of a period, however much was locked before.

        Raises:
            InDebtError: If the node is in debt.
            InsufficientFundsError: If the increase is not free.
        """
        account = self.account(node)
        if account.debt_uyuan:
            raise InDebtError(node, account.debt_uyuan)
        increase = lock_uyuan - self.locks.get((period, node), 0)
        if account.free_uyuan < increase:
            raise InsufficientFundsError(node, account.free_uyuan, increase, "back its position")
        account.free_uyuan -= increase
        account.locked_uyuan += increase
        self.locks[period, node] = lock_uyuan

    def enter(self, period: int, open_period: int, node: int, lock_uyuan: int) -> Outcome:
        """Let a node's order into a period and lock what it needs; one order a period is live.

        Args:
            period: The period.
            open_period: The first period whose gate is open; it never decreases.
            node: The order's node.
            lock_uyuan: The order's lock, apart from that of the node's position.

        Returns:
            Whether it entered, or why not; then nothing changed.

        Raises:
            LedgerError: If the period is not among the 96 from `open_period` on.
        """
        _require_in_window(period, open_period)
        account = self.account(node)
        if account.debt_uyuan:
            return Outcome.IN_DEBT
        if period in self.live.get(node, ()):
            return Outcome.ALREADY_LIVE
        if account.free_uyuan < lock_uyuan:
            return Outcome.INSUFFICIENT_FREE
        account.free_uyuan -= lock_uyuan
        account.locked_uyuan += lock_uyuan
        self.orders[period, node] = lock_uyuan
        self.live[node] = self._still_live(node, open_period) | {period}
        return Outcome.ENTERED

    def leave(self, period: int, open_period: int, node: int) -> None:
        """Take a node's order out of a period again and release its lock; debt is repaid first.

        Raises:
            LedgerError: If the period is not among the 96 from `open_period` on, or no order of
                the node is in it.
        """
        _require_in_window(period, open_period)
        if (period, node) not in self.orders:
            raise LedgerError(f"node {node} has no order in period {period}")
        released = self.orders.pop((period, node))
        account = self.account(node)
        account.locked_uyuan -= released
        account.free_uyuan += released
        self._grid_receives(self._repay_from_free(node))
        self.live[node] = self._still_live(node, open_period) - {period}

    def period_lock_uyuan(self, period: int, node: int) -> int:
        """What a node has locked for a period, behind its position and its order, micro-yuan."""
        return self.locks.get((period, node), 0) + self.orders.get((period, node), 0)

    def apply(self, period: int, transfers: Iterable[Transfer], *, last: bool = True) -> None:
        """Move the money of one call of a settlement, debits before credits.

        Credits are paid from what the settlement's debits brought in, then by the grid company;
        what the debits leave after the last call is the grid company's.

        Args:
            period: The period settled.
            transfers: At most one per node, from `market.settlement.delta` or any part of it.
            last: Whether the settlement ends with this call.

        Raises:
            LedgerError: If a transfer releases another lock than the vault has, or a node occurs
                twice.
        """
        batch = list(transfers)
        if len({transfer.node for transfer in batch}) != len(batch):
            raise LedgerError(f"period {period}: a node occurs twice in one call")
        for transfer in batch:
            locked = self.period_lock_uyuan(period, transfer.node)
            if transfer.release_uyuan != locked:
                raise LedgerError(
                    f"period {period}: the settlement releases {transfer.release_uyuan} uyuan of "
                    f"node {transfer.node}, but {locked} are locked; was a version settled twice?"
                )
        for transfer in batch:
            if transfer.net_uyuan < 0:
                self._move(period, transfer)
        for transfer in batch:
            if transfer.net_uyuan >= 0:
                self._move(period, transfer)
        if last:
            self._grid_receives(self.transits.pop(period, 0))

    def collect(self, node: int) -> int:
        """Move what is funded of a node's claims to its free balance, after repaying its debt.

        Returns:
            The amount collected, micro-yuan; 0 if nothing is funded.
        """
        amount = 0
        for claim in self.claims:
            if claim.node == node:
                amount += claim.funded_uyuan - claim.collected_uyuan
                claim.collected_uyuan = claim.funded_uyuan
        self.account(node).free_uyuan += amount
        self._grid_receives(self._repay_from_free(node))
        return amount

    def claims_uyuan(self, node: int) -> int:
        """What a node is still owed in claims, funded or not, micro-yuan."""
        return sum(c.amount_uyuan - c.collected_uyuan for c in self.claims if c.node == node)

    def worth_uyuan(self, node: int) -> int:
        """`free + locked + claims - debt` of a node; moves by exactly `net`, micro-yuan.

        For the grid company debts and money in transit are owned, unfunded claims owed.
        """
        account = self.account(node)
        if node == GRID_COMPANY:
            debts = sum(a.debt_uyuan for a in self.accounts.values())
            unfunded = sum(c.amount_uyuan - c.funded_uyuan for c in self.claims)
            return account.free_uyuan + sum(self.transits.values()) + debts - unfunded
        own = account.free_uyuan + account.locked_uyuan
        return own + self.claims_uyuan(node) - account.debt_uyuan

    def backing_uyuan(self) -> int:
        """Free, locked, in-transit and funded, uncollected money: always the token balance."""
        own = sum(a.free_uyuan + a.locked_uyuan for a in self.accounts.values())
        own += sum(self.transits.values())
        return own + sum(c.funded_uyuan - c.collected_uyuan for c in self.claims)

    def _move(self, period: int, transfer: Transfer) -> None:
        account = self.account(transfer.node)
        key = (period, transfer.node)
        # The first settlement finds locks, later ones what the version before has held.
        released = self.locks.pop(key, 0) + self.orders.pop(key, 0) + self.holds.pop(key, 0)
        account.locked_uyuan -= released
        account.free_uyuan += released

        if transfer.net_uyuan < 0:
            due = -transfer.net_uyuan
            paid = min(account.free_uyuan, due)
            account.free_uyuan -= paid
            account.debt_uyuan += due - paid
            self._brings_in(period, paid)
        else:
            self._credit(period, transfer.node, transfer.net_uyuan)
        self._brings_in(period, self._repay_from_free(transfer.node))

        if transfer.flagged:
            held = min(account.free_uyuan, max(0, released + transfer.net_uyuan))
            account.free_uyuan -= held
            account.locked_uyuan += held
            if held:
                self.holds[key] = held

    def _brings_in(self, period: int, amount_uyuan: int) -> None:
        self.transits[period] = self.transits.get(period, 0) + amount_uyuan

    def _credit(self, period: int, node: int, amount_uyuan: int) -> None:
        account, grid = self.account(node), self.account(GRID_COMPANY)
        repaid = min(amount_uyuan, account.debt_uyuan)
        account.debt_uyuan -= repaid
        owed = amount_uyuan - repaid
        from_transit = min(owed, self.transits.get(period, 0))
        from_grid = min(owed - from_transit, grid.free_uyuan)
        self._brings_in(period, -from_transit)
        grid.free_uyuan -= from_grid
        paid = from_transit + from_grid
        account.free_uyuan += paid
        if owed > paid:
            self.claims.append(Claim(node=node, amount_uyuan=owed - paid))

    def _repay_from_free(self, node: int) -> int:
        # A node in debt has nothing free, or it could withdraw what it owes.
        account = self.account(node)
        repaid = min(account.free_uyuan, account.debt_uyuan)
        account.free_uyuan -= repaid
        account.debt_uyuan -= repaid
        return repaid

    def _still_live(self, node: int, open_period: int) -> set[int]:
        return {period for period in self.live.get(node, ()) if period >= open_period}

    def _grid_receives(self, amount_uyuan: int) -> None:
        rest = amount_uyuan
        for claim in self.claims:
            funded = min(rest, claim.amount_uyuan - claim.funded_uyuan)
            claim.funded_uyuan += funded
            rest -= funded
        self.account(GRID_COMPANY).free_uyuan += rest


def _require_in_window(period: int, open_period: int) -> None:
    if not 0 <= period - open_period < WINDOW_PERIODS:
        raise LedgerError(
            f"period {period} is not among the {WINDOW_PERIODS} periods from {open_period} on"
        )


def _require_positive(amount_uyuan: int, what: str) -> None:
    if amount_uyuan <= 0:
        raise LedgerError(f"cannot {what} {amount_uyuan} uyuan; give a positive amount")
