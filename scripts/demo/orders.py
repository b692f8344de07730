"""Relays what the story's members sign: bilateral agreements and declarations."""

from __future__ import annotations

from collections.abc import Sequence

from web3.contract.contract import ContractFunction
from web3.logs import DISCARD

from market.chain import TX_GAS_LIMIT
from market.contracts import decode_error
from market.deployment import Market
from market.messages import Agreement, Declaration
from scripts.demo.errors import DemoError
from scripts.demo.people import People


class AgreementDesk:
    """Takes signed agreements and declarations to the chain for everybody."""

    def __init__(self, market: Market, people: People) -> None:
        """Work for the members of a market."""
        self._market = market
        self._people = people

    def place(self, agreements: Sequence[Agreement]) -> None:
        """Sign agreements for both sides and place them.

        Raises:
            DemoError: If the book skips one.
        """
        domain, owner = self._market.domain, self._people.owner
        entries = [
            (a.as_tuple(domain), a.sign(owner(a.seller), domain), a.sign(owner(a.buyer), domain))
            for a in agreements
        ]
        self._relay(self._market.book.functions.agreeBatch(entries), agreements)

    def declare(self, declarations: Sequence[Declaration]) -> None:
        """Sign declarations and place them.

        Raises:
            DemoError: If the book skips one.
        """
        domain, owner = self._market.domain, self._people.owner
        entries = [(d.as_tuple(domain), d.sign(owner(d.node), domain)) for d in declarations]
        self._relay(self._market.book.functions.declareBatch(entries), declarations)

    def _relay(self, call: ContractFunction, batch: Sequence[object]) -> None:
        """Send a batch; the gas limit is given because estimating costs as much as executing."""
        receipt = self._market.chain.send(self._people.relayer, call, gas=TX_GAS_LIMIT)
        for event in self._market.book.events.Skipped().process_receipt(receipt, DISCARD):
            index, reason = event["args"]["index"], bytes(event["args"]["reason"])
            name, values = decode_error(reason)
            raise DemoError(
                f"the book skipped {batch[index]}: {name}{tuple(values)}; "
                "this is a bug of the demo, please report it"
            )
