"""A market on its own chain for tests: actors, time, and the usual moves, under short names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3.types import TxReceipt

from market.chain import Chain
from market.clearing import Rule
from market.deployment import Market, Terms, deploy
from market.devnet import MNEMONIC, Anvil, rpc
from market.grid import Grid
from market.history import History
from market.keeper import Keeper
from market.lines import SINGLE_BUS, table_of
from market.messages import Agreement, Cancel, Declaration, Order, Proposal, Topic, compact
from market.orders import SignedOrder, encode_entries
from market.packing import bucket_of, pack_readings, root_of
from market.prices import Benchmark, Limits
from market.schedule import Schedule
from market.types import MeterReading, Options

Account.enable_unaudited_hdwallet_features()

EPOCH_S = 1_800_000_000
YUAN = 1_000_000
SEATS = 4
FUND_GAS = 300_000
"""More than either call of `World.fund` takes; estimating it would double most tests' time."""

LIMITS = Limits(price_cap_uyuan_per_kwh=2 * YUAN, fee_cap_uyuan_per_kwh=100_000)
PENG = Benchmark(
    feed_in_uyuan_per_kwh=100_000,
    selling_uyuan_per_kwh=329_700,
    planned_uyuan_per_kwh=437_900,
    compensation_uyuan_per_kwh=535_900,
    retail_uyuan_per_kwh=800_000,
    fee_uyuan_per_kwh=0,
)
"""Peng's Table V with a grid company around it, fee 0."""

PROSUMER = 3


@cache
def account(index: int) -> LocalAccount:
    """Return one of the devnet's funded accounts, whose keys are public."""
    made: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return made


def default_schedule(epoch_s: int = EPOCH_S) -> Schedule:
    """Return quarter hours with a day of horizon and a day of corrections."""
    return Schedule(
        epoch_s=epoch_s,
        length_s=900,
        price_horizon_s=86_400,
        price_lead_s=3_600,
        gate_lead_s=900,
        round_length_s=60,
        settle_deadline_s=3_600,
        window_s=86_400,
    )


