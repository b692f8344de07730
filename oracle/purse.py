"""Watches what a seat's account has left to pay for gas."""

from __future__ import annotations

from market.chain import Chain
from oracle import fees, log
from oracle.monitor import BALANCE

LOOK_BLOCKS = 50
"""Blocks between two looks."""

RESERVE_GAS = 100_000_000
"""What an account should be able to pay for: some two days of a seat's work for 100 nodes."""


class Purse:
    """The native money of the account that pays for everything a seat sends."""

    def __init__(self, chain: Chain, payer: str) -> None:
        """Watch an account."""
        self._chain, self._payer = chain, payer
        self._next_look = 0
        self._low = False

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
        low = balance < reserve
        if low and not self._low:
            log.warning("balance low", payer=self._payer, wei=balance, reserve_wei=reserve)
        elif self._low and not low:
            log.info("balance is enough", payer=self._payer, wei=balance)
        self._low = low
