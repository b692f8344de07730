"""Solidity equals Python, bit for bit: random periods through the real contracts and the model."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.bill import Line
from market.keeper import ALL_NODES
from market.ledger import Ledger
from market.packing import bucket_of, pack_positions, pack_readings
from market.prices import PeriodPrices
from market.settlement import Mode, Settlement, delta, settle
from market.types import GRID_COMPANY, MAX_SUPPLY_UYUAN, MeterReading, Position
from tests.rooms import (
    PERIOD,
    SCHEDULE,
    Buckets,
    Continued,
    Event,
    Moved,
    Rooms,
    Settled,
    Shares,
    new_rooms,
)
from tests.strategies import NODE_IDS, energies_wh, period_prices, positions_of, readings_of

EXAMPLES = int(os.environ.get("SUBGRID_EXAMPLES", "1500"))
"""Random periods in all; a nightly run asks for more."""

STEPS = ("report", "report", "settle", "settle", "settle", "collect", "fund")
INTERRUPTIONS = ("none", "none", "none", "stale", "begin again", "report", "window end")

Readings = tuple[MeterReading, ...]


@dataclass(frozen=True)
class Story:
    """A period from its clearing to its last settlement.

    Attributes:
        prices: Its prices.
        positions: Its positions, with the funds locked behind them.
        holders: (node, free, locked) at first, the grid company first, micro-yuan.
        admitted: Highest node id when the period is cleared; later ones can still be read.
        void: When it is cleared after its start: "no", "yes", or "late" if only the last bucket is.
        reports: What is reported, one version after the other.
        steps: What happens, in this order, before the window ends.
        chunks: Buckets per call, in turn.
        parts: Nodes per call that brings one bucket, in turn.
        interruptions: What comes between two chunks, in turn.
        fund_uyuan: What the grid company deposits at a time.
    """

    prices: PeriodPrices
    positions: tuple[Position, ...]
    holders: tuple[tuple[int, int, int], ...]
    admitted: int
    void: str
    reports: tuple[Readings, ...]
    steps: tuple[str, ...]
    chunks: tuple[int, ...]
    parts: tuple[int, ...]
    interruptions: tuple[str, ...]
    fund_uyuan: int


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Any period: honest and extreme values, few and many buckets, on time and late."""
    count = draw(st.integers(1, 10))
    nodes = sorted(draw(st.permutations(NODE_IDS))[:count])
    prices = draw(period_prices())
    positions, holders = draw(_funded(nodes, draw(positions_of(nodes, prices))))
    reports = draw(st.lists(readings_of(nodes, positions), max_size=3))
    traders = [position.node for position in positions]
    short_list = st.lists(st.sampled_from(STEPS), max_size=8)
    return Story(
        prices=prices,
        positions=tuple(positions),
        holders=tuple(holders),
        admitted=draw(st.sampled_from((max(traders, default=1), max(nodes), 1023))),
        void=draw(st.sampled_from(("no", "no", "no", "no", "yes", "late"))),
        reports=tuple(map(tuple, reports)),
        steps=tuple(draw(short_list)),
        chunks=tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))),
        parts=tuple(draw(st.lists(st.sampled_from((1, 2, 3, ALL_NODES)), min_size=1, max_size=5))),
        interruptions=tuple(draw(st.lists(st.sampled_from(INTERRUPTIONS), min_size=1, max_size=5))),
        fund_uyuan=draw(energies_wh()) + 1,
    )


@st.composite
def _funded(
    draw: st.DrawFn, nodes: list[int], positions: list[Position]
) -> tuple[list[Position], list[tuple[int, int, int]]]:
    """Lock what is due behind positions, or nothing, and give out no more than the supply."""
    left_uyuan = MAX_SUPPLY_UYUAN - 2**44  # for what the grid company deposits on the way
    full_lock = draw(st.sampled_from((True, True, True, False)))
    locked = []
    for position in positions:
        lock_uyuan = min(position.locked_uyuan, left_uyuan) if full_lock else 0
        left_uyuan -= lock_uyuan
        locked.append(replace(position, locked_uyuan=lock_uyuan))
    locks = {position.node: position.locked_uyuan for position in locked}
    holders = []
    rich = draw(st.sampled_from((0, 1000, MAX_SUPPLY_UYUAN)))
    for node in (GRID_COMPANY, *nodes):
        free_uyuan = draw(st.integers(0, min(left_uyuan, rich)))
        left_uyuan -= free_uyuan
        holders.append((node, free_uyuan, locks.get(node, 0)))
    return locked, holders


