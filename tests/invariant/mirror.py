"""What a market must be like by the models alone: its book, prices, reports and money."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from market.ledger import Ledger, margin_uyuan, position_lock_uyuan
from market.messages import Agreement
from market.prices import Benchmark, Limits, PeriodPrices
from market.schedule import Schedule
from market.settlement import Mode, Settlement, Transfer, delta, settle
from market.types import GRID_COMPANY, MeterReading, Options, Position

FIRST_PERIOD = 1
"""The market is deployed in period 0."""


@dataclass
class PeriodMirror:
    """One period.

    Attributes:
        positions: Positions by node.
        cleared_buckets: Buckets fixed so far.
        void: Whether clearing was late, once it is complete.
        reports: Accepted reports, version 1 first.
        proposed: Versions and rounds a report was proposed in.
        settled: Version and settlement that money has moved by.
        job: Version and mode of the settlement under way.
        moved: Transfers of the settlement under way so far.
    """

    positions: dict[int, Position] = field(default_factory=dict)
    cleared_buckets: int = 0
    void: bool | None = None
    reports: list[tuple[MeterReading, ...]] = field(default_factory=list)
    proposed: set[tuple[int, int]] = field(default_factory=set)
    settled: tuple[int, Settlement] | None = None
    job: tuple[int, Mode] | None = None
    moved: list[Transfer] = field(default_factory=list)

    @property
    def cleared(self) -> bool:
        """Whether the positions are fixed."""
        return self.void is not None

    @property
    def used(self) -> bool:
        """Whether anybody did anything in the period."""
        return bool(self.positions or self.reports or self.cleared_buckets)


@dataclass
class Mirror:
    """A market as the models see it.

    Attributes:
        schedule: Its clock.
        limits: Its bounds.
        capacity_wh: Import and export capacity of every node.
        benchmarks: (from period, prices), oldest first.
        ledger: All money.
        worth_uyuan: By node, what it put in less what it took out.
        periods: By index.
        fixed: Prices a quorum has fixed, by period.
        suspended: Nodes that may not trade.
        paused: Whether orders are stopped.
        tenants: Which period uses a slot of the book's ring.
    """

    schedule: Schedule
    limits: Limits
    capacity_wh: int
    benchmarks: list[tuple[int, Benchmark]]
    ledger: Ledger = field(default_factory=Ledger)
    worth_uyuan: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    periods: dict[int, PeriodMirror] = field(default_factory=lambda: defaultdict(PeriodMirror))
    fixed: dict[int, PeriodPrices] = field(default_factory=dict)
    suspended: set[int] = field(default_factory=set)
    paused: bool = False
    tenants: dict[int, int] = field(default_factory=dict)

    def prices(self, period: int) -> PeriodPrices:
        """Return the prices of a period past its price deadline."""
        if period in self.fixed:
            return self.fixed[period]
        return PeriodPrices.from_benchmark(self.benchmark(period))

    def benchmark(self, period: int) -> Benchmark:
        """Return the benchmark of a period."""
        return next(b for first, b in reversed(self.benchmarks) if first <= period)

    def deposit(self, node: int, amount_uyuan: int) -> None:
        """Take money in."""
        self.ledger.deposit(node, amount_uyuan)
        self.worth_uyuan[node] += amount_uyuan

    def withdraw(self, node: int, amount_uyuan: int, now: int) -> None:
        """Pay money out; raises as the ledger does."""
        margin = 0 if node == GRID_COMPANY else self.margin_uyuan(now)
        self.ledger.withdraw(node, amount_uyuan, margin)
        self.worth_uyuan[node] -= amount_uyuan

    def margin_uyuan(self, now: int) -> int:
        """Return what a member must leave in the vault."""
        started = self.schedule.period_at(now) + 1 - FIRST_PERIOD
        unsettled = started - sum(p.settled is not None for p in self.periods.values())
        most = self.schedule.settle_deadline_s // self.schedule.length_s + 2
        return margin_uyuan(self.capacity_wh, self.limits, min(unsettled, most))

    # -- the book

    def order_errors(self, period: int, nodes: tuple[int, ...], now: int) -> set[str]:
        """Return the errors an order must be refused with, none if it must be taken."""
        errors = set()
        if self.paused:
            errors.add("OrdersPaused")
        if now < self.schedule.price_opens(period):
            errors.add("BookNotOpen")
        if now >= self.schedule.gate(period):
            errors.add("GateClosed")
        if self.suspended & set(nodes):
            errors.add("NodeSuspended")
        tenant = self.tenants.get(self._slot(period), 0)
        if tenant not in (0, period) and not self.periods[tenant].cleared:
            errors.add("PeriodUncleared")
        return errors

    def agreement_errors(self, a: Agreement, now: int) -> set[str]:
        """Return the errors an agreement must be refused with."""
        errors = self.order_errors(a.period, (a.seller, a.buyer), now)
        if now < self.schedule.price_deadline(a.period) and a.period not in self.fixed:
            return errors | {"PricesNotFixed"}
        prices = self.prices(a.period)
        lowest, highest = prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh
        if not lowest <= a.price_uyuan_per_kwh <= highest:
            errors.add("PriceOutOfBand")
        for position in self._after(a):
            if max(position.sold_wh, position.bought_wh) > self.capacity_wh:
                errors.add("OverCapacity")
            account = self.ledger.account(position.node)
            if account.debt_uyuan:
                errors.add("InDebt")
            locked = self.ledger.locks.get((a.period, position.node), 0)
            if account.free_uyuan < position.locked_uyuan - locked:
                errors.add("InsufficientFree")
        return errors

    def agree(self, a: Agreement) -> None:
        """Place an agreement that has no errors."""
        for position in self._after(a):
            self.ledger.lock(a.period, position.node, position.locked_uyuan)
            self._place(a.period, position)

    def declare(self, period: int, node: int, options: Options) -> None:
        """Place a declaration that has no errors."""
        position = self._position(period, node)
        self._place(period, replace(position, options=position.options | options))

    def _after(self, a: Agreement) -> tuple[Position, Position]:
        """Return both positions as they are once an agreement is placed."""
        sale, purchase = self._position(a.period, a.seller), self._position(a.period, a.buyer)
        amount_nyuan = a.energy_wh * a.price_uyuan_per_kwh
        sale = replace(
            sale,
            options=sale.options | a.seller_options,
            sold_wh=sale.sold_wh + a.energy_wh,
            receive_nyuan=sale.receive_nyuan + amount_nyuan,
        )
        purchase = replace(
            purchase,
            options=purchase.options | a.buyer_options,
            bought_wh=purchase.bought_wh + a.energy_wh,
            pay_nyuan=purchase.pay_nyuan + amount_nyuan,
        )
        prices = self.prices(a.period)
        return (
            replace(sale, locked_uyuan=position_lock_uyuan(sale, prices)),
            replace(purchase, locked_uyuan=position_lock_uyuan(purchase, prices)),
        )

    def _position(self, period: int, node: int) -> Position:
        return self.periods[period].positions.get(node, Position(node))

    def _place(self, period: int, position: Position) -> None:
        self.periods[period].positions[position.node] = position
        self.tenants[self._slot(period)] = period

    def _slot(self, period: int) -> int:
        ring = self.schedule.price_horizon_s // self.schedule.length_s + 2
        return period % ring

    # -- settling

    def is_due(self, period: int, now: int) -> bool:
        """Return whether a settlement of a cleared period is under way or must begin."""
        p = self.periods[period]
        if p.job is not None:
            return True
        late = now >= self.schedule.window_end(period)
        if p.settled is None:
            return late or bool(p.reports) or now >= self.schedule.settle_deadline(period)
        version, settlement = p.settled
        if settlement.mode is Mode.FINAL:
            return False
        return version < len(p.reports) or (late and bool(settlement.flagged))

    def begin(self, period: int, now: int) -> None:
        """Begin a due settlement, unless one is under way."""
        p = self.periods[period]
        if p.job is None:
            late = now >= self.schedule.window_end(period)
            p.job = (len(p.reports), Mode.FINAL if late else Mode.PROVISIONAL)

    def move(self, period: int, transfers: list[Transfer], *, last: bool) -> None:
        """Move the money of one chunk, of a settlement's last one if it is."""
        self.ledger.apply(period, transfers, last=last)
        self.periods[period].moved += transfers

    def finish(self, period: int) -> tuple[int, Settlement, list[Transfer], list[Transfer]]:
        """End the settlement under way: version, settlement, what must have moved and what did."""
        p = self.periods[period]
        assert p.job is not None
        version, mode = p.job
        before = None if p.settled is None else p.settled[1]
        now = self.settlement(period, version, mode)
        moved, p.moved, p.job, p.settled = p.moved, [], None, (version, now)
        return version, now, delta(before, now), moved

    def settlement(self, period: int, version: int, mode: Mode) -> Settlement:
        """Settle a version of a period on its own."""
        p = self.periods[period]
        readings = p.reports[version - 1] if version else ()
        prices = self.prices(period)
        return settle(p.positions.values(), readings, prices, mode, void=bool(p.void))
