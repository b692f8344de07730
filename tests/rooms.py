"""A real `Master`, its slaves and a real `Vault` among mock rooms, on a bare chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_typing import HexStr
from eth_utils.abi import collapse_if_tuple
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.types import Nonce, StateOverride
from web3.utils import get_create_address

from market.contracts import artifact
from market.devnet import Anvil
from market.keeper import ALL_NODES
from market.packing import (
    POSITION_BYTES,
    READING_BYTES,
    TRANSFER_BYTES,
    bucket_of,
    pack_positions,
    pack_readings,
    root_of,
    split_records,
)
from market.prices import PeriodPrices
from market.schedule import Schedule
from market.settlement import Transfer
from market.types import MeterReading, Position
from tests.bare_chain import Chain, code_of, method_of, runtime_of, with_arguments

SCHEDULE = Schedule(
    epoch_s=1_800_000_000,
    length_s=10_000,
    price_horizon_s=3_000,
    price_lead_s=2_000,
    gate_lead_s=1_000,
    round_length_s=100,
    settle_deadline_s=5_000,
    window_s=100_000,
)
PERIOD = 2

_JOB_WORDS = 42
_BUCKETS = "(bytes32[],bytes32[],bytes32[])", "(bytes,bytes,bytes)[]"


@dataclass(frozen=True)
class Balance:
    """What the vault says of a node, micro-yuan."""

    free_uyuan: int
    locked_uyuan: int
    in_debt: bool
    debt_uyuan: int
    claims_uyuan: int
    held_uyuan: int


@dataclass(frozen=True)
class Moved:
    """A record of the vault's `Settled`: a transfer, and whether money was held before."""

    transfer: Transfer
    was_held: bool


@dataclass(frozen=True)
class Settled:
    """`PeriodSettled`: version, whether it is final, and the lines in the contract's order."""

    version: int
    final: bool
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Shares:
    """A slave's event: its name, and node, whether it supplied, and Wh of every share."""

    leg: str
    version: int
    shares: tuple[tuple[int, bool, int], ...]


@dataclass(frozen=True)
class Continued:
    """The job of a settlement that paused, as it goes back into the next call."""

    job: bytes

    @property
    def at(self) -> tuple[int, int, int]:
        """Pass, next bucket, and nodes of it that are done."""
        settling, bucket, row = (
            int.from_bytes(self.job[at : at + 32], "big") for at in (32, 64, 96)
        )
        return settling, bucket, row


Event = Settled | Shares | Continued | tuple[Moved, ...]