class Run:
    """A story told to the contracts and to the model side by side."""

    def __init__(self, rooms: Rooms, story: Story) -> None:
        """Set the period up and clear it."""
        self.rooms, self.story = rooms, story
        self.ledger = Ledger()
        self.nodes = [node for node, _, _ in story.holders]
        self.reported = 0
        self.settled: tuple[int, Settlement] | None = None
        self.passed = 0
        self._chunks = itertools.cycle(story.chunks)
        self._parts = itertools.cycle(story.parts)
        self._interruptions = itertools.cycle(story.interruptions)
        self._position_buckets = pack_positions(story.positions, bucket_of(story.admitted) + 1)

        rooms.reset()
        rooms.warp(SCHEDULE.start(PERIOD) - 500)
        rooms.admit(max(NODE_IDS))
        rooms.arrange(story.prices, story.positions, story.holders)
        for node, free_uyuan, locked_uyuan in story.holders:
            if free_uyuan + locked_uyuan:
                self.ledger.deposit(node, free_uyuan + locked_uyuan)
            self.ledger.lock(PERIOD, node, locked_uyuan)
        self._clear()

    def play(self) -> None:
        """Tell the whole story, up to where nothing can follow."""
        actions: dict[str, Callable[[], None]] = {
            "report": self.report,
            "settle": self.settle,
            "collect": self.collect,
            "fund": self.fund,
        }
        worth = {node: self.ledger.worth_uyuan(node) for node in self.nodes}
        for step in self.story.steps:
            actions[step]()
            self.compare()
            if step == "fund":
                worth[GRID_COMPANY] += self.story.fund_uyuan
        self.warp(SCHEDULE.window_end(PERIOD))
        while self.is_due():
            self.settle()
        self.settle()
        self.collect()
        self.compare()

        last = self.model(self.reported, Mode.FINAL)
        nets = {GRID_COMPANY: last.grid_company.net_uyuan, **last.nets_uyuan}
        moved = {node: self.ledger.worth_uyuan(node) - worth[node] for node in self.nodes}
        assert moved == {node: nets.get(node, 0) for node in self.nodes}
        assert all(balance.locked_uyuan == 0 for balance in self.rooms.look(self.nodes)[0])

    def warp(self, instant_s: int) -> None:
        """Let time pass, never back."""
        if instant_s > self.passed:
            self.rooms.warp(instant_s)
            self.passed = instant_s

    def report(self) -> None:
        """Accept the next report, if there is one and it is not too late."""
        if self.reported < len(self.story.reports) and not self.is_late():
            self.rooms.report(self.story.reports[self.reported])
            self.reported += 1

    def collect(self) -> None:
        """Have every node collect."""
        self.rooms.collect(self.nodes)
        for node in self.nodes:
            self.ledger.collect(node)

    def fund(self) -> None:
        """Have the grid company deposit."""
        self.rooms.fund(GRID_COMPANY, self.story.fund_uyuan)
        self.ledger.deposit(GRID_COMPANY, self.story.fund_uyuan)

    def is_late(self) -> bool:
        """Return whether the correction window has ended."""
        return self.passed >= SCHEDULE.window_end(PERIOD)

    def is_due(self) -> bool:
        """Return whether a settlement must begin now, by the specification."""
        if self.settled is None:
            return True
        version, settlement = self.settled
        if settlement.mode is Mode.FINAL:
            return False
        return version < self.reported or (self.is_late() and bool(settlement.flagged))

    def model(self, version: int, mode: Mode) -> Settlement:
        """Settle a version by the model."""
        readings = self.story.reports[version - 1] if version else ()
        void = self.story.void != "no"
        return settle(self.story.positions, readings, self.story.prices, mode, void=void)

    def settle(self) -> None:
        """Settle what is due in chunks; a call with nothing to do must do nothing."""
        if self.settled is None and self.reported == 0:
            self.warp(SCHEDULE.settle_deadline(PERIOD))
        buckets = self._buckets()
        if not self.is_due():
            assert self.rooms.settle(self.rooms.fresh_job(), buckets, 0, next(self._chunks)) == []
            return
        version, mode = self.reported, Mode.FINAL if self.is_late() else Mode.PROVISIONAL
        previous = None if self.settled is None else self.settled[1]
        current = self.model(version, mode)
        held_before = frozenset() if previous is None else frozenset(previous.flagged)
        expected = [Moved(t, t.node in held_before) for t in delta(previous, current)]

        events = list(self._chunked(buckets))

        moved = [m for event in events if isinstance(event, tuple) for m in event]
        assert moved == expected
        assert [e for e in events if isinstance(e, Settled)] == [
            Settled(version, mode is Mode.FINAL, _lines(current))
        ]
        _compare_shares([e for e in events if isinstance(e, Shares)], version, current)
        self.settled = version, current
        stage = 5 if mode is Mode.FINAL else 4
        count = len(self._position_buckets)
        assert self.rooms.period() == (stage, count, version, bool(current.flagged))
        self.compare()

    def compare(self) -> None:
        """Hold the vault against the ledger, account by account."""
        balances, claims = self.rooms.look(self.nodes)
        for node, balance in zip(self.nodes, balances, strict=True):
            account = self.ledger.account(node)
            assert balance.free_uyuan == account.free_uyuan
            assert balance.locked_uyuan == account.locked_uyuan
            assert balance.debt_uyuan == account.debt_uyuan
            assert balance.in_debt == (account.debt_uyuan > 0)
            assert balance.claims_uyuan == self.ledger.claims_uyuan(node)
            assert balance.held_uyuan == self.ledger.holds.get((PERIOD, node), 0)
        modelled = self.ledger.claims
        assert claims == (
            sum(claim.amount_uyuan for claim in modelled),
            sum(claim.funded_uyuan for claim in modelled),
            sum(claim.collected_uyuan for claim in modelled),
        )

    def _clear(self) -> None:
        self.rooms.admit(self.story.admitted)
        buckets = len(self._position_buckets)
        if self.story.void == "late" and buckets > 1:
            self.rooms.clear(buckets - 1)
        if self.story.void != "no":
            self.warp(SCHEDULE.start(PERIOD))
        while self.rooms.period()[0] < 2:
            self.rooms.clear(next(self._chunks))
        stage = 2 if self.story.void == "no" else 3
        assert self.rooms.period() == (stage, buckets, 0, False)

    def _buckets(self) -> Buckets:
        versions = (self.settled[0] if self.settled else 0, self.reported)
        was, now = (pack_readings(self.story.reports[v - 1]) if v else [] for v in versions)
        return Buckets(self._position_buckets, was, now)

    def _chunked(self, buckets: Buckets) -> Iterator[Event]:
        """Run one settlement to its end and pass on what it tells."""
        job, at, done = self.rooms.fresh_job(), (0, 0, 0), False
        while not done:
            step, (settling, first, row) = next(self._chunks), at
            most = next(self._parts) if step == 1 else ALL_NODES
            events = self.rooms.settle(job, buckets, first, step, most)
            done = isinstance(events[-1], Settled)
            for event in events:
                if isinstance(event, tuple):
                    # The ledger serves the same nodes together as the vault does.
                    transfers = [moved.transfer for moved in event]
                    self.ledger.apply(PERIOD, transfers, last=done)
                    self.compare()
            yield from events
            if isinstance(events[-1], Continued):
                # All remaining passes run at once only if a call brings all buckets whole.
                if most < buckets.nodes(first) - row:
                    at = (settling, first, row + most)
                elif first + step >= buckets.count:
                    at = (settling + 1, 0, 0)
                else:
                    at = (settling, first + step, 0)
                assert events[-1].at == at
                self._interrupt(job, buckets, first, step)
                job = events[-1].job

    def _interrupt(self, old: bytes, buckets: Buckets, first: int, step: int) -> None:
        """Let something happen between two chunks; the settlement under way must not care."""
        match next(self._interruptions):
            case "stale":
                assert self.rooms.settle(old, buckets, first, step) == []
            case "begin again":
                assert self.rooms.settle(self.rooms.fresh_job(), buckets, 0, 1) == []
            case "report":
                self.report()
            case "window end":
                self.warp(SCHEDULE.window_end(PERIOD))


