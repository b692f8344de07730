"""Moves periods on: clears and settles, in chunks that fit a transaction. Anyone may run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from market.deployment import Market
from market.history import History

CLEAR_BUCKETS = 16
"""Buckets one clearing transaction handles; 256 nodes cost at most 0.9 Mgas each."""

SETTLE_BUCKETS = 4
"""Buckets one settling transaction handles; 256 nodes cost at most 3.5 Mgas each."""

Send = Callable[[ContractFunction], TxReceipt]
"""Sends a transaction and waits for it."""

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
        last = min(first + count, len(self.positions))
        return [(self.positions[b], _at(self.was, b), _at(self.now, b)) for b in range(first, last)]


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
        return cls(market, lambda call: market.chain.send(account, call))

    def clear(self, period: int, buckets: int = CLEAR_BUCKETS) -> None:
        """Fix the positions of a period whose gate has closed; nothing if that is done.

        Raises:
            Reverted: With `GateOpen` before the gate.
        """
        while not self._history.state(period).cleared:
            self._send(self._market.master.functions.clear(period, buckets))

    def settle(self, period: int, buckets: int = SETTLE_BUCKETS) -> bool:
        """Settle a cleared period on what is due now, or carry on where a settlement stopped.

        Args:
            period: The period.
            buckets: Buckets per transaction.

        Returns:
            Whether anything was settled.

        Raises:
            Reverted: With `NotCleared` or `NothingToSettle` if it is too early.
        """
        done = False
        for call in self._settle_calls(period, buckets):
            self._send(call)
            done = True
        return done

    def _settle_calls(self, period: int, buckets: int) -> Iterator[ContractFunction]:
        while (job := self._job(period)) is not None:
            data = self._bytes(period, job)
            chunk = data.chunk(job[2], buckets)
            call = self._market.master.functions.settle(job, data.hashes(), chunk)
            if not self._market.chain.read(call):
                return
            yield call
            if not self._under_way(period):
                return

    def _under_way(self, period: int) -> bool:
        return any(self._market.chain.read(self._market.master.functions.jobHash(period)))

    def _job(self, period: int) -> tuple[Any, ...] | None:
        """Return the job under way or a fresh one; None if the last `Continued` is not yet seen."""
        if not self._under_way(period):
            return (period, 0, 0, False, _NO_BASIS, _NO_BASIS, 0, 0, 0, 0)
        market = self._market
        first = market.deployment.deployment_block
        events = market.chain.events(market.master, "Continued", from_block=first, period=period)
        return _plain(events[-1]["args"]["job"]) if events else None

    def _bytes(self, period: int, job: tuple[Any, ...]) -> _Bytes:
        """Collect the buckets of the job's bases; a fresh job's are the present state's."""
        was, now = job[4], job[5]
        history = self._history
        if now[0]:
            was_version, now_version = was[2], now[2]
        else:
            state = history.state(period)
            was_version = state.version if state.settled else 0
            now_version = history.latest_version(period)
        return _Bytes(
            positions=history.position_buckets(period),
            was=history.report_buckets(period, was_version),
            now=history.report_buckets(period, now_version),
        )


def _at(buckets: list[bytes], b: int) -> bytes:
    return buckets[b] if b < len(buckets) else b""


def _plain(struct: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Turn a decoded struct into the tuple that encodes it."""
    values = struct.values() if hasattr(struct, "values") else struct
    return tuple(_plain(v) if hasattr(v, "values") or isinstance(v, tuple) else v for v in values)
