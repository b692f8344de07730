"""Moves periods on: clears and settles, in chunks that fit a transaction. Anyone may run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from market.chain import Reverted
from market.clear_calls import CLEAR_BUCKETS, fitting_clear_call
from market.deployment import Market
from market.history import History, Job, Past
from market.packing import BUCKET_NODES

SETTLE_BUCKETS = 4
"""Buckets one settling transaction tries to handle; it halves what does not fit."""

ALL_NODES = 2**32 - 1
"""No limit on the nodes of a settling transaction."""

LEAST_NODES = 32
"""Fewest nodes after which a settling transaction may stop inside a bucket."""

Send = Callable[[ContractFunction, int], TxReceipt]
"""Sends a transaction with a gas limit and waits for it."""

_NO_LEG = (0, 0, 0, 0)
_NO_BASIS = (False, False, 0, bytes(32), _NO_LEG, _NO_LEG, _NO_LEG)


@dataclass(frozen=True, slots=True)
class _Bytes:
    """The buckets a settlement needs."""

    positions: list[bytes]
    was: list[bytes]
    now: list[bytes]

    def hashes(self) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Return the contract's `Hashes`."""
        return ([*map(keccak, self.positions)], [*map(keccak, self.was)], [*map(keccak, self.now)])

    def chunk(self, first: int, count: int) -> list[tuple[bytes, bytes, bytes]]:
        """Return the contract's `Bucket`s from one on."""
        # A report can reach behind the positions, with meters admitted since the clearing.
        sides = (self.positions, self.was, self.now)
        last = min(first + count, max(map(len, sides)))
        return [
            (_at(self.positions, b), _at(self.was, b), _at(self.now, b)) for b in range(first, last)
        ]


class Keeper:
    """Clears and settles periods of one market for one sender."""

    def __init__(self, market: Market, send: Send) -> None:
        """Keep a market.

        Args:
            market: The market.
            send: Sends a transaction and waits for it.
        """
        self._market = market
        self._history = History(market)
        self._send = send

    @classmethod
    def of(cls, market: Market, account: LocalAccount) -> Keeper:
        """Keep a market from one account."""
        return cls(market, lambda call, gas: market.chain.send(account, call, gas=gas))

    def clear(self, period: int, buckets: int = CLEAR_BUCKETS) -> None:
        """Clear a period whose gate has closed; nothing if that is done.

        A period of whose book something can trade is `Checked` then, and cleared by the committee's
        vote; any other is cleared.

        Args:
            period: The period.
            buckets: Most buckets per transaction; halved by itself where they do not fit.

        Raises:
            Reverted: With `GateOpen` before the gate.
        """
        while self._history.state(period).open:
            self._send(*fitting_clear_call(self._market, self._history, period, buckets))

    def settle(self, period: int, buckets: int = SETTLE_BUCKETS, nodes: int = ALL_NODES) -> bool:
        """Settle a cleared period on what is due now, or carry on where a settlement stopped.

        Args:
            period: The period.
            buckets: Most buckets per transaction; halved by itself where they do not fit.
            nodes: Most nodes per transaction, likewise.

        Returns:
            Whether anything was settled.

        Raises:
            Reverted: With `NotCleared` or `NothingToSettle` if it is too early.
        """
        past = _Fixed(self._history)
        # Nothing to settle is no error, but a transaction without effect.
        if not self._market.chain.read(settle_call(self._market, past, period, 1, LEAST_NODES)):
            return False
        while True:
            call, gas = fitting_settle_call(self._market, past, period, buckets, nodes)
            self._send(call, gas)
            if past.job(period) is None:
                return True


class _Fixed:
    """A past that asks only once for what never changes."""

    def __init__(self, past: Past) -> None:
        self.state = past.state
        self.latest_version = past.latest_version
        self.job = past.job
        self.position_buckets = cache(past.position_buckets)
        self.report_buckets = cache(past.report_buckets)


def fitting_settle_call(
    market: Market,
    past: Past,
    period: int,
    buckets: int = SETTLE_BUCKETS,
    nodes: int = ALL_NODES,
) -> tuple[ContractFunction, int]:
    """Return the next step of a settlement, as large as fits a transaction, with its gas limit.

    What a node costs depends on what happens to it: one that gets a claim costs ten times one whose
    balance just moves.

    Args:
        market: The market.
        past: What is known of the period.
        period: The period, cleared.
        buckets: Most buckets.
        nodes: Most nodes.

    Raises:
        Reverted: If there is nothing to settle, or the past lags the chain.
    """
    while True:
        call = settle_call(market, past, period, buckets, nodes)
        gas = market.chain.estimate(call)
        if gas is not None:
            return call, gas
        if buckets > 1:
            buckets //= 2
        elif nodes > LEAST_NODES:
            nodes = max(LEAST_NODES, min(nodes, BUCKET_NODES) // 2)
        else:
            raise Reverted("settle", "OutOfGas", (f"{LEAST_NODES} nodes of period {period}",))


def settle_call(
    market: Market,
    past: Past,
    period: int,
    buckets: int = SETTLE_BUCKETS,
    nodes: int = ALL_NODES,
) -> ContractFunction:
    """Return the call that settles a period, or its next chunk.

    Args:
        market: The market.
        past: What is known of the period; if it lags the chain, the call does nothing or reverts.
        period: The period, cleared.
        buckets: Most buckets the call handles.
        nodes: Most nodes the call handles; fewer than the buckets have only if it is one bucket.
    """
    job = past.job(period) or (period, 0, 0, 0, False, _NO_BASIS, _NO_BASIS, 0, 0, 0, 0, 0)
    data = _bytes(past, period, job)
    chunk = data.chunk(job[2], buckets)
    return market.master.functions.settle(job, data.hashes(), chunk, nodes)


def _bytes(past: Past, period: int, job: Job) -> _Bytes:
    """Collect the buckets of the job's bases; a fresh job's are the present state's."""
    was, now = job[5], job[6]
    if now[0]:
        was_version, now_version = was[2], now[2]
    else:
        state = past.state(period)
        was_version = state.version if state.settled else 0
        now_version = past.latest_version(period)
    return _Bytes(
        positions=past.position_buckets(period),
        was=past.report_buckets(period, was_version),
        now=past.report_buckets(period, now_version),
    )


def _at(buckets: list[bytes], b: int) -> bytes:
    return buckets[b] if b < len(buckets) else b""
