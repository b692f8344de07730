"""A real `Oracle` and `Grid` around a mock master, which puts roots to the vote at will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eth_account.signers.local import LocalAccount
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.types import Nonce, TxReceipt
from web3.utils import get_create_address

from market.lines import Derate, Lines
from market.messages import Domain, Objection, Proposal, Topic
from tests.unit.contracts.support import create
from tests.world import World

TABLE = Lines.unpack(
    b"".join(
        parent.to_bytes(2, "big") + up.to_bytes(4, "big") + down.to_bytes(4, "big")
        for parent, up, down in ((0, 0, 0), (0, 40_000, 41_000), (1, 9_000, 8_000), (1, 700, 600))
    )
)
"""A root, a transformer, and two lines below it."""

ROOT = b"\x07" * 32


@dataclass(frozen=True)
class Voting:
    """The rooms a vote needs.

    Attributes:
        world: Clock and chain.
        seats: The committee.
        oracle: The oracle.
        grid: The grid.
        master: The mock.
    """

    world: World
    seats: Sequence[LocalAccount]
    oracle: Contract
    grid: Contract
    master: Contract

    @classmethod
    def on(
        cls, world: World, table: bytes = TABLE.pack(), seats: Sequence[LocalAccount] = ()
    ) -> Voting:
        """Deploy everything on a world's chain, with its committee or another."""
        seats = seats or world.seats
        read, market = world.chain.read, world.market
        master = create(world, "MockMaster")
        nonce = Nonce(world.chain.nonce(world.stranger.address) + 1)
        oracle = create(
            world,
            "Oracle",
            read(market.oracle.functions.schedule()),
            market.registry.address,
            get_create_address(world.stranger.address, nonce),
            master.address,
            [seat.address for seat in seats],
            read(market.oracle.functions.limits()),
            read(market.oracle.functions.benchmarkOf(1)),
        )
        grid = create(world, "Grid", oracle.address, table)
        assert grid.address == get_create_address(world.stranger.address, nonce)
        return cls(world, seats, oracle, grid, master)

    @property
    def domain(self) -> Domain:
        """Where the seats' signatures are good."""
        return replace(self.world.market.domain, oracle=self.oracle.address)

    def send(self, call: ContractFunction) -> TxReceipt:
        """Relay a call by the stranger."""
        return self.world.chain.send(self.world.stranger, call)

    # -- clearings

    def checked(self, root: bytes = ROOT, period: int | None = None) -> Proposal:
        """Put a root to the vote between a period's gate and start; return it as a proposal."""
        period = self.world.free_period() if period is None else period
        self.world.warp(self.world.market.schedule.gate(period))
        self.send(self.master.functions.check(period, root))
        return Proposal(Topic.CLEARING, period, self.standing(period)[0], 0, root)

    def standing(self, period: int) -> tuple[int, bytes, bool]:
        """Return attempt, root and whether a period's vote is over."""
        attempt, root, decided = self.world.chain.read(self.master.functions.clearingOf(period))
        return attempt, root, decided

    def vote_call(
        self, proposal: Proposal, seats: Sequence[int], *, support: bool = True
    ) -> ContractFunction:
        """Return the counting of some seats' votes."""
        signed = [
            (seat, support, proposal.sign(self.seats[seat], self.domain, support=support))
            for seat in seats
        ]
        return self.oracle.functions.vote(proposal.as_tuple(), signed)

    def object_call(
        self, clearing: Proposal, objections: Sequence[tuple[int, Derate]], headroom: bytes = b""
    ) -> ContractFunction:
        """Return the counting of objections, each a seat and what it names."""
        signed = []
        for seat, (line, up, limit_wh) in objections:
            o = Objection(clearing, line, up, limit_wh)
            signed.append(o.as_tuple(seat, o.sign(self.seats[seat], self.domain)))
        return self.oracle.functions.object(clearing.as_tuple(), signed, headroom)

    def ballot(self, p: Proposal) -> tuple[bytes, int, int, bool]:
        """Return root, seats for and against, and whether it stands."""
        call = self.oracle.functions.ballotOf(int(p.topic), p.period, p.version, p.round)
        digest, yes, no, accepted = self.world.chain.read(call)
        return digest, yes, no, accepted

    # -- headroom

    def opening(self, periods: int = 1) -> int:
        """Wait until headroom for so many periods may be proposed, and return the first."""
        first = self.world.free_period(200)
        self.world.warp(self.world.market.schedule.price_opens(first + periods - 1))
        return first

    def propose_call(self, first: int, headrooms: Sequence[bytes]) -> ContractFunction:
        """Return the proposing of headrooms."""
        return self.oracle.functions.proposeHeadroom(first, list(headrooms))

    def primary(self, first: int) -> int:
        """Return the seat that may propose headroom now."""
        round_ = self.world.market.schedule.price_round(first, self.world.now())
        return (first + round_) % len(self.seats)

    def lines(self, period: int, headroom: bytes = b"") -> Lines:
        """Return what the contract lets the lines carry."""
        packed = self.world.chain.read(self.grid.functions.linesOf(period, headroom))
        return Lines.unpack(bytes(packed))
