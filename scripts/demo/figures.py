"""The numbers of a day: by period, by node and in total, from the ledger's pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from market.bill import Bill, Settlement
from market.prices import PeriodPrices
from market.settlement import settle
from market.types import MeterReading
from scripts.demo.ledger import Page
from scripts.demo.trading import Trading
from scripts.demo.village import AT_REST, TRADER, Node


@dataclass(slots=True)
class Energy:
    """Energy of a period, a node or a day, in Wh.

    Attributes:
        forecast_import_wh: Expected draw.
        forecast_export_wh: Expected feed-in.
        import_wh: Metered draw.
        export_wh: Metered feed-in.
        traded_sold_wh: Sold ahead.
        traded_bought_wh: Bought ahead.
        compensated_wh: Moved by leg 1.
        surplus_sold_wh: Moved by leg 2.
        balanced_wh: Moved by leg 3.
        grid_bought_wh: Bought from the grid company.
        grid_sold_wh: Sold to the grid company.
    """

    forecast_import_wh: int = 0
    forecast_export_wh: int = 0
    import_wh: int = 0
    export_wh: int = 0
    traded_sold_wh: int = 0
    traded_bought_wh: int = 0
    compensated_wh: int = 0
    surplus_sold_wh: int = 0
    balanced_wh: int = 0
    grid_bought_wh: int = 0
    grid_sold_wh: int = 0

    def add_forecast(self, import_wh: int, export_wh: int) -> None:
        """Add what a node expects."""
        self.forecast_import_wh += import_wh
        self.forecast_export_wh += export_wh

    def add_bill(self, bill: Bill, *, both_sides: bool) -> None:
        """Add a node's bill.

        Args:
            bill: The bill.
            both_sides: Count bought energy in the inner legs too: right for one node, while over
                all nodes every kWh would count twice.
        """
        self.import_wh += bill.deviation.import_wh
        self.export_wh += bill.deviation.export_wh
        self.traded_sold_wh += bill.plan.sold_wh
        self.traded_bought_wh += bill.plan.bought_wh
        legs = [
            line.sold_wh + (line.bought_wh if both_sides else 0)
            for line in (bill.compensation, bill.selling, bill.balance)
        ]
        self.compensated_wh += legs[0]
        self.surplus_sold_wh += legs[1]
        self.balanced_wh += legs[2]
        self.grid_bought_wh += bill.grid.bought_wh
        self.grid_sold_wh += bill.grid.sold_wh


@dataclass(slots=True)
class PeriodFigures:
    """A period of the day.

    Attributes:
        page: The settled period.
        energy: Its energies.
    """

    page: Page
    energy: Energy

    @property
    def trading(self) -> Trading | None:
        """The period's clearing."""
        return self.page.trading


@dataclass(slots=True)
class NodeFigures:
    """A node's day.

    Attributes:
        node: The node.
        energy: Its energies; inner legs count both sides.
        net_uyuan: What it got, or paid if negative.
        alone_uyuan: The same with the grid company only. The trader is no load: without a market
            it would trade elsewhere or not at all, so this is what it got, too.
    """

    node: Node
    energy: Energy = field(default_factory=Energy)
    net_uyuan: int = 0
    alone_uyuan: int = 0

    @property
    def saving_uyuan(self) -> int:
        """What the market was worth to it."""
        return self.net_uyuan - self.alone_uyuan


@dataclass(slots=True)
class Figures:
    """The whole day.

    Attributes:
        periods: By period, in order.
        nodes: By node, in order.
        total: All energies.
        grid_uyuan: The grid company's net.
        grid_alone_uyuan: The same if everybody traded with it only.
    """

    periods: list[PeriodFigures]
    nodes: list[NodeFigures]
    total: Energy
    grid_uyuan: int
    grid_alone_uyuan: int

    @property
    def tradings(self) -> list[Trading]:
        """The clearings of the periods that have one."""
        return [p.trading for p in self.periods if p.trading is not None]

    @property
    def orders(self) -> int:
        """Number of orders."""
        return sum(t.orders for t in self.tradings)

    @property
    def paid_nyuan(self) -> int:
        """What buyers pay for what they bought ahead, nano-yuan."""
        return sum(t.totals.paid_nyuan for t in self.tradings)

    @property
    def rent_nyuan(self) -> int:
        """What buyers pay less what sellers get ahead, nano-yuan."""
        return sum(t.totals.rent_nyuan for t in self.tradings)

    @property
    def volume_wh(self) -> int:
        """What was traded ahead."""
        return sum(t.totals.volume_wh for t in self.tradings)

    @property
    def binding(self) -> Counter[int]:
        """In how many periods each line carries all it may, by the bus below."""
        return Counter(line for t in self.tradings for line in t.binding)

    @property
    def opposed(self) -> int:
        """How many clearings the committee opposed."""
        return sum(t.opposed for t in self.tradings)


def alone(reading: MeterReading, prices: PeriodPrices) -> Settlement:
    """Settle a node as if it had no neighbours: it pays retail and fee, and gets feed-in."""
    return settle([], [reading], prices)


def figures(
    nodes: Sequence[Node],
    pages: Sequence[Page],
    forecasts_wh: Mapping[tuple[int, int], tuple[int, int]],
) -> Figures:
    """Add a day up.

    Args:
        nodes: The village's nodes.
        pages: The day's settled periods.
        forecasts_wh: Expected import and export by node and period.
    """
    by_node = {node.id: NodeFigures(node) for node in nodes}
    total, periods = Energy(), []
    grid_uyuan = grid_alone_uyuan = 0
    for page in pages:
        energy = Energy()
        grid_uyuan += page.settlement.grid_company.net_uyuan
        for reading in page.readings:
            if reading.node in by_node and by_node[reading.node].node.name != TRADER:
                settled = alone(reading, page.prices)
                by_node[reading.node].alone_uyuan += settled.bills[0].net_uyuan
                grid_alone_uyuan += settled.grid_company.net_uyuan
        for bill in page.settlement.bills:
            for sums in (energy, total):
                sums.add_bill(bill, both_sides=False)
            if bill.node in by_node:
                by_node[bill.node].energy.add_bill(bill, both_sides=True)
                by_node[bill.node].net_uyuan += bill.net_uyuan
                if by_node[bill.node].node.name == TRADER:
                    by_node[bill.node].alone_uyuan += bill.net_uyuan
        for node in nodes:
            expected = forecasts_wh.get((node.id, page.period), AT_REST)
            for sums in (energy, total, by_node[node.id].energy):
                sums.add_forecast(*expected)
        periods.append(PeriodFigures(page, energy))
    return Figures(periods, list(by_node.values()), total, grid_uyuan, grid_alone_uyuan)
