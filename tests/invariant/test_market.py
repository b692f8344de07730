"""Random lives of a real market, through its front door, beside the models.

Every handler knows from the models whether the market must take or refuse what it tries, so none of
them can be refused unnoticed. What always holds is checked after every step; in the end time and a
stranger alone settle everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from web3.contract.contract import ContractEvent, ContractFunction
from web3.logs import DISCARD
from web3.types import TxReceipt

from market.chain import Reverted
from market.clear_calls import clear_call
from market.devnet import rpc
from market.keeper import settle_call
from market.ledger import LedgerError
from market.messages import Agreement, Proposal, Topic
from market.packing import pack_positions
from market.prices import Benchmark, PeriodPrices
from market.schedule import Schedule
from market.settlement import Mode
from market.types import GRID_COMPANY, MAX_ENERGY_WH, MeterReading, Options, Quality
from tests.invariant.mirror import FIRST_PERIOD, Mirror
from tests.rooms import balances_at, unpack_transfers
from tests.world import EPOCH_S, LIMITS, PENG, YUAN, World, new_world, undone

LIVES = max(1, int(os.environ.get("SUBGRID_EXAMPLES", "1500")) // 150)
"""Markets that live; a nightly run asks for more."""

LENGTH_S = 900
# Few periods are open at once, so that the book's ring comes round.
SCHEDULE = Schedule(
    epoch_s=EPOCH_S,
    length_s=LENGTH_S,
    price_horizon_s=4 * LENGTH_S,
    price_lead_s=2 * LENGTH_S,
    gate_lead_s=LENGTH_S,
    round_length_s=LENGTH_S,
    settle_deadline_s=2 * LENGTH_S,
    window_s=6 * LENGTH_S,
)
CAPACITY_WH = 20_000
MEMBERS = (1, 2, 3, 256, 257)
"""The nodes that act. The ones between them only fill the first bucket."""

BUCKETS = 2

members = st.sampled_from(MEMBERS)
accounts = st.sampled_from((GRID_COMPANY, *MEMBERS))
amounts_uyuan = st.one_of(st.integers(1, 10 * YUAN), st.integers(1, 1_000 * YUAN))
picks = st.integers(0, 9)
options = st.integers(0, 7).map(Options)
meter_wh = st.one_of(
    st.integers(0, 25_000), st.integers(0, 25_000), st.sampled_from((0, 1, MAX_ENERGY_WH))
)
trades = st.lists(
    st.tuples(
        st.permutations(MEMBERS).map(lambda order: (order[0], order[1])),
        st.one_of(st.integers(1, 8_000), st.integers(1, 21_000)),
        st.sampled_from((-1, 0, 1, 4, 7, 8, 8, 9)),
        options,
        options,
    ),
    min_size=1,
    max_size=5,
)
reports = st.lists(
    st.builds(
        MeterReading, st.sampled_from((*MEMBERS, 77)), st.sampled_from(Quality), meter_wh, meter_wh
    ),
    max_size=8,
    unique_by=lambda reading: reading.node,
).map(tuple)


@st.composite
def benchmarks(draw: st.DrawFn) -> Benchmark:
    """Any prices within the market's limits."""
    cap = LIMITS.price_cap_uyuan_per_kwh
    trading = draw(st.lists(st.integers(0, cap), min_size=5, max_size=5))
    feed_in, selling, planned, compensation, retail = sorted(trading)
    fee = draw(st.integers(0, LIMITS.fee_cap_uyuan_per_kwh))
    return Benchmark(feed_in, selling, planned, compensation, retail, fee)


