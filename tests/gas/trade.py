"""Takes bilateral trades through a whole period and notes what each step costs in gas.

Everything that could make two runs differ is fixed: keys, times of blocks, nonces, and with them
the addresses, the market's id and every signature. So the numbers are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eth_account import Account
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from market import keeper
from market.clear_calls import clear_call
from market.clearing import Rule
from market.devnet import rpc
from market.messages import Agreement, Proposal, Topic
from market.packing import pack_readings, root_of
from market.schedule import Schedule
from market.types import MeterReading, Options, Quality
from tests.world import EPOCH_S, PENG, YUAN, World, new_world

BATCH = 50
"""Agreements in one transaction, and admissions too."""

SCHEDULE = Schedule(
    epoch_s=EPOCH_S,
    length_s=900,
    price_horizon_s=5_400,
    price_lead_s=3_600,
    gate_lead_s=1_800,
    round_length_s=60,
    settle_deadline_s=3_600,
    window_s=7_200,
)
"""A short horizon, so that the book's storage comes round again after eight periods."""

RING = SCHEDULE.price_horizon_s // SCHEDULE.length_s + 2
FIRST_PERIOD = 8
PROSUMER = 3


@dataclass
class Costs:
    """Gas of a period's steps.

    Attributes:
        steps: Gas of all transactions of a step.
        largest: Gas of the dearest transaction.
    """

    steps: dict[str, int] = field(default_factory=dict)
    largest: int = 0

    def note(self, step: str, receipt: TxReceipt) -> TxReceipt:
        """Add a transaction to a step."""
        self.steps[step] = self.steps.get(step, 0) + receipt["gasUsed"]
        self.largest = max(self.largest, receipt["gasUsed"])
        return receipt


@contextmanager
def gas_world(feeder: Path | None = None, rule: Rule = Rule.UNIFORM) -> Iterator[World]:
    """Deploy a market on a chain whose blocks are exactly a second apart."""
    with new_world(SCHEDULE, feeder=feeder, rule=rule) as world:
        rpc(world.url, "anvil_setBlockTimestampInterval", [1])
        yield world


def populate(world: World, nodes: int, costs: Costs, buses: int = 128) -> None:
    """Admit and fund nodes, half sellers (odd ids) and half buyers, in turn on the buses."""
    registry, token, vault = world.market.registry, world.market.token, world.market.vault
    world.members = [Account.from_key(keccak(text=f"node {n}")) for n in range(1, nodes + 1)]
    for first in range(0, nodes, BATCH):
        admissions = [
            (world.members[i].address, keccak(i.to_bytes(4)), i % buses, PROSUMER, 10**6, 10**6)
            for i in range(first, min(first + BATCH, nodes))
        ]
        receipt = world.chain.send(world.grid, registry.functions.admit(admissions))
        costs.note("admit", receipt)
    grid, each = world.grid, 10_000 * YUAN
    supply = each * (nodes + 1)
    world.chain.send(grid, token.functions.recharge(grid.address, supply, "start"))
    world.chain.send(grid, token.functions.approve(vault.address, supply))
    nonce = world.chain.nonce(grid.address)
    deposit = vault.functions.deposit
    hashes = [
        world.chain.submit(grid, deposit(node, each), gas=200_000, nonce=nonce + node)
        for node in range(nodes + 1)
    ]
    for tx_hash in hashes:
        costs.note("deposit", world.chain.wait(tx_hash))


def trade(world: World, period: int, nodes: int, costs: Costs) -> None:
    """Agree pairwise, deviate, report, and settle one period."""
    schedule, chain = world.market.schedule, world.chain
    world.warp(schedule.price_deadline(period))
    for call in _agreements(world, period, nodes):
        costs.note("agree", chain.send(world.stranger, call))
    world.warp(schedule.gate(period))
    past = world.history
    costs.note("clear", chain.send(world.stranger, clear_call(world.market, past, period)))

    world.warp(schedule.close(period))
    buckets = pack_readings(_readings(nodes))
    propose = world.market.oracle.functions.proposeReport(period, 1, buckets)
    round_ = world.round_of(period)
    costs.note("propose", chain.send(world.primary(period), propose))
    proposal = Proposal(Topic.REPORT, period, 1, round_, root_of(buckets))
    costs.note("vote", world.vote(proposal, (0, 1, 2)))
    while not past.state(period).settled:
        call = keeper.settle_call(world.market, past, period)
        costs.note("settle", chain.send(world.stranger, call))


def _agreements(world: World, period: int, nodes: int) -> list[ContractFunction]:
    """Return the batches in which node 1 sells to 2, 3 to 4, and so on."""
    domain, entries = world.market.domain, []
    for seller in range(1, nodes, 2):
        agreement = Agreement(
            period=period,
            seller=seller,
            buyer=seller + 1,
            energy_wh=10_000 + seller,
            price_uyuan_per_kwh=PENG.planned_uyuan_per_kwh,
            seller_nonce=period,
            buyer_nonce=period,
            seller_options=Options.RESERVE | Options.OFFER,
            buyer_options=Options.TAKE,
        )
        entries.append(
            (
                agreement.as_tuple(domain),
                agreement.sign(world.owner(seller), domain),
                agreement.sign(world.owner(seller + 1), domain),
            )
        )
    batch = world.market.book.functions.agreeBatch
    if len(entries) == 1:
        return [world.market.book.functions.agree(*entries[0])]
    return [batch(entries[i : i + BATCH]) for i in range(0, len(entries), BATCH)]


def _readings(nodes: int) -> list[MeterReading]:
    """Return readings in which everybody deviates a little, some up and some down."""
    readings = []
    for node in range(1, nodes + 1):
        planned = 10_000 + node - (1 - node % 2)
        wh = planned + 37 * (node % 7) - 100
        export, draw = (wh, 0) if node % 2 else (0, wh)
        readings.append(MeterReading(node, Quality.MEASURED, export, draw))
    return readings