def _lines(settlement: Settlement) -> tuple[int, ...]:
    """Return a settlement's lines in the contract's order."""
    legs = ("compensation", "selling", "balance")
    grid = settlement.grid_company
    traded: list[int] = []
    for leg in legs:
        lines: list[Line] = [getattr(bill, leg) for bill in settlement.bills]
        traded.append(sum(line.bought_wh for line in lines))
    return (
        *traded,
        *(grid.sold_wh, grid.bought_wh, grid.fees_nyuan, grid.rent_nyuan),
        *(grid.dust_nyuan, grid.net_uyuan),
    )


def _compare_shares(told: list[Shares], version: int, settlement: Settlement) -> None:
    assert {event.version for event in told} <= {version}
    for leg in ("compensation", "selling", "balance"):
        expected = []
        for bill in settlement.bills:
            line: Line = getattr(bill, leg)
            if line.sold_wh + line.bought_wh:
                expected.append((bill.node, line.sold_wh > 0, line.sold_wh + line.bought_wh))
        assert [share for event in told if event.leg == leg for share in event.shares] == expected


@pytest.fixture(scope="module")
def rooms() -> Iterator[Rooms]:
    with new_rooms() as rooms:
        yield rooms


@pytest.mark.slow
@pytest.mark.timeout(300 + EXAMPLES)
@settings(
    max_examples=EXAMPLES,
    # The chain is reset at the start of every example.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=stories())
def test_any_period__on_chain__moves_what_the_model_moves(rooms: Rooms, story: Story) -> None:
    Run(rooms, story).play()