@contextmanager
def _peopled_world() -> Iterator[World]:
    with new_world(SCHEDULE) as world:
        world.join(3, capacity_wh=CAPACITY_WH)
        fill = range(len(world.members) + 1, 256)
        for part in (fill[:130], fill[130:]):
            admissions = [
                (world.stranger.address, node.to_bytes(32, "big"), 0, 3, 1, 1) for node in part
            ]
            world.chain.send(world.grid, world.market.registry.functions.admit(admissions))
        world.members += [world.stranger] * len(fill)
        world.join(2, capacity_wh=CAPACITY_WH)
        for member in world.members[-2:]:  # beyond the accounts the chain began with
            rpc(world.url, "anvil_setBalance", [member.address, hex(10**20)])
        token, supply_uyuan = world.market.token.functions, 10**15
        world.chain.send(world.grid, token.recharge(world.grid.address, supply_uyuan, "all"))
        world.chain.send(world.grid, token.approve(world.market.vault.address, supply_uyuan))
        yield world


chunks = st.lists(st.tuples(picks, st.integers(1, BUCKETS)), min_size=1, max_size=4)
Trade = tuple[tuple[int, int], int, int, Options, Options]


class Life(RuleBasedStateMachine):
    """One market from its deployment until nothing can follow."""

    world: World

    def __init__(self) -> None:
        """Go back to the peopled market."""
        super().__init__()
        self._stack = ExitStack()
        self._stack.enter_context(undone(self.world))
        self.market, self.chain = self.world.market, self.world.chain
        self.mirror = Mirror(SCHEDULE, LIMITS, CAPACITY_WH, [(0, PENG)])
        self.nonce = 0
        self.running = 0
        self.world.warp(SCHEDULE.start(0) + 100)

    # -- time and money

    @initialize(
        grid_uyuan=st.sampled_from((0, YUAN, 10_000 * YUAN)),
        member_uyuan=st.sampled_from((5 * YUAN, 50 * YUAN, 10_000 * YUAN)),
    )
    def endow(self, grid_uyuan: int, member_uyuan: int) -> None:
        if grid_uyuan:
            self.deposit(GRID_COMPANY, grid_uyuan)
        for node in MEMBERS:
            self.deposit(node, member_uyuan)

    @rule(periods=st.sampled_from((1, 1, 1, 1, 2, 3, 8)))
    def warp(self, periods: int) -> None:
        """Go to ten seconds after some period's start: no handler crosses an instant of any."""
        for node in sorted(self.mirror.suspended):
            self.suspend_or_reinstate(node)
        if self.mirror.paused:
            self.pause_or_unpause()
        self.running += periods
        self.world.warp(SCHEDULE.start(self.running) + 10)

    @rule(node=accounts, amount_uyuan=amounts_uyuan)
    def deposit(self, node: int, amount_uyuan: int) -> None:
        self._send(self.market.vault.functions.deposit(node, amount_uyuan), self.world.grid)
        self.mirror.deposit(node, amount_uyuan)

    @rule(node=accounts, amount_uyuan=amounts_uyuan)
    def withdraw(self, node: int, amount_uyuan: int) -> None:
        call = self.market.vault.functions.withdraw(node, amount_uyuan)
        try:
            self.mirror.withdraw(node, amount_uyuan, self._now())
        except LedgerError:
            self._refused(call, {"InsufficientFree", "MarginRequired"}, self.world.owner(node))
        else:
            self._send(call, self.world.owner(node))

    @rule(node=members)
    def collect(self, node: int) -> None:
        self._send(self.market.vault.functions.collect(node, 10**6))
        self.mirror.ledger.collect(node)

    # -- the grid company

    @rule(node=st.sampled_from((*MEMBERS, None)))
    def hamper(self, node: int | None) -> None:
        """Suspend a node or pause orders, or end that; all of it ends when time passes."""
        if node is None:
            self.pause_or_unpause()
        else:
            self.suspend_or_reinstate(node)

    def suspend_or_reinstate(self, node: int) -> None:
        """Change a node's state."""
        registry = self.market.registry.functions
        if node in self.mirror.suspended:
            self._send(registry.reinstate(node), self.world.grid)
        else:
            self._send(registry.suspend(node, "a test"), self.world.grid)
        self.mirror.suspended ^= {node}

    def pause_or_unpause(self) -> None:
        """Change the market's state."""
        registry = self.market.registry.functions
        self._send(registry.unpause() if self.mirror.paused else registry.pause(), self.world.grid)
        self.mirror.paused = not self.mirror.paused

    @rule(ahead=st.integers(4, 7), prices=benchmarks())
    def set_benchmark(self, ahead: int, prices: Benchmark) -> None:
        first = self.running + ahead
        call = self.market.oracle.functions.setBenchmark(first, _raw(prices))
        if SCHEDULE.price_opens(first) <= self._now():
            self._refused(call, {"BenchmarkTooLate"}, self.world.grid)
        else:
            self._send(call, self.world.grid)
            earlier = [entry for entry in self.mirror.benchmarks if entry[0] < first]
            self.mirror.benchmarks = [*earlier, (first, prices)]

    # -- the book

    @rule(ahead=st.sampled_from((1, 2, 2, 2, 2, 2, 2, 3, 5)), trades=trades)
    def agree(self, ahead: int, trades: list[Trade]) -> None:
        period = self.running + ahead
        prices = self.mirror.prices(period)
        low, high = prices.selling_uyuan_per_kwh, prices.compensation_uyuan_per_kwh
        for (seller, buyer), energy_wh, price_part, *sides in trades:
            price = max(0, low + (high - low) * price_part // 8)
            self.nonce += 1
            nonces = self.nonce, self.nonce
            agreement = Agreement(period, seller, buyer, energy_wh, price, *nonces, *sides)
            if errors := self.mirror.agreement_errors(agreement, self._now()):
                with pytest.raises(Reverted) as refusal:
                    self.world.agree(agreement)
                assert refusal.value.error in errors
            else:
                self.world.agree(agreement)
                self.mirror.agree(agreement)

    @rule(ahead=st.sampled_from((1, 2, 2, 3, 4, 5)), node=members, given_options=options)
    def declare(self, ahead: int, node: int, given_options: Options) -> None:
        period = self.running + ahead
        if errors := self.mirror.order_errors(period, (node,), self._now()):
            with pytest.raises(Reverted) as refusal:
                self.world.declare(period, node, given_options)
            assert refusal.value.error in errors
        else:
            self.world.declare(period, node, given_options)
            self.mirror.declare(period, node, given_options)

    # -- the committee

    @rule(
        ahead=st.sampled_from((3, 4)),
        trading=st.lists(st.integers(0, 8), min_size=3, max_size=3),
        supporters=st.sampled_from((3, 3, 2)),
    )
    def fix_prices(self, ahead: int, trading: list[int], supporters: int) -> None:
        period, now = self.running + ahead, self._now()
        b = self.mirror.benchmark(period)
        low, high = b.feed_in_uyuan_per_kwh, b.retail_uyuan_per_kwh
        selling, planned, compensation = (
            low + (high - low) * part // 8 for part in sorted(trading)
        )
        prices = PeriodPrices(low, selling, planned, compensation, high, b.fee_uyuan_per_kwh)
        oracle, seats = self.market.oracle, self.world.seats
        round_ = SCHEDULE.price_round(period, now)
        primary = seats[SCHEDULE.price_primary(period, now, len(seats))]
        if oracle.functions.ballotOf(Topic.PRICES, period, 0, round_).call()[0] != bytes(32):
            self._refused(
                oracle.functions.proposePrices(period, [_raw(prices)]), {"AlreadyProposed"}, primary
            )
            return
        receipt = self._send(oracle.functions.proposePrices(period, [_raw(prices)]), primary)
        digest = oracle.events.PricesProposed().process_receipt(receipt)[0]["args"]["digest"]
        self.world.vote(Proposal(Topic.PRICES, period, 0, round_, digest), range(supporters))
        fix = oracle.functions.fixPrices(period, [_raw(prices)])
        # The first quorum wins, whatever a later round proposes.
        if supporters < 3 or self.mirror.fixed.get(period, prices) != prices:
            self._refused(fix, {"NotAccepted"})
        else:
            self._send(fix)
            self.mirror.fixed.setdefault(period, prices)

    @rule(pick=picks, readings=reports, liars=st.sampled_from((0, 0, 0, 1, 2, 4)))
    def report(self, pick: int, readings: tuple[MeterReading, ...], liars: int) -> None:
        """Up to one seat of four that opposes cannot stop a report; two can, and no more."""
        now = self._now()
        running = range(max(FIRST_PERIOD, self.running - 7), self.running)
        open_ = [q for q in running if SCHEDULE.close(q) <= now < SCHEDULE.window_end(q)]
        if not open_:
            return
        used = [q for q in open_ if self.mirror.periods[q].positions]
        period = _pick(used or open_, pick)
        p = self.mirror.periods[period]
        version, round_ = len(p.reports) + 1, SCHEDULE.report_round(period, now)
        if not readings or (version, round_) in p.proposed:
            return
        proposal = self.world.propose(period, readings, version)
        p.proposed.add((version, round_))
        self.world.vote(proposal, range(liars), support=False)
        self.world.vote(proposal, range(liars, 4))
        latest = self.market.oracle.functions.latestReport(period).call()[0]
        if liars <= 1:
            p.reports.append(readings)
        assert latest == len(p.reports)

    # -- a stranger

    @rule(pick=picks, buckets=st.integers(1, BUCKETS))
    def clear(self, pick: int, buckets: int) -> None:
        """Clear some buckets of a period whose gate has closed, of a used one if there is any."""
        closed = range(max(FIRST_PERIOD, self.running - 8), self.running + 2)
        uncleared = [q for q in closed if not self.mirror.periods[q].cleared]
        used = [q for q in uncleared if self.mirror.periods[q].used]
        if uncleared:
            self._clear(_pick(used or uncleared, pick), buckets)

    @rule(chunks=chunks)
    def settle(self, chunks: list[tuple[int, int]]) -> None:
        """Settle chunks of cleared periods, of due ones if there is any."""
        for pick, buckets in chunks:
            cleared = [q for q, p in self.mirror.periods.items() if p.cleared]
            due = [q for q in cleared if self.mirror.is_due(q, self._now())]
            if cleared:
                self._settle(_pick(due or cleared, pick), buckets)

    # -- everybody

    def _live_on(
        self,
        trades: list[Trade],
        readings: tuple[MeterReading, ...],
        chunks: list[tuple[int, int]],
    ) -> None:
        """Trade, let a period go by in which nobody is late, and settle part of what is due."""
        self.agree(2, trades)
        while not self.mirror.periods[self.running + 1].cleared:
            self._clear(self.running + 1, 1)
        self.warp(1)
        self.report(0, readings, 0)
        self.settle(chunks)

    # Twice, so that a life is full of them.
    live_on = rule(trades=trades, readings=reports, chunks=chunks)(_live_on)
    live_further = rule(trades=trades, readings=reports, chunks=chunks)(_live_on)

    # -- always

    @invariant()
    def vault_equals_ledger(self) -> None:
        ledger = self.mirror.ledger
        nodes = (GRID_COMPANY, *MEMBERS, 77)
        balances, (arose, funded, collected) = balances_at(
            self.chain.w3, self.market.vault.address, nodes
        )
        for node, balance in zip(nodes, balances, strict=True):
            account = ledger.account(node)
            assert balance.free_uyuan == account.free_uyuan
            assert balance.locked_uyuan == account.locked_uyuan
            assert balance.debt_uyuan == account.debt_uyuan
            assert balance.in_debt == (account.debt_uyuan > 0)
            assert balance.claims_uyuan == ledger.claims_uyuan(node)
        assert arose == sum(claim.amount_uyuan for claim in ledger.claims)
        own_uyuan = sum(balance.free_uyuan + balance.locked_uyuan for balance in balances)
        held = self.market.token.functions.balanceOf(self.market.vault.address).call()
        transit = sum(
            self.market.vault.functions.transitOf(period).call() for period in self.mirror.periods
        )
        assert held == own_uyuan + transit + funded - collected

    def teardown(self) -> None:
        """Let all windows pass; a stranger alone settles whatever was begun."""
        try:
            self.warp(20)
            used = [period for period, p in self.mirror.periods.items() if p.used]
            for period in sorted(used):
                while not self.mirror.periods[period].cleared:
                    self._clear(period, BUCKETS)
                while self.mirror.is_due(period, self._now()):
                    self._settle(period, BUCKETS)
            self.vault_equals_ledger()
            self._nothing_is_left(used)
        finally:
            self._stack.close()

    def _nothing_is_left(self, used: list[int]) -> None:
        """All locks are free, and all versions together moved what the last one alone would."""
        worth_uyuan = dict(self.mirror.worth_uyuan)
        for period in used:
            p = self.mirror.periods[period]
            assert self.world.history.state(period).settled
            last = self.mirror.settlement(period, len(p.reports), Mode.FINAL)
            nets = {GRID_COMPANY: last.grid_company.net_uyuan, **last.nets_uyuan}
            assert sum(nets.values()) == 0
            for node, net_uyuan in nets.items():
                worth_uyuan[node] = worth_uyuan.get(node, 0) + net_uyuan
        ledger = self.mirror.ledger
        assert all(account.locked_uyuan == 0 for account in ledger.accounts.values())
        assert {n: ledger.worth_uyuan(n) for n in worth_uyuan} == worth_uyuan

    def _clear(self, period: int, buckets: int) -> None:
        self._send(clear_call(self.market, self.world.history, period, buckets))
        p = self.mirror.periods[period]
        p.cleared_buckets += buckets
        if p.cleared_buckets >= BUCKETS:
            p.void = self._now() >= SCHEDULE.last_call(period)
            on_chain = self.world.history.position_buckets(period)
            assert on_chain == pack_positions(p.positions.values(), BUCKETS)

    def _settle(self, period: int, buckets: int) -> None:
        call = settle_call(self.market, self.world.history, period, buckets)
        if not self.mirror.is_due(period, self._now()):
            p = self.mirror.periods[period]
            if p.settled is None:
                self._refused(call, {"NothingToSettle"})
            else:
                assert not call.call()
                assert not self._send(call)["logs"]
            return
        self.mirror.begin(period, self._now())
        receipt = self._send(call)
        ends = self._events(receipt, self.market.master.events.PeriodSettled())
        for event in self._events(receipt, self.market.vault.events.Settled()):
            transfers = [moved.transfer for moved in unpack_transfers(event["transfers"])]
            self.mirror.move(period, transfers, last=bool(ends))
        for event in ends:
            version, settlement, due, moved = self.mirror.finish(period)
            assert event["version"] == version
            assert event["finalMode"] == (settlement.mode is Mode.FINAL)
            assert event["lines"]["gridUyuan"] == settlement.grid_company.net_uyuan
            assert moved == due

    def _events(self, receipt: TxReceipt, event: ContractEvent) -> list[Mapping[str, Any]]:
        return [log["args"] for log in event.process_receipt(receipt, errors=DISCARD)]

    def _now(self) -> int:
        return self.world.now()

    def _send(self, call: ContractFunction, account: LocalAccount | None = None) -> TxReceipt:
        return self.chain.send(account or self.world.stranger, call)

    def _refused(
        self, call: ContractFunction, errors: set[str], account: LocalAccount | None = None
    ) -> None:
        with pytest.raises(Reverted) as refusal:
            self._send(call, account)
        assert refusal.value.error in errors


def _pick(periods: list[int], pick: int) -> int:
    """Return one of some periods, the latest most easily."""
    return periods[-1 - pick % len(periods)]


def _raw(prices: Benchmark) -> tuple[int, ...]:
    """Return the contract's `Prices`."""
    values = (getattr(prices, field.name) for field in fields(Benchmark))
    return (*values, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(300 + 30 * LIVES)
def test_any_life__of_a_market__holds_what_always_holds() -> None:
    with _peopled_world() as world:
        machine = type("LifeOfThisWorld", (Life,), {"world": world})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=LIVES, stateful_step_count=30)
        )