@dataclass
class World:
    """A deployed market with its people.

    Attributes:
        market: The market.
        url: The chain's endpoint.
        path: The deployment file.
        deployer: Has deployed, holds nothing.
        grid: The grid company.
        seats: The committee.
        stranger: Somebody without any role.
        members: The accounts of nodes 1, 2, ..., as admitted by `join`.
    """

    market: Market
    url: str
    path: Path
    deployer: LocalAccount
    grid: LocalAccount
    seats: list[LocalAccount]
    stranger: LocalAccount
    members: list[LocalAccount]

    @property
    def chain(self) -> Chain:
        """The connection."""
        return self.market.chain

    @property
    def history(self) -> History:
        """What the chain told."""
        return History(self.market)

    @property
    def keeper(self) -> Keeper:
        """A stranger's keeper."""
        return Keeper.of(self.market, self.stranger)

    # -- time

    def now(self) -> int:
        """Return the chain's time."""
        return self.chain.now()

    def warp(self, instant_s: int) -> None:
        """Mine a block at an instant; nothing if it has passed."""
        if instant_s > self.now():
            rpc(self.url, "evm_setNextBlockTimestamp", [instant_s])
            rpc(self.url, "evm_mine")

    def free_period(self, ahead: int = 8) -> int:
        """Return a period whose book is still to open its prices: `ahead` periods from now."""
        return self.market.schedule.period_at(self.now()) + ahead

    # -- people and money

    def join(self, count: int, *, capacity_wh: int = 1_000_000, role: int = PROSUMER) -> list[int]:
        """Admit further members, accounts of the devnet from 20 on, and return their node ids."""
        first = len(self.members)
        accounts = [account(20 + first + i) for i in range(count)]
        admissions = [
            (a.address, (first + i + 1).to_bytes(32, "big"), i, role, capacity_wh, capacity_wh)
            for i, a in enumerate(accounts)
        ]
        self.chain.send(self.grid, self.market.registry.functions.admit(admissions))
        self.members += accounts
        return list(range(first + 1, first + count + 1))

    def fund(self, node: int, amount_uyuan: int) -> None:
        """Have the grid company issue tokens and deposit them for a node (0: for itself)."""
        recharge = self.market.token.functions.recharge(self.grid.address, amount_uyuan, "")
        for call in (recharge, self.market.vault.functions.deposit(node, amount_uyuan)):
            self.chain.send(self.grid, call, gas=FUND_GAS)

    def owner(self, node: int) -> LocalAccount:
        """Return the account of a node."""
        return self.grid if node == 0 else self.members[node - 1]

    def balance(self, node: int) -> tuple[int, int]:
        """Return a node's free and locked balance."""
        free, locked, _in_debt = self.chain.read(self.market.vault.functions.accountOf(node))
        return free, locked

    def worth(self, node: int) -> int:
        """Return free plus locked plus claims less debt, what settlements move by their net."""
        vault = self.market.vault.functions
        free, locked = self.balance(node)
        return (
            free
            + locked
            + int(self.chain.read(vault.claimsOf(node)))
            - int(self.chain.read(vault.debtOf(node)))
        )

    # -- the book

    def agree(self, agreement: Agreement) -> TxReceipt:
        """Place an agreement signed by both sides, relayed by the stranger."""
        domain = self.market.domain
        call = self.market.book.functions.agree(
            agreement.as_tuple(domain),
            agreement.sign(self.owner(agreement.seller), domain),
            agreement.sign(self.owner(agreement.buyer), domain),
        )
        return self.chain.send(self.stranger, call)

    def declare(self, period: int, node: int, options: Options) -> TxReceipt:
        """Place a declaration signed by its node, relayed by the stranger."""
        domain = self.market.domain
        declaration = Declaration(period, node, options)
        signature = declaration.sign(self.owner(node), domain)
        call = self.market.book.functions.declare(declaration.as_tuple(domain), signature)
        return self.chain.send(self.stranger, call)

    def place(self, period: int, order: Order) -> TxReceipt:
        """Place an order signed by its node, relayed by the stranger."""
        domain = self.market.domain
        signature = compact(order.sign(self.owner(order.node), domain))
        call = self.market.book.functions.place(period, order.as_tuple(domain), signature)
        return self.chain.send(self.stranger, call)

    def entry(self, order: Order) -> SignedOrder:
        """Return an order with its node's signature."""
        signature = order.sign(self.owner(order.node), self.market.domain)
        return SignedOrder(order, compact(signature))

    def place_batch(self, period: int, orders: Sequence[Order]) -> TxReceipt:
        """Place orders of one bucket, signed by their nodes and relayed by the stranger."""
        entries = encode_entries([self.entry(order) for order in orders])
        bucket = bucket_of(orders[0].node)
        call = self.market.book.functions.placeBatch(period, bucket, entries)
        return self.chain.send(self.stranger, call)

    def cancel(self, period: int, node: int, least_nonce: int) -> TxReceipt:
        """Cancel a node's live order, signed by the node and relayed by the stranger."""
        cancel, domain = Cancel(node, period, least_nonce), self.market.domain
        call = self.market.book.functions.cancel(
            cancel.as_tuple(domain),
            cancel.sign(self.owner(node), domain),
            *self.history.book(period).place_of(node),
        )
        return self.chain.send(self.stranger, call)

    # -- the oracle

    def round_of(self, period: int) -> int:
        """Return the report round that is running."""
        return self.market.schedule.report_round(period, self.now())

    def primary(self, period: int) -> LocalAccount:
        """Return the seat that may propose a report now."""
        return self.seats[(period + self.round_of(period)) % len(self.seats)]

    def propose(self, period: int, readings: Iterable[MeterReading], version: int = 1) -> Proposal:
        """Have the primary propose a report."""
        buckets = pack_readings(readings)
        receipt = self.chain.send(
            self.primary(period),
            self.market.oracle.functions.proposeReport(period, version, buckets),
        )
        event = self.market.oracle.events.ReportProposed().process_receipt(receipt)[0]["args"]
        return Proposal(Topic.REPORT, period, version, event["round"], root_of(buckets))

    def vote(self, proposal: Proposal, seats: Sequence[int], *, support: bool = True) -> TxReceipt:
        """Relay the votes of some seats on a proposal."""
        votes = [
            (seat, support, proposal.sign(self.seats[seat], self.market.domain, support=support))
            for seat in seats
        ]
        call = self.market.oracle.functions.vote(proposal.as_tuple(), votes)
        return self.chain.send(self.stranger, call)

    def approve_clearing(self, period: int) -> TxReceipt:
        """Have three seats vote for the checked clearing of a period."""
        call = self.market.master.functions.clearingOf(period)
        attempt, root, _decided = self.chain.read(call)
        return self.vote(Proposal(Topic.CLEARING, period, attempt, 0, bytes(root)), (0, 1, 2))

    def report(self, period: int, readings: Iterable[MeterReading], version: int = 1) -> None:
        """Fix a report by quorum."""
        self.vote(self.propose(period, readings, version), (0, 1, 2))


@contextmanager
def new_world(
    schedule: Schedule | None = None,
    benchmark: Benchmark = PENG,
    limits: Limits = LIMITS,
    accounts: int = 60,
    genesis_s: int | None = None,
    feeder: Path | None = None,
    rule: Rule = Rule.UNIFORM,
    options: tuple[str, ...] = (),
    anvil: Anvil | None = None,
) -> Iterator[World]:
    """Start a chain, at the schedule's epoch or later, deploy a market, and stop it in the end.

    With a grid file the market has that feeder, otherwise no wires. The chain may be given, or
    options of anvil for it.
    """
    schedule = schedule or default_schedule()
    start_s = genesis_s or schedule.epoch_s
    with (
        anvil or Anvil(accounts=accounts, genesis_timestamp=start_s, options=options) as anvil,
        tempfile.TemporaryDirectory() as folder,
    ):
        chain = Chain(anvil.url)
        path = Path(folder) / "deployment.json"
        deployer, grid, stranger = account(0), account(1), account(2)
        seats = [account(10 + seat) for seat in range(SEATS)]
        terms = Terms(
            grid_company=grid.address,
            seats=tuple(seat.address for seat in seats),
            schedule=schedule,
            limits=limits,
            benchmark=benchmark,
            grid=(
                table_of(Grid.load(feeder).tree, schedule.length_s) if feeder else SINGLE_BUS
            ).hex(),
            rule=rule,
        )
        market = deploy(chain, deployer, terms, path)
        chain.send(grid, market.token.functions.approve(market.vault.address, 2**256 - 1))
        yield World(market, anvil.url, path, deployer, grid, seats, stranger, [])


@contextmanager
def undone(world: World) -> Iterator[World]:
    """Undo on chain, in the end, whatever happens inside."""
    snapshot = rpc(world.url, "evm_snapshot")
    members = list(world.members)
    try:
        yield world
    finally:
        rpc(world.url, "evm_revert", [snapshot])
        world.members[:] = members
