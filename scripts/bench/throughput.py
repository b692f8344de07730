"""Trades per second, from signed orders to moved money, on one anvil beside the client.

Every node of a market places one order, half of them bids; all of them trade. Measured is what a
market has to do once the signatures are there: relay the orders, clear with wires, vote, report,
vote, settle. Beside it, in the same run, what anvil itself can execute.

    python -m scripts.bench.throughput --trades 5000
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import requests
import typer
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction

from market.chain import Chain
from market.deployment import Market, Terms, deploy
from market.devnet import Anvil, rpc
from market.grid import Grid
from market.history import History
from market.keeper import Keeper
from market.lines import table_of
from market.messages import Order, Proposal, Step, Topic, compact
from market.orders import SignedOrder, encode_entries
from market.packing import BUCKET_NODES, bucket_of, pack_readings, root_of
from market.prices import Benchmark, Limits
from market.schedule import Schedule
from market.types import MeterReading, Options, Quality

TARGET_TRADES_PER_S = 200
PERIOD = 4
BATCH = 128
ADMISSIONS = 100
MOST_GAS = 16_000_000
MAX_FEE_WEI = 10**12
RPC_BATCH = 100
RAW = "eth_sendRawTransaction"
PROSUMER = 3
CAPACITY_WH = 10**6
"""Of every node, in a period and direction."""
GRID = Path(__file__).resolve().parents[2] / "data" / "simbench-rural1" / "grid.json"

SCHEDULE = Schedule(
    epoch_s=1_767_225_600,
    length_s=900,
    price_horizon_s=5_400,
    price_lead_s=3_600,
    gate_lead_s=1_800,
    round_length_s=600,
    settle_deadline_s=3_600,
    window_s=7_200,
)
PRICES = Benchmark(100_000, 329_700, 437_900, 535_900, 800_000, 20_000)
LIMITS = Limits(1_000_000, 100_000, 0, 1_000_000)

BURNER = bytes.fromhex("5f5b6001018080555a6200c3501060015700")
"""A creation that writes 1, 2, ... to fresh slots 1, 2, ... until 50,000 gas is left: what it takes
is the chain's own time."""


@dataclass
class Phase:
    """What one step of the period took.

    Attributes:
        seconds: Wall time.
        gas: Gas of its transactions.
        transactions: Their number.
    """

    seconds: float = 0.0
    gas: int = 0
    transactions: int = 0


@dataclass
class Run:
    """A market on its own chain, and the time its phases took.

    Attributes:
        market: The market.
        url: The chain's endpoint.
        sender: Relays everything.
        grid: The grid company.
        seats: The committee.
        phases: By name, in order.
    """

    market: Market
    url: str
    sender: LocalAccount
    grid: LocalAccount
    seats: list[LocalAccount]
    phases: dict[str, Phase] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Time a phase and add up the gas of the blocks it mined."""
        phase = self.phases.setdefault(name, Phase())
        first, begun = self.market.chain.block_number(), time.perf_counter()
        yield phase
        phase.seconds += time.perf_counter() - begun
        for number in range(first + 1, self.market.chain.block_number() + 1):
            block = rpc(self.url, "eth_getBlockByNumber", [hex(number), False])
            phase.gas += int(block["gasUsed"], 16)
            phase.transactions += len(block["transactions"])

    def warp(self, instant_s: int) -> None:
        """Mine a block at an instant."""
        rpc(self.url, "evm_setNextBlockTimestamp", [instant_s])
        rpc(self.url, "evm_mine")

    def send_all(self, sender: LocalAccount, calls: Sequence[ContractFunction], gas: int) -> None:
        """Sign calls, send them in JSON-RPC batches, and wait for the last."""
        chain, first = self.market.chain, self.market.chain.nonce(sender.address)
        payloads = []
        for i, call in enumerate(calls):
            transaction = {
                "to": call.address,
                "data": call._encode_transaction_data(),
                "gas": gas,
                "nonce": first + i,
                "chainId": chain.chain_id,
                "maxFeePerGas": MAX_FEE_WEI,
                "maxPriorityFeePerGas": 1,
                "value": 0,
            }
            raw = sender.sign_transaction(transaction).raw_transaction
            payloads.append({"id": i, "method": RAW, "params": ["0x" + raw.hex()]})
        answers: list[dict[str, str]] = []
        rpc(self.url, "evm_setAutomine", [False])  # full blocks, not one for each
        with requests.Session() as session:
            # A request must stay below the 2 MB that anvil takes.
            most = max(1, min(RPC_BATCH, 1_000_000 // max(map(len, map(str, payloads)))))
            for begin in range(0, len(payloads), most):
                part = [{"jsonrpc": "2.0", **p} for p in payloads[begin : begin + most]]
                answers += session.post(self.url, json=part, timeout=60).json()
        refused = [answer for answer in answers if "result" not in answer]
        if refused:
            raise SystemExit(f"the chain refused {len(refused)} transactions: {refused[0]}")
        while int(rpc(self.url, "eth_getTransactionCount", [sender.address, "latest"]), 16) < (
            first + len(calls)
        ):
            rpc(self.url, "evm_mine")
        rpc(self.url, "evm_setAutomine", [True])
        for answer in answers[-1:]:
            if chain.wait(bytes.fromhex(answer["result"][2:]))["status"] != 1:
                raise SystemExit(f"transaction {answer['result']} failed")


def nameless(node: int) -> bytes:
    """Return the registry's word for a meter nobody reads."""
    return bytes(keccak(node.to_bytes(4, "big")))


