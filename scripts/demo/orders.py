"""Signs what members agree and declare, and relays it in batches that fit a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from web3.contract.contract import ContractFunction
from web3.logs import DISCARD

from market.chain import TX_GAS_LIMIT
from market.contracts import decode_error
from market.deployment import Market
from market.messages import Agreement, Declaration
from market.types import Options
from scripts.demo.errors import DemoError
from scripts.demo.pairing import Pair
from scripts.demo.people import People

T = TypeVar("T")

AGREEMENTS_PER_TX = 40
"""Agreements of one transaction: each takes up to 0.3 Mgas when all its storage is fresh."""

DECLARATIONS_PER_TX = 100


class OrderDesk:
    """Takes signed orders to the chain for everybody."""

    def __init__(self, market: Market, people: People) -> None:
        """Work for the members of a market."""
        self._market = market
        self._people = people
        self._nonces: Counter[int] = Counter()
        self._tx_nonce = market.chain.nonce(people.relayer.address)

    def agreement(
        self,
        period: int,
        pair: Pair,
        price_uyuan_per_kwh: int,
        seller_options: Options,
        buyer_options: Options,
    ) -> Agreement:
        """Write an agreement with the next unused nonces of both sides."""
        seller_nonce, buyer_nonce = self._nonces[pair.seller], self._nonces[pair.buyer]
        self._nonces.update((pair.seller, pair.buyer))
        return Agreement(
            period,
            pair.seller,
            pair.buyer,
            pair.energy_wh,
            price_uyuan_per_kwh,
            seller_nonce,
            buyer_nonce,
            seller_options,
            buyer_options,
        )

    def place(
        self, agreements: Sequence[Agreement], progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Sign agreements for both sides and place them.

        Args:
            agreements: What to place.
            progress: Told how many more are placed.

        Raises:
            DemoError: If the book skips one.
        """
        domain, owner = self._market.domain, self._people.owner
        for batch in _batches(agreements, AGREEMENTS_PER_TX):
            entries = [
                (
                    a.as_tuple(domain),
                    a.sign(owner(a.seller), domain),
                    a.sign(owner(a.buyer), domain),
                )
                for a in batch
            ]
            self._relay(self._market.book.functions.agreeBatch(entries), batch)
            progress(len(batch))

    def declare(
        self, declarations: Sequence[Declaration], progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Sign declarations and place them. Arguments and errors as in `place`."""
        domain, owner = self._market.domain, self._people.owner
        for batch in _batches(declarations, DECLARATIONS_PER_TX):
            entries = [(d.as_tuple(domain), d.sign(owner(d.node), domain)) for d in batch]
            self._relay(self._market.book.functions.declareBatch(entries), batch)
            progress(len(batch))

    def _relay(self, call: ContractFunction, batch: Sequence[object]) -> None:
        """Send a batch; the gas limit is given because estimating costs as much as executing."""
        receipt = self._market.chain.send(
            self._people.relayer, call, gas=TX_GAS_LIMIT, nonce=self._tx_nonce
        )
        self._tx_nonce += 1
        for event in self._market.book.events.Skipped().process_receipt(receipt, DISCARD):
            index, reason = event["args"]["index"], bytes(event["args"]["reason"])
            name, values = decode_error(reason)
            raise DemoError(
                f"the book skipped {batch[index]}: {name}{tuple(values)}; "
                "this is a bug of the demo, please report it"
            )


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
