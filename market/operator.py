"""What an operator does: relays what members signed, and clears. Anyone may be one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from web3.logs import DISCARD

from market.chain import TX_GAS_LIMIT
from market.contracts import decode_error
from market.deployment import Market
from market.keeper import Keeper
from market.orders import SignedOrder, encode_entries
from market.packing import bucket_of

ORDERS_PER_TX = 100
"""Orders of one transaction: each takes up to 60,000 gas while its storage is fresh."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An order the book skipped.

    Attributes:
        signed: The order.
        error: The error `place` would have reverted with.
        values: Its values.
    """

    signed: SignedOrder
    error: str
    values: tuple[object, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        values = ", ".join(map(str, self.values))
        return f"the order of node {self.signed.order.node} was skipped: {self.error}({values})"


class Operator:
    """Works for a market from one account, which pays gas and has no rights of its own.

    Attributes:
        market: The market.
        account: Who pays.
    """

    def __init__(self, market: Market, account: LocalAccount) -> None:
        """Work for a market; nothing is sent before the first use."""
        self.market, self.account = market, account
        self._keeper = Keeper.of(market, account)

    def relay(
        self,
        period: int,
        orders: Iterable[SignedOrder],
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Refused]:
        """Place signed orders in a period, in the order given within each bucket.

        Args:
            period: The period; a standing order enters each of its periods by a call of its own.
            orders: The orders, of any buckets.
            progress: Told how many more were sent.

        Returns:
            Those that the book skipped, with the reasons; the others are placed.

        Raises:
            Reverted: If the period takes no orders.
            ChainError: If the chain does not answer, or the account cannot pay for gas.
        """
        buckets: defaultdict[int, list[SignedOrder]] = defaultdict(list)
        for signed in orders:
            buckets[bucket_of(signed.order.node)].append(signed)
        refused: list[Refused] = []
        for bucket, entries in sorted(buckets.items()):
            for first in range(0, len(entries), ORDERS_PER_TX):
                batch = entries[first : first + ORDERS_PER_TX]
                refused += self._relay(period, bucket, batch)
                progress(len(batch))
        return refused

    def _relay(self, period: int, bucket: int, batch: list[SignedOrder]) -> list[Refused]:
        book = self.market.book
        call = book.functions.placeBatch(period, bucket, encode_entries(batch))
        # Estimating would cost as much as placing.
        receipt = self.market.chain.send(self.account, call, gas=TX_GAS_LIMIT)
        refused = []
        for event in book.events.Skipped().process_receipt(receipt, DISCARD):
            error, values = decode_error(bytes(event["args"]["reason"]))
            refused.append(Refused(batch[event["args"]["index"]], error, tuple(values)))
        return refused

    def clear(self, period: int) -> None:
        """Propose the clearing of a period, from its gate on; nothing if one is checked.

        Raises:
            Reverted: With `GateOpen` before the gate.
            HistoryError: If the chain's events do not add up to its hashes.
            ChainError: If the chain does not answer, or the account cannot pay for gas.
        """
        self._keeper.clear(period)

    def settle(self, period: int) -> bool:
        """Settle a period on what is due now; see `Keeper.settle`."""
        return self._keeper.settle(period)