def populate(
    run: Run, nodes: int, meter_of: Callable[[int], bytes] = nameless
) -> list[LocalAccount]:
    """Admit and fund the nodes; odd ids will sell, even ones buy.

    Args:
        run: The market.
        nodes: How many.
        meter_of: What the registry calls a node's meter.
    """
    market = run.market
    people = [Account.from_key(keccak(text=f"node {n}")) for n in range(1, nodes + 1)]
    buses = market.chain.read(market.grid.functions.busCount())
    admissions = [
        (a.address, meter_of(node), (node - 1) % buses, PROSUMER, CAPACITY_WH, CAPACITY_WH)
        for node, a in enumerate(people, start=1)
    ]
    admit = market.registry.functions.admit
    batches = [admit(admissions[i : i + ADMISSIONS]) for i in range(0, nodes, ADMISSIONS)]
    run.send_all(run.grid, batches, MOST_GAS)
    each = 1_000_000_000
    supply = each * (nodes + 1)
    run.send_all(
        run.grid,
        [
            market.token.functions.recharge(run.grid.address, supply, "bench"),
            market.token.functions.approve(market.vault.address, supply),
        ],
        200_000,
    )
    deposit = market.vault.functions.deposit
    run.send_all(run.grid, [deposit(node, each) for node in range(nodes + 1)], 150_000)
    return people


def signed_orders(run: Run, people: Sequence[LocalAccount]) -> list[SignedOrder]:
    """Have everybody sign an order that will trade."""
    domain, orders = run.market.domain, []
    for node, account in enumerate(people, start=1):
        sells = node % 2 == 1
        off = node % 50_000
        price = PRICES.planned_uyuan_per_kwh + (-off if sells else off)
        order = Order(
            node=node,
            first_period=PERIOD,
            last_period=PERIOD,
            steps=(Step(sells, 1_000, price),),
            options=Options.OFFER if sells else Options.TAKE,
        )
        orders.append(SignedOrder(order, compact(order.sign(account, domain))))
    return orders


def relay(run: Run, orders: Sequence[SignedOrder]) -> None:
    """Place signed orders in batches, each of one bucket."""
    place = run.market.book.functions.placeBatch
    calls = []
    first = 0
    while first < len(orders):
        bucket = bucket_of(orders[first].order.node)
        last = min(first + BATCH, (bucket + 1) * BUCKET_NODES - 1, len(orders))
        calls.append(place(PERIOD, bucket, encode_entries(orders[first:last])))
        first = last
    run.send_all(run.sender, calls, 5_000_000)


def vote(run: Run, proposal: Proposal) -> None:
    """Relay a quorum's votes in one transaction."""
    domain = run.market.domain
    votes = [
        (seat, True, proposal.sign(run.seats[seat], domain, support=True)) for seat in range(3)
    ]
    run.market.chain.send(run.sender, run.market.oracle.functions.vote(proposal.as_tuple(), votes))


def readings(nodes: int) -> list[MeterReading]:
    """Return readings in which everybody deviates a little."""
    result = []
    for node in range(1, nodes + 1):
        wh = 1_000 + 37 * (node % 7) - 100
        out_wh, in_wh = (wh, 0) if node % 2 else (0, wh)
        result.append(MeterReading(node, Quality.MEASURED, out_wh, in_wh))
    return result


def trade(run: Run, orders: Sequence[SignedOrder], nodes: int) -> None:
    """Take the period from signed orders to settled."""
    market, schedule = run.market, SCHEDULE
    keeper = Keeper.of(market, run.sender)
    with run.phase("orders"):
        relay(run, orders)
    run.warp(schedule.gate(PERIOD))
    with run.phase("clear"):
        keeper.clear(PERIOD)
    with run.phase("vote on the clearing"):
        attempt, root, _ = market.chain.read(market.master.functions.clearingOf(PERIOD))
        vote(run, Proposal(Topic.CLEARING, PERIOD, attempt, 0, bytes(root)))
    run.warp(schedule.close(PERIOD))
    close_and_settle(run, nodes)