class Rooms(Chain):
    """The contracts and their chain."""

    def __init__(self, url: str) -> None:
        """Deploy everything on a fresh chain."""
        super().__init__(url)
        # The slaves and the vault need the master's address, and the master theirs.
        master_at = get_create_address(to_checksum_address(self.sender), Nonce(5)).lower()
        self.mocks = self.deploy(code_of("MockRooms"))
        self._one = self.deploy(with_arguments("Subordinate_one", [master_at]))
        self._two = self.deploy(with_arguments("Subordinate_two", [master_at]))
        # The mocks are the vault's token, registry and book.
        rooms = [self.mocks] * 3
        self.vault = self.deploy(with_arguments("Vault", [*rooms, master_at]))
        s = SCHEDULE
        times = (
            *(s.epoch_s, s.length_s, s.price_horizon_s, s.price_lead_s, s.gate_lead_s),
            *(s.round_length_s, s.settle_deadline_s, s.window_s),
        )
        rule = self.deploy(artifact("Uniform").bytecode)
        # No order is in the book, so nobody asks for the wires.
        addresses = (*rooms, self.vault, self._one, self._two, self.mocks, rule)
        self.master = self.deploy(
            with_arguments("Master", [times, addresses], mock="TinyStepMaster")
        )
        assert self.master == master_at
        self.keep()

    def warp(self, instant_s: int) -> None:
        """Set the time of the next block."""
        self.rpc("evm_setNextBlockTimestamp", instant_s)

    def arrange(
        self,
        prices: PeriodPrices,
        positions: Sequence[Position],
        holders: Sequence[tuple[int, int, int]],
    ) -> None:
        """Set the period up: prices, positions, and (node, free, locked) funds."""
        p = prices
        raw = (
            *(p.feed_in_uyuan_per_kwh, p.selling_uyuan_per_kwh, p.planned_uyuan_per_kwh),
            *(p.compensation_uyuan_per_kwh, p.retail_uyuan_per_kwh, p.fee_uyuan_per_kwh, 0, 1),
        )
        buckets = pack_positions(positions)
        self._mock("arrange", self.vault, raw, buckets, holders)

    def admit(self, node_count: int) -> None:
        """Set the highest node id, before anything is cleared."""
        self._mock("admit", node_count)
        self._clear_job = (bucket_of(node_count) + 1, 0, bytes(32), b"")

    def report(self, readings: Sequence[MeterReading]) -> None:
        """Accept the next report."""
        self._mock("report", root_of(pack_readings(readings)))

    def fund(self, node: int, amount_uyuan: int) -> None:
        """Deposit for a node."""
        self._mock("fund", self.vault, node, amount_uyuan)

    def collect(self, nodes: Sequence[int]) -> None:
        """Collect the funded claims of nodes."""
        self._mock("collect", self.vault, nodes)

    def look(self, nodes: Sequence[int]) -> tuple[list[Balance], tuple[int, ...]]:
        """Return the balances of nodes, and claims that arose, were funded and were collected."""
        selector, inputs, outputs = method_of("MockRooms", "look")
        data = selector + encode(inputs, [self.vault, PERIOD, nodes])
        raw = decode(outputs, self.call(self.mocks, data))
        return [Balance(*balance) for balance in raw[0]], tuple(raw[1:])

    def clear(self, buckets: int) -> None:
        """Fix the positions of some buckets, going on where the last call stopped."""
        selector, inputs, _ = method_of("Master", "clear")
        total, first, *_ = self._clear_job
        pages = [b""] * min(buckets, total - first)
        data = selector + encode(inputs, [PERIOD, b"", b"", b"", self._clear_job, pages])
        for log in self.send(self.master, data)["logs"]:
            if log["topics"][0] == _CLEARING_CONTINUED:
                self._clear_job = decode(_CLEARING, bytes.fromhex(log["data"][2:]))[1]

    def period(self) -> tuple[int, int, int, bool]:
        """Return the period's stage, buckets, version and whether it is flagged."""
        selector, inputs, outputs = method_of("Master", "periodOf")
        stage, buckets, version, flagged = decode(
            outputs, self.call(self.master, selector + encode(inputs, [PERIOD]))
        )
        return stage, buckets, version, flagged

    def fresh_job(self) -> bytes:
        """Return the job that begins a settlement."""
        return PERIOD.to_bytes(32, "big") + bytes(32 * (_JOB_WORDS - 1))

    def settle(
        self, job: bytes, buckets: Buckets, first: int, count: int, most: int = ALL_NODES
    ) -> list[Event]:
        """Settle a chunk of buckets, or some nodes of one; nothing happened without an event."""
        words = [job[at : at + 32] for at in range(0, len(job), 32)]
        arguments = [words, buckets.hashes(), buckets.chunk(first, count), most]
        selector = method_of("Master", "settle")[0]
        data = selector + encode([f"bytes32[{_JOB_WORDS}]", *_BUCKETS, "uint32"], arguments)
        return [_event(log) for log in self.send(self.master, data)["logs"] if _is_told(log)]

    def _mock(self, name: str, *arguments: object) -> None:
        selector, inputs, _ = method_of("MockRooms", name)
        self.send(self.mocks, selector + encode(inputs, arguments))


@dataclass(frozen=True)
class Buckets:
    """The packed bytes a settlement needs, bucket by bucket."""

    positions: list[bytes]
    was: list[bytes]
    now: list[bytes]

    @property
    def count(self) -> int:
        """Buckets of a pass."""
        return max(map(len, (self.positions, self.was, self.now)))

    def nodes(self, bucket: int) -> int:
        """Return how many nodes a bucket has."""
        sizes = POSITION_BYTES, READING_BYTES, READING_BYTES
        sides = zip((self.positions, self.was, self.now), sizes, strict=True)
        indices = (side[bucket][::size] for side, size in sides if bucket < len(side))
        return len(set().union(*indices))

    def hashes(self) -> tuple[list[bytes], ...]:
        """Return the contract's `Hashes`."""
        return tuple([keccak(b) for b in side] for side in (self.positions, self.was, self.now))

    def chunk(self, first: int, count: int) -> list[tuple[bytes, ...]]:
        """Return the contract's `Bucket`s from one on."""
        sides = (self.positions, self.was, self.now)
        return [
            tuple(side[b] if b < len(side) else b"" for side in sides)
            for b in range(first, min(first + count, self.count))
        ]


