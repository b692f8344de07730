"""Reads every settled period back from the chain, clears and settles it again off chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from market.deployment import Market
from market.history import History, Moved
from market.prices import PeriodPrices
from market.settlement import Settlement, delta, settle
from market.types import GRID_COMPANY, MeterReading, Position
from scripts.demo.errors import DemoError
from scripts.demo.trading import Trading, read_trading


@dataclass(frozen=True, slots=True)
class Page:
    """One settled period: what the chain says, and what the model makes of it.

    Attributes:
        period: The period.
        prices: Its prices.
        positions: Its positions.
        trading: Its book cleared again; None if nobody ordered, or no clearing stood in time.
        readings: The report it was settled on.
        nets_uyuan: What the vault moved, by node.
        settlement: What the model computes.
        differences: Where the two differ, in words; empty if they are equal to the unit.
    """

    period: int
    prices: PeriodPrices
    positions: Sequence[Position]
    trading: Trading | None
    readings: Sequence[MeterReading]
    nets_uyuan: Mapping[int, int]
    settlement: Settlement
    differences: Sequence[str]

    @property
    def planned_wh(self) -> int:
        """Energy that was sold ahead."""
        return sum(p.sold_wh for p in self.positions)


class Ledger:
    """The settled periods of a market, page by page."""

    def __init__(self, market: Market) -> None:
        """Keep the ledger of a market."""
        self._market = market
        self._history = History(market)
        self.pages: dict[int, Page] = {}

    def cleared(self, period: int) -> bool:
        """Return whether a period's positions are fixed."""
        return self._history.state(period).cleared

    def settled(self, period: int) -> bool:
        """Return whether a period's money has moved."""
        return self._history.state(period).settled

    def read(self, period: int) -> Page:
        """Return the page of a settled period, reading it from the chain the first time.

        Raises:
            DemoError: If the period was settled more than once or without a report.
        """
        if period not in self.pages:
            self.pages[period] = self._read(period)
        return self.pages[period]

    def check_balances(self, deposits_uyuan: Mapping[int, int], worth: Callable[[int], int]) -> int:
        """Check that every account holds its deposit and the nets of all pages, nothing else.

        Args:
            deposits_uyuan: What each node, and the grid company as node 0, deposited.
            worth: What the vault holds for a node.

        Returns:
            The number of accounts.

        Raises:
            DemoError: If an account is off.
        """
        expected = dict(deposits_uyuan)
        for page in self.pages.values():
            expected[GRID_COMPANY] += page.settlement.grid_company.net_uyuan
            for node, net in page.settlement.nets_uyuan.items():
                expected[node] += net
        for node, amount in expected.items():
            if (found := worth(node)) != amount:
                raise DemoError(
                    f"the vault holds {found} uyuan for node {node}, settlements make {amount}; "
                    "this is a bug, please report it"
                )
        return len(expected)

    def _read(self, period: int) -> Page:
        market, chain = self._market, self._market.chain
        first = market.deployment.deployment_block
        settled = chain.events(market.master, "PeriodSettled", from_block=first, period=period)
        if len(settled) != 1 or not (version := settled[0]["args"]["version"]):
            raise DemoError(
                f"period {period} was settled {len(settled)} times, the last on report "
                f"{settled[-1]['args']['version']}; an undisturbed day settles once on report 1, "
                "the logs of the oracle processes say what happened"
            )
        positions = self._history.positions(period)
        void = self._history.void(period)
        trading = None if void else read_trading(market, self._history, period)
        readings = self._history.readings(period, version)
        prices = self._history.prices(period)
        model = settle(positions, readings, prices, void=void)
        on_chain = self._history.moved(period)
        lines = settled[0]["args"]["lines"]
        return Page(
            period=period,
            prices=prices,
            positions=positions,
            trading=trading,
            readings=readings,
            nets_uyuan={m.node: m.net_uyuan for m in on_chain},
            settlement=model,
            differences=[
                *(trading.compare(positions) if trading else []),
                *_compare_moves(on_chain, model),
                *_compare_lines(dict(lines), model),
            ],
        )


def _compare_moves(on_chain: Sequence[Moved], model: Settlement) -> list[str]:
    expected = [Moved(t.node, t.net_uyuan, t.release_uyuan) for t in delta(None, model)]
    if list(on_chain) == expected:
        return []
    return [f"the vault moved {sorted({*on_chain} ^ {*expected}, key=lambda m: m.node)}"]


def _compare_lines(lines: Mapping[str, int], model: Settlement) -> list[str]:
    grid = model.grid_company
    expected = {
        "compensatedWh": sum(b.compensation.sold_wh for b in model.bills),
        "soldWh": sum(b.selling.sold_wh for b in model.bills),
        "balancedWh": sum(b.balance.sold_wh for b in model.bills),
        "importedWh": grid.sold_wh,
        "exportedWh": grid.bought_wh,
        "feesNyuan": grid.fees_nyuan,
        "rentNyuan": grid.rent_nyuan,
        "dustNyuan": grid.dust_nyuan,
        "gridUyuan": grid.net_uyuan,
    }
    return [
        f"{name} is {lines[name]} on chain, {value} in the model"
        for name, value in expected.items()
        if lines[name] != value
    ]
