"""What a period traded on chain, cleared again by the engine from the chain's own book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from market.auction import Auction
from market.clear_calls import read_auction
from market.clearing import Clearing, Totals, totals
from market.deployment import Market
from market.history import History
from market.types import Position
from scripts.simulate.book import NOTHING, binding_lines, fills, traded_prices


@dataclass(frozen=True)
class Trading:
    """A period's book and its one valid clearing.

    Attributes:
        auction: The book, with the prices and lines that held in the end.
        clearing: What the engine makes of it.
        totals: The clearing in five numbers.
        opposed: How often the committee opposed a clearing and had it done again.
        orders: Orders in the book.
    """

    auction: Auction
    clearing: Clearing
    totals: Totals
    opposed: int
    orders: int

    @property
    def binding(self) -> tuple[int, ...]:
        """Lines that carry all they may while energy flows, by the bus below."""
        return binding_lines(self.clearing, self.auction.feeder)

    @property
    def prices_uyuan_per_kwh(self) -> list[int]:
        """Prices at which something trades: of each zone, or the lowest and highest of a pair."""
        return traded_prices(self.clearing)

    def compare(self, positions: Sequence[Position]) -> list[str]:
        """Say in words where positions differ from the clearing; nothing if they are equal."""
        expected = fills(self.clearing, self.auction.orders)
        found = {p.node: p for p in positions}
        differences = []
        for node in sorted(expected.keys() | found.keys()):
            f, p = expected.get(node, NOTHING), found.get(node)
            on_chain = (p.sold_wh, p.bought_wh, p.receive_nyuan, p.pay_nyuan) if p else (0, 0, 0, 0)
            model = (f.sold_wh, f.bought_wh, f.receive_nyuan, f.pay_nyuan)
            if on_chain != model:
                differences.append(f"node {node} traded {on_chain} on chain, {model} in the engine")
        return differences


def read_trading(market: Market, history: History, period: int) -> Trading | None:
    """Clear a period's book again; None if there is none.

    Raises:
        HistoryError: If the chain's events do not add up to its hashes.
    """
    book = history.book(period)
    auction = read_auction(market, history, period, book)
    if auction is None:
        return None
    clearing = auction.clear()
    opposed = market.chain.read(market.master.functions.clearingOf(period))[0]
    orders = len(set(auction.orders.node.tolist()))
    return Trading(auction, clearing, totals(clearing, auction.orders), opposed, orders)
