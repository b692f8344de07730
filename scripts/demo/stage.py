"""Sets the stage: deploys the market, admits and funds the members, turns the chain's time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from web3.contract.contract import ContractFunction

from market.chain import POLL_S, TX_GAS_LIMIT
from market.clearing import Rule
from market.deployment import Market, Terms, deploy
from market.devnet import rpc
from market.prices import Benchmark
from market.schedule import Schedule
from oracle.endpoints import connect
from scripts.demo.errors import DemoError
from scripts.demo.people import People
from scripts.demo.terms import (
    GRID_DEPOSIT_UYUAN,
    LIMITS,
    STORY_BENCHMARK,
    deposit_uyuan,
)
from scripts.demo.village import ROLE_BITS, Node

RPC_TIMEOUT_S = 10.0

PATIENCE_S = 60.0
"""How long the committee may take for any one step before the demo gives up."""


class Stage:
    """A deployed market on a devnet whose time the demo turns.

    Attributes:
        url: The devnet's endpoint.
        market: The market.
        people: Who acts.
    """

    def __init__(self, url: str, market: Market, people: People) -> None:
        """Stand on a deployed market."""
        self.url = url
        self.market = market
        self.people = people
        self._grid_nonce = market.chain.nonce(people.grid.address)

    @classmethod
    def build(
        cls,
        url: str,
        people: People,
        schedule: Schedule,
        rule: Rule,
        table: bytes,
        path: Path,
    ) -> Stage:
        """Deploy the market.

        Args:
            url: The devnet's endpoint.
            people: Who acts.
            schedule: The market's calendar.
            rule: How it matches.
            table: Its feeder, see `market.lines`.
            path: The deployment file to write.
        """
        terms = Terms(
            grid_company=people.grid.address,
            seats=tuple(seat.address for seat in people.seats),
            schedule=schedule,
            limits=LIMITS,
            benchmark=STORY_BENCHMARK,
            grid=table.hex(),
            rule=rule,
        )
        chain, _ = connect([url], RPC_TIMEOUT_S)
        return cls(url, deploy(chain, people.deployer, terms, path), people)

    def admit(self, nodes: Sequence[Node], meter_key: Callable[[str], bytes]) -> None:
        """Have the grid company admit all nodes.

        Args:
            nodes: In ascending id, from 1.
            meter_key: How the committee writes a meter's id on chain.
        """
        admissions = [
            (
                self.people.owner(node.id).address,
                meter_key(node.name),
                node.bus,
                ROLE_BITS[node.meter.role],
                *node.capacities_wh,
            )
            for node in nodes
        ]
        self._as_grid(self.market.registry.functions.admit(admissions))

    def publish_benchmark(self, from_period: int, benchmark: Benchmark) -> None:
        """Have the grid company publish its prices for all periods from one on."""
        b = benchmark
        prices = (
            b.feed_in_uyuan_per_kwh,
            b.selling_uyuan_per_kwh,
            b.planned_uyuan_per_kwh,
            b.compensation_uyuan_per_kwh,
            b.retail_uyuan_per_kwh,
            b.fee_uyuan_per_kwh,
            0,
            0,
        )
        self._as_grid(self.market.oracle.functions.setBenchmark(from_period, prices))

    def fund(self, nodes: Sequence[Node]) -> None:
        """Issue tokens against what everybody paid in, and deposit them."""
        token, vault = self.market.token.functions, self.market.vault
        deposits = {node.id: deposit_uyuan(node.capacities_wh) for node in nodes}
        total = GRID_DEPOSIT_UYUAN + sum(deposits.values())
        self._as_grid(token.recharge(self.people.grid.address, total, "demo"))
        self._as_grid(token.approve(vault.address, total))
        self._as_grid(vault.functions.deposit(0, GRID_DEPOSIT_UYUAN))
        for node_id, amount in deposits.items():
            self._as_grid(vault.functions.deposit(node_id, amount))

    def worth(self, node: int) -> int:
        """Return free plus locked plus claims less debt of a node, micro-yuan."""
        read, vault = self.market.chain.read, self.market.vault.functions
        free, locked, _ = read(vault.accountOf(node))
        return int(free + locked + read(vault.claimsOf(node)) - read(vault.debtOf(node)))

    def warp(self, instant_s: int) -> None:
        """Turn the chain's time to an instant and mine a block there."""
        rpc(self.url, "evm_setNextBlockTimestamp", [instant_s])
        rpc(self.url, "evm_mine")

    def until(self, what: str, happened: Callable[[], bool], alive: Callable[[], None]) -> None:
        """Wait for the committee.

        Args:
            what: What is awaited, for the message.
            happened: Whether it is there.
            alive: Raises if nobody is left to do it.

        Raises:
            DemoError: If it does not come in time.
        """
        give_up = time.monotonic() + PATIENCE_S
        while not happened():
            alive()
            if time.monotonic() > give_up:
                raise DemoError(
                    f"{what} did not happen within {PATIENCE_S:.0f} s; the logs of the oracle "
                    "processes say why, they lie in the output folder under committee/"
                )
            time.sleep(POLL_S)

    def _as_grid(self, call: ContractFunction) -> None:
        """Send as the grid company; asking for gas and nonce would take longer than sending."""
        self.market.chain.send(self.people.grid, call, gas=TX_GAS_LIMIT, nonce=self._grid_nonce)
        self._grid_nonce += 1
