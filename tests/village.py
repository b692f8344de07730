"""The SimBench village on a test chain: members, meters, and a committee that reads them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from web3.logs import DISCARD

from market.deployment import Market
from market.grid import Grid
from market.history import to_prices
from market.messages import Agreement
from market.settlement import Mode, Settlement, settle
from market.types import MeterReading, Options, Quality
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Roster, capacity_wh_per_period, load_roster, meter_key
from oracle.meters.source import Reading
from tests.committee import Committee, Meters, Settings
from tests.world import PROSUMER, YUAN, World, account

DATA = Path(__file__).resolve().parent.parent / "data" / "simbench-rural1"
ROSTER = DATA / "meters.csv"
PROFILE = DATA / "profiles.csv.gz"
GRID = DATA / "grid.json"
MORNING_ROW = 696
"""Six in the morning of the sunny day: generation is about what the loads draw."""

DEPOSIT_GAS = 200_000
AGREEMENT_GAS = 400_000


class Village:
    """The members of the feeder in a world, one node per meter.

    Attributes:
        world: The market they trade in.
        roster: Their meters; node ids follow its order, from 1.
        meters: What nodes of the committee read, row `MORNING_ROW` for the first period.
        first: The first period the market settles.
    """

    def __init__(
        self, world: World, funds_uyuan: int = 1_000 * YUAN, roster: Path = ROSTER
    ) -> None:
        """Admit and fund everybody, and the grid company."""
        self.world = world
        market = world.market
        self.first = int(world.chain.read(market.master.functions.firstPeriod()))
        self.roster: Roster = load_roster(roster, market.schedule.length_s)
        self.meters = Meters(roster, PROFILE, self.first, MORNING_ROW)
        self._sources: dict[Meters, ProfileSource] = {}
        # The contracts number buses by their place in the tree.
        tree = Grid.load(GRID).tree
        buses = tree.columns([meter.bus for meter in self.roster.values()]).tolist()
        accounts = [account(20 + i) for i in range(len(self.roster))]
        admissions = [
            (
                owner.address,
                meter_key(meter.meter),
                bus,
                PROSUMER,
                capacity_wh_per_period(meter.import_capacity_w, self.roster.period_s),
                capacity_wh_per_period(meter.export_capacity_w, self.roster.period_s),
            )
            for owner, meter, bus in zip(accounts, self.roster.values(), buses, strict=True)
        ]
        world.chain.send(world.grid, market.registry.functions.admit(admissions))
        world.members += accounts
        token, vault, total = market.token, market.vault, funds_uyuan * (len(accounts) + 1)
        grid = world.grid
        world.chain.send(grid, token.functions.recharge(grid.address, total, "test"))
        world.chain.send(grid, token.functions.approve(vault.address, total))
        for node in range(len(accounts) + 1):
            world.chain.send(grid, vault.functions.deposit(node, funds_uyuan), gas=DEPOSIT_GAS)

    @property
    def nodes(self) -> range:
        """All nodes."""
        return range(1, len(self.roster) + 1)

    def committee(
        self,
        folder: Path,
        settings: Settings | None = None,
        own: Mapping[int, Settings] | None = None,
        rpc_url: str | Sequence[str] | None = None,
    ) -> Committee:
        """Describe a committee of four that reads the village's meters; see `Committee`."""
        return Committee(
            folder,
            rpc_url or self.world.url,
            self.world.path,
            self.world.seats,
            settings or Settings(self.meters),
            own,
        )

    def true_readings(self, period: int) -> dict[int, MeterReading]:
        """Return what the meters measure in a period, by node."""
        return self.readings(self.meters, period)

    def readings(self, meters: Meters, period: int) -> dict[int, MeterReading]:
        """Return what some meters measure in a period, by node."""
        if meters not in self._sources:
            self._sources[meters] = ProfileSource(
                meters.profile,
                self.roster,
                first_period=meters.first_period,
                first_row=meters.first_row,
            )
        source = self._sources[meters]
        node_of = {meter: node for node, meter in enumerate(self.roster, 1)}
        return {
            node_of[r.meter]: MeterReading(
                node_of[r.meter], Quality.MEASURED, r.export_wh, r.import_wh
            )
            for r in source.read(period)
            if isinstance(r, Reading)
        }

    def trade(self, period: int) -> None:
        """Agree on about what the meters will read, once the period's prices stand.

        Every seller sells about what it will generate: some less, some more, some in reserve.
        """
        draw = random.Random(period)
        domain, book = self.world.market.domain, self.world.market.book
        price = _planned_price(self.world.market, period)
        truth = self.true_readings(period)
        buyers = [n for n, r in truth.items() if r.import_wh]
        entries = []
        for seller in (n for n, r in truth.items() if r.export_wh):
            buyer = draw.choice(buyers)
            room_wh = self._import_capacity_wh(buyer) // 8
            energy_wh = min(room_wh, truth[seller].export_wh * draw.randint(50, 150) // 100)
            agreement = Agreement(
                period,
                seller,
                buyer,
                max(1, energy_wh),
                price,
                seller_nonce=period,
                buyer_nonce=period * 1_000 + seller,
                seller_options=draw.choice((Options.RESERVE, Options.OFFER)),
                buyer_options=Options.TAKE,
            )
            signatures = (
                agreement.sign(self.world.owner(node), domain) for node in (seller, buyer)
            )
            entries.append((agreement.as_tuple(domain), *signatures))
        receipt = self.world.chain.send(
            self.world.stranger,
            book.functions.agreeBatch(entries),
            gas=AGREEMENT_GAS * (len(entries) + 1),
        )
        assert not book.events.Skipped().process_receipt(receipt, errors=DISCARD)

    def expected(
        self,
        period: int,
        readings: Mapping[int, MeterReading],
        mode: Mode = Mode.PROVISIONAL,
        *,
        void: bool = False,
    ) -> Settlement:
        """Return what the reference model makes of a cleared or void period."""
        history = self.world.history
        return settle(
            history.positions(period),
            readings.values(),
            history.prices(period),
            mode,
            void=void,
        )

    def _import_capacity_wh(self, node: int) -> int:
        meter = list(self.roster.values())[node - 1]
        return capacity_wh_per_period(meter.import_capacity_w, self.roster.period_s)

    def worths(self) -> dict[int, int]:
        """Return what everybody has, the grid company as node 0, in micro-yuan."""
        return {node: self.world.worth(node) for node in (0, *self.nodes)}


def _planned_price(market: Market, period: int) -> int:
    raw = market.chain.read(market.oracle.functions.pricesOf(period))
    return to_prices(raw).planned_uyuan_per_kwh