def balances_at(
    w3: Web3, vault: str, nodes: Sequence[int]
) -> tuple[list[Balance], tuple[int, ...]]:
    """Return what any vault says of nodes, and claims that arose, were funded and collected."""
    selector, inputs, outputs = method_of("MockRooms", "look")
    reader = to_checksum_address(keccak(b"reader")[12:])
    data = selector + encode(inputs, [vault, 0, nodes])
    code: StateOverride = {reader: {"code": HexStr(runtime_of("MockRooms"))}}
    raw = decode(outputs, w3.eth.call({"to": reader, "data": HexBytes(data)}, state_override=code))
    return [Balance(*balance) for balance in raw[0]], tuple(raw[1:])


@contextmanager
def new_rooms() -> Iterator[Rooms]:
    """Start a chain with the contracts on it, and stop it in the end."""
    with Anvil(genesis_timestamp=SCHEDULE.epoch_s) as anvil:
        yield Rooms(anvil.url)


def pack_transfers(moves: Iterable[Moved]) -> bytes:
    """Return the records the master hands the vault for transfers."""
    return b"".join(
        moved.transfer.node.to_bytes(4, "big")
        + (moved.transfer.flagged | moved.was_held << 1).to_bytes(1, "big")
        + moved.transfer.release_uyuan.to_bytes(8, "big")
        + moved.transfer.net_uyuan.to_bytes(9, "big", signed=True)
        for moved in moves
    )


def unpack_transfers(records: bytes) -> tuple[Moved, ...]:
    """Read the records of the vault's `Settled`."""
    moves = tuple(
        Moved(
            Transfer(
                node=int.from_bytes(record[:4], "big"),
                net_uyuan=int.from_bytes(record[13:], "big", signed=True),
                release_uyuan=int.from_bytes(record[5:13], "big"),
                flagged=bool(record[4] & 1),
            ),
            was_held=bool(record[4] & 2),
        )
        for record in split_records(records, TRANSFER_BYTES)
    )
    assert pack_transfers(moves) == records
    return moves


def _topic(contract: str, event: str) -> str:
    entry = next(e for e in artifact(contract).abi if e.get("name") == event)
    types = ",".join(collapse_if_tuple(i) for i in entry["inputs"])
    return f"0x{keccak(text=f'{event}({types})').hex()}"


_SETTLED = _topic("Vault", "Settled")
_PERIOD_SETTLED = _topic("Master", "PeriodSettled")
_CONTINUED = _topic("Master", "Continued")
_CLEARING_CONTINUED = _topic("Master", "ClearingContinued")
_CLEARING = ["bytes", "(uint32,uint32,bytes32,bytes)"]
_LEGS = {
    _topic("Subordinate_one", "Compensated"): "compensation",
    _topic("Subordinate_two", "Sold"): "selling",
    _topic("Subordinate_two", "Balanced"): "balance",
}


def _is_told(log: dict[str, Any]) -> bool:
    return log["topics"][0] in (_SETTLED, _PERIOD_SETTLED, _CONTINUED, *_LEGS)


def _event(log: dict[str, Any]) -> Event:
    topic, data = log["topics"][0], bytes.fromhex(log["data"][2:])
    if topic == _CONTINUED:
        return Continued(data)
    if topic == _SETTLED:
        return unpack_transfers(decode(["bytes"], data)[0])
    version = int(log["topics"][2], 16)
    if topic == _PERIOD_SETTLED:
        final, *lines = decode(["bool", *["uint256"] * 8, "int256"], data)
        return Settled(version, final, tuple(lines))
    (records,) = decode(["bytes"], data)
    shares = tuple(
        (
            int.from_bytes(records[at : at + 4], "big"),
            bool(records[at + 4]),
            int.from_bytes(records[at + 5 : at + 11], "big"),
        )
        for at in range(0, len(records), 11)
    )
    return Shares(_LEGS[topic], version, shares)
