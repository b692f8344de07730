"""Random lives of the order book beside a model: locks, live orders, chains and numbers.

Every handler knows from the model which orders must enter and why the others must not, so none can
be refused, or taken, unnoticed.
"""

from __future__ import annotations

import os
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from web3.logs import DISCARD
from web3.types import TxReceipt

from market.chain import Reverted
from market.contracts import decode_error
from market.devnet import rpc
from market.messages import Cancel, Order, Step
from market.orders import (
    EMPTY_CHAIN,
    LEAST_WH,
    OrderRecord,
    encode_entries,
    encode_records,
    extend_chain,
    lock_uyuan,
)
from market.packing import bucket_of
from market.types import Options
from tests.unit.contracts.support import FUNDS_UYUAN, crowd
from tests.world import LIMITS, World, new_world

LIVES = max(1, int(os.environ.get("SUBGRID_EXAMPLES", "1500")) // 150)
"""Books that live; a nightly run asks for more."""

RING = 128
AHEAD = 96
CAPACITY_WH = 1_000_000
MOST_CANCELS = 3
MEMBERS = (1, 2, 3, 255, 256, 257)

nodes = st.sampled_from(MEMBERS)
ahead = st.one_of(st.integers(0, 3), st.integers(-1, AHEAD))
steps = st.lists(
    st.builds(
        Step,
        st.booleans(),
        st.one_of(st.integers(LEAST_WH - 1, 2_000), st.integers(0, 700_000)),
        st.one_of(st.integers(0, 5), st.integers(0, LIMITS.price_cap_uyuan_per_kwh + 1)),
    ),
    min_size=0,
    max_size=5,
).map(tuple)
simple = st.builds(Step, st.booleans(), st.integers(LEAST_WH, 99_000), st.integers(0, 10**6)).map(
    lambda step: (step,)
)
wishes = st.tuples(nodes, st.one_of(simple, simple, steps), st.integers(0, 5), st.integers(0, 2))


@dataclass
class Model:
    """What the book of one market must come to.

    Attributes:
        records: Of every period, all accepted steps in order.
        batches: Of every period, bucket and records of every batch.
        live: The numbers of the live order of a node in a period.
        cancels: How often a node has cancelled in a period.
        least: Least nonces, by node and period (0 for all).
        standing: Orders that were signed, and may be relayed again.
    """

    records: dict[int, list[OrderRecord]] = field(default_factory=dict)
    batches: dict[int, list[tuple[int, list[OrderRecord]]]] = field(default_factory=dict)
    live: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    cancelled: dict[int, set[int]] = field(default_factory=dict)
    cancels: Counter[tuple[int, int]] = field(default_factory=Counter)
    least: dict[tuple[int, int], int] = field(default_factory=dict)
    standing: list[Order] = field(default_factory=list)

    def least_nonce(self, node: int, period: int) -> int:
        """Return the least nonce that counts."""
        return max(self.least.get((node, 0), 0), self.least.get((node, period), 0))

    def locked(self, node: int) -> int:
        """Return what all live orders of a node lock; nothing here is ever settled."""
        return sum(
            lock_uyuan([self.records[period][seq] for seq in seqs], LIMITS)
            for (owner, period), seqs in self.live.items()
            if owner == node
        )

    def why_not(self, period: int, order: Order, now_s: int) -> str | None:
        """Return the error an order must meet, None if it must enter."""
        if not order.first_period <= period <= order.last_period:
            return "NotForPeriod"
        if now_s > order.deadline:
            return "Expired"
        if not 1 <= len(order.steps) <= 4:
            return "WrongStepCount"
        for step in order.steps:
            if step.energy_wh < LEAST_WH:
                return "StepTooSmall"
            if step.limit_uyuan_per_kwh > LIMITS.price_cap_uyuan_per_kwh:
                return "LimitAboveCap"
        bids = [s.limit_uyuan_per_kwh for s in order.steps if not s.sells]
        asks = [s.limit_uyuan_per_kwh for s in order.steps if s.sells]
        if bids and asks and max(bids) >= min(asks):
            return "CrossesItself"
        for side in (True, False):
            if sum(s.energy_wh for s in order.steps if s.sells is side) > CAPACITY_WH:
                return "OverCapacity"
        if order.nonce < self.least_nonce(order.node, period):
            return "NonceTooLow"
        if (order.node, period) in self.live:
            return "AlreadyPlaced"
        if lock_uyuan(order.steps, LIMITS) > FUNDS_UYUAN - self.locked(order.node):
            return "NotCovered"
        return None

    def enter(self, period: int, orders: list[Order]) -> None:
        """Add a batch of accepted orders."""
        book = self.records.setdefault(period, [])
        batch = []
        for order in orders:
            made = [
                OrderRecord(
                    order.node, 0, s.sells, order.options, s.energy_wh, s.limit_uyuan_per_kwh, n
                )
                for n, s in enumerate(order.steps, start=len(book))
            ]
            self.live[order.node, period] = [r.seq for r in made]
            book += made
            batch += made
        if batch:
            self.batches.setdefault(period, []).append((bucket_of(batch[0].node), batch))


class BookLife(RuleBasedStateMachine):
    """One life of a book."""

    world: World

    def __init__(self) -> None:
        """Begin on a fresh copy of the world."""
        super().__init__()
        self.snapshot = rpc(self.world.url, "evm_snapshot")
        self.model = Model()
        self.book = self.world.market.book

    def teardown(self) -> None:
        """Give the world back."""
        rpc(self.world.url, "evm_revert", [self.snapshot])

    @rule(wish=wishes, ahead=ahead, lasts=st.integers(0, 130))
    def place(self, wish: tuple[Any, ...], ahead: int, lasts: int) -> None:
        """Place one order, or be refused for the right reason."""
        self._place(self._open() + ahead, self._order(wish, ahead, lasts))

    @precondition(lambda self: self.model.standing)
    @rule(pick=st.integers(0, 99), ahead=ahead)
    def place_standing(self, pick: int, ahead: int) -> None:
        """Relay an order that was signed before, in whatever period."""
        standing = self.model.standing
        self._place(self._open() + ahead, standing[-1 - pick % len(standing)])

    @rule(made=st.lists(wishes, min_size=1, max_size=6), ahead=st.integers(0, 3))
    def place_batch(self, made: list[tuple[Any, ...]], ahead: int) -> None:
        """Place the orders of one bucket, good and bad ones."""
        period = self._open() + ahead
        orders = [self._order(wish, ahead, 0) for wish in made]
        bucket = bucket_of(orders[0].node)
        orders = [o for o in orders if bucket_of(o.node) == bucket]
        entries = encode_entries([self.world.entry(o) for o in orders])
        tenant = self._tenant(period)
        call = self.book.functions.placeBatch(period, bucket, entries)
        if tenant:
            with pytest.raises(Reverted, match="PeriodUncleared"):
                self.world.chain.send(self.world.stranger, call)
            return
        receipt = self.world.chain.send(self.world.stranger, call)
        reasons: dict[int, str] = {}
        accepted: list[Order] = []
        trial = deepcopy(self.model)
        for i, order in enumerate(orders):
            why = trial.why_not(period, order, self.world.now())
            if why is None:
                trial.enter(period, [order])
                accepted.append(order)
            else:
                reasons[i] = why
        assert self._skipped(receipt) == reasons
        self.model.enter(period, accepted)

    @precondition(lambda self: self._cancellable())
    @rule(pick=st.integers(0, 99), raised=st.integers(-1, 2))
    def cancel(self, pick: int, raised: int) -> None:
        """Cancel a live order whose gate is open, or be refused for a nonce that does not rise."""
        choices = self._cancellable()
        node, period = choices[pick % len(choices)]
        least = max(0, self.model.least_nonce(node, period) + raised)
        cancel, domain = Cancel(node, period, least), self.world.market.domain
        seqs = self.model.live[node, period]
        number, (_, batch) = next(
            (n, b) for n, b in enumerate(self.model.batches[period]) if b[1][-1].seq >= seqs[0]
        )
        call = self.book.functions.cancel(
            cancel.as_tuple(domain),
            cancel.sign(self.world.owner(node), domain),
            number,
            encode_records(batch),
            16 * (seqs[0] - batch[0].seq),
        )
        if least <= self.model.least_nonce(node, period):
            with pytest.raises(Reverted, match="NonceNotRaised"):
                self.world.chain.send(self.world.stranger, call)
            return
        self.world.chain.send(self.world.stranger, call)
        self.model.least[node, period] = least
        self.model.cancels[node, period] += 1
        self.model.cancelled.setdefault(period, set()).update(seqs)
        del self.model.live[node, period]

    @rule(node=st.sampled_from(MEMBERS), ahead=st.one_of(st.none(), st.integers(0, 3)))
    def revoke(self, node: int, ahead: int | None) -> None:
        """Raise a least nonce by one, for a period or for all."""
        period = 0 if ahead is None else self._open() + ahead
        least = self.model.least_nonce(node, period) + 1
        call = self.book.functions.revoke(node, period, least)
        rpc(self.world.url, "anvil_setBalance", [self.world.owner(node).address, hex(10**20)])
        self.world.chain.send(self.world.owner(node), call)
        self.model.least[node, period] = least

    @rule(periods=st.sampled_from((1, 1, 2, 40, 130)), clears=st.booleans())
    def wait(self, periods: int, clears: bool) -> None:
        """Let time pass; somebody may clear what has closed."""
        schedule = self.world.market.schedule
        self.world.warp(schedule.gate(self._open() + periods - 1))
        if clears:
            for period in self._uncleared():
                self.world.keeper.clear(period)

    @invariant()
    def holds(self) -> None:
        """Balances, live bits, chains and counts are the model's."""
        vault, read = self.world.market.vault.functions, self.world.chain.read
        for node in MEMBERS:
            locked = self.model.locked(node)
            assert self.world.balance(node) == (FUNDS_UYUAN - locked, locked)
        newest = {period % RING: period for period in sorted(self.model.batches)}
        for period in newest.values():
            batches, cancelled = self.model.batches[period], self.model.cancelled.get(period, set())
            told = read(self.book.functions.ordersOf(period))
            assert told == [len(self.model.records[period]), len(cancelled)]
            bitmap = int.from_bytes(read(self.book.functions.cancelledOf(period)), "big")
            width = -(-len(self.model.records[period]) // 256) * 256
            assert bitmap == sum(1 << (width - 1 - seq) for seq in cancelled)
            for bucket in (0, 1):
                chain, count = EMPTY_CHAIN, 0
                for of, records in batches:
                    if of == bucket:
                        chain, count = (
                            extend_chain(chain, encode_records(records)),
                            count + len(records),
                        )
                assert read(self.book.functions.chainOf(period, bucket)) == [chain, count]
            if period >= self._open():
                for node in MEMBERS:
                    expected = (node, period) in self.model.live
                    assert read(vault.isLive(period, node)) == expected

    def _order(self, wish: tuple[Any, ...], ahead: int, lasts: int) -> Order:
        node, steps, nonce, late = wish
        first = self._open() + ahead
        deadline = self.world.now() + (1_000_000, 1_000_000, -1)[late]
        made = Order(node, max(0, first), first + lasts, steps, nonce, Options(nonce), deadline)
        self.model.standing.append(made)
        return made

    def _place(self, period: int, order: Order) -> None:
        open_ = self._open()
        if period < open_:
            expected: str | None = "GateClosed"
        elif period >= open_ + AHEAD:
            expected = "TooFarAhead"
        elif self._tenant(period):
            expected = "PeriodUncleared"
        else:
            expected = self.model.why_not(period, order, self.world.now())
        if expected is None:
            self.world.place(period, order)
            self.model.enter(period, [order])
        else:
            with pytest.raises(Reverted) as refusal:
                self.world.place(period, order)
            assert refusal.value.error == expected

    def _open(self) -> int:
        """Return the first period whose gate is open."""
        schedule = self.world.market.schedule
        period = schedule.period_at(self.world.now())
        while schedule.gate(period) <= self.world.now():
            period += 1
        return period

    def _tenant(self, period: int) -> int:
        """Return the uncleared period that holds a period's storage, 0 for none."""
        held = [p for p in self.model.batches if p % RING == period % RING and p < period]
        return max(held) if held and max(held) in self._uncleared() else 0

    def _uncleared(self) -> list[int]:
        closed = [p for p in sorted(self.model.batches) if p < self._open()]
        is_cleared = self.world.market.master.functions.isCleared
        return [p for p in closed if not self.world.chain.read(is_cleared(p))]

    def _cancellable(self) -> list[tuple[int, int]]:
        live = (key for key in self.model.live if key[1] >= self._open())
        return sorted(key for key in live if self.model.cancels[key] < MOST_CANCELS)

    def _skipped(self, receipt: TxReceipt) -> dict[int, str]:
        logs = self.book.events.Skipped().process_receipt(receipt, errors=DISCARD)
        return {e["args"]["index"]: decode_error(e["args"]["reason"])[0] for e in logs}


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * LIVES)
def test_any_life__of_a_book__is_its_models() -> None:
    with new_world() as world:
        crowd(world, 257)
        for node in MEMBERS:
            world.fund(node, FUNDS_UYUAN)
        machine = type("LifeOfThisBook", (BookLife,), {"world": world})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=LIVES, stateful_step_count=25)
        )