def close_and_settle(run: Run, nodes: int) -> None:
    """Take a closed period to settled as one process that has all keys."""
    market, oracle = run.market, run.market.oracle.functions
    buckets = pack_readings(readings(nodes))
    with run.phase("report"):
        primary = run.seats[PERIOD % len(run.seats)]
        report = oracle.proposeReport(PERIOD, 1, buckets)
        market.chain.send(primary, report, gas=MOST_GAS)
    with run.phase("vote on the report"):
        vote(run, Proposal(Topic.REPORT, PERIOD, 1, 0, root_of(buckets)))
    with run.phase("settle"):
        Keeper.of(market, run.sender).settle(PERIOD)


def anvil_mgas_per_s(run: Run) -> float:
    """Measure what the chain executes when nothing but storage writes is asked of it."""
    begun, gas = time.perf_counter(), 0
    for _ in range(8):
        transaction = {
            "from": run.sender.address,
            "data": "0x" + BURNER.hex(),
            "gas": hex(MOST_GAS),
        }
        tx_hash = rpc(run.url, "eth_sendTransaction", [transaction])
        gas += run.market.chain.wait(bytes.fromhex(tx_hash[2:]))["gasUsed"]
    return gas / (time.perf_counter() - begun) / 1e6


def table(run: Run, trades: int, limit_mgas_per_s: float, signing_s: float) -> str:
    """Return the page's part."""
    total = Phase()
    lines = ["| step | s | share | transactions | Mgas | Mgas/s |", "|---|" + "---:|" * 5]
    for phase in run.phases.values():
        total.seconds += phase.seconds
        total.gas += phase.gas
        total.transactions += phase.transactions
    for name, phase in (*run.phases.items(), ("all", total)):
        share = 100 * phase.seconds / total.seconds
        lines.append(
            f"| {name} | {phase.seconds:.2f} | {share:.0f} % | {phase.transactions} "
            f"| {phase.gas / 1e6:.1f} | {phase.gas / 1e6 / phase.seconds:.0f} |"
        )
    floor_s = total.gas / 1e6 / limit_mgas_per_s
    lines += [
        "",
        f"{trades} trades in {total.seconds:.1f} s: **{trades / total.seconds:.0f} trades/s** "
        f"(target {TARGET_TRADES_PER_S}), {total.gas // trades:,} gas a trade on fresh storage.",
        f"anvil alone, writing storage in the same run: {limit_mgas_per_s:.0f} Mgas/s, so "
        f"{floor_s:.1f} s for as much gas. Signing the orders took the members {signing_s:.1f} s.",
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def market_on_anvil() -> Iterator[Run]:
    """Deploy a market with wires on a chain of its own."""
    keys = [Account.from_key(keccak(text=f"bench {i}")) for i in range(7)]
    deployer, grid, sender, *seats = keys
    with (
        Anvil(accounts=1, genesis_timestamp=SCHEDULE.epoch_s) as anvil,
        tempfile.TemporaryDirectory() as folder,
    ):
        for account in keys:
            rpc(anvil.url, "anvil_setBalance", [account.address, hex(10**24)])
        rpc(anvil.url, "anvil_impersonateAccount", [sender.address])
        terms = Terms(
            grid_company=grid.address,
            seats=tuple(seat.address for seat in seats),
            schedule=SCHEDULE,
            limits=LIMITS,
            benchmark=PRICES,
            grid=table_of(Grid.load(GRID).tree, SCHEDULE.length_s).hex(),
        )
        chain = Chain(anvil.url, timeout_s=60)
        market = deploy(chain, deployer, terms, Path(folder) / "deployment.json")
        yield Run(market, anvil.url, sender, grid, seats)


def main(
    trades: Annotated[int, typer.Option(help="Trades: pairs of a bid and an ask.")] = 5_000,
) -> None:
    """Measure trades per second from signed orders to settled; fail below the target."""
    with market_on_anvil() as run:
        people = populate(run, 2 * trades)
        begun = time.perf_counter()
        orders = signed_orders(run, people)
        signing_s = time.perf_counter() - begun
        trade(run, orders, 2 * trades)
        settled = History(run.market).state(PERIOD).settled
        volume_wh = sum(p.bought_wh for p in History(run.market).positions(PERIOD))
        if not settled or volume_wh != trades * 1_000:
            raise SystemExit(f"the period traded {volume_wh} Wh; settled: {settled}")
        print(table(run, trades, anvil_mgas_per_s(run), signing_s), end="")
        total_s = sum(phase.seconds for phase in run.phases.values())
    if trades / total_s < TARGET_TRADES_PER_S:
        raise SystemExit(f"below {TARGET_TRADES_PER_S} trades/s")


if __name__ == "__main__":
    typer.run(main)
