"""Watches what a seat's account has left to pay for gas, and what it has earned."""

from __future__ import annotations

from market.deployment import Market
from oracle import fees, log
from oracle.monitor import BALANCE, EARNED

LOOK_BLOCKS = 50
"""Blocks between two looks."""

RESERVE_GAS = 100_000_000
"""What an account should be able to pay for: some two days of a seat's work for 100 nodes."""


class Purse:
    """The native money of the account that pays for everything a seat sends.

    Attributes:
        earned_wei: What it could have the oracle pay out, for queries it has answered.
    """

    def __init__(self, market: Market, payer: str) -> None:
        """Watch an account."""
        self._chain, self._payer = market.chain, payer
        self._fees_of = market.oracle.functions.feesOf(payer)
        self._next_look = 0
        self._low = False
        self.earned_wei = 0

    def look(self, block: int) -> None:
        """Look now and then, and say when it gets low and when it is filled again.

        Args:
            block: The latest block.

        Raises:
            ChainError: If the endpoint does not answer.
        """
        if block < self._next_look:
            return
        balance = int(self._chain.raw("eth_getBalance", self._payer, "latest"), 16)
        reserve = fees.offer(self._chain.fees()) * RESERVE_GAS
        self._next_look = block + LOOK_BLOCKS
        BALANCE.set(balance)
        self.earned_wei = int(self._chain.read(self._fees_of))
        EARNED.set(self.earned_wei)
        low = balance < reserve
        if low and not self._low:
            log.warning("balance low", payer=self._payer, wei=balance, reserve_wei=reserve)
        elif self._low and not low:
            log.info("balance is enough", payer=self._payer, wei=balance)
        self._low = low
