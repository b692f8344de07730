"""A chain on paper: the logs of as many ordinary periods as asked for, made when they are read.

As a program it lives a node's follower through a year and says what that takes:
`python -m tests.paper --periods 35040 --folder /tmp/year`.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from market.deployment import Market
from market.messages import Topic
from market.packing import pack_positions, pack_readings, root_of
from market.types import MeterReading, Options, Position, Quality
from oracle.alarms import QuorumWatch
from oracle.config import ReportConfig
from oracle.follower import CONTRACTS, Follower, _kinds
from oracle.journal import Journal
from oracle.node import Node
from oracle.rounds import MeterRounds
from oracle.tolerance import EXACT
from tests.world import default_schedule

BLOCKS_PER_PERIOD = 10
SEATS = 4
PRICES = (100_000, 329_700, 437_900, 535_900, 800_000, 0, 0, 1)
CHUNK_BLOCKS = 2_000

SCHEDULE = default_schedule()


class PaperChain:
    """Answers what a follower asks about a chain on which every period went as it should."""

    def __init__(self, nodes: int) -> None:
        """Have so many members."""
        self.url, self.chain_id, self.head = "paper", 1, 0
        self._topics = {kind.name: (topic, kind) for topic, kind in _kinds().items()}
        self._nodes = nodes

    def raw(self, method: str, *params: Any) -> Any:  # noqa: ANN401
        """Answer one of the two questions a follower has."""
        if method == "eth_getBlockByNumber":
            tag = params[0]
            return self._header(self.head if tag == "latest" else int(tag, 16))
        (query,) = params
        if "blockHash" in query:
            first = last = int(query["blockHash"][2:], 16) - 1
        else:
            first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        return [log for number in range(first, last + 1) for log in self._logs(number)]

    def _header(self, number: int) -> dict[str, str] | None:
        if number > self.head:
            return None
        return {
            "number": hex(number),
            "hash": _hash(number),
            "parentHash": _hash(number - 1),
            "timestamp": hex(_at(number)),
            "gasLimit": hex(30_000_000),
        }

    def _logs(self, number: int) -> Iterator[dict[str, Any]]:
        told = list(self._beginning() if number == 0 else self._told(number))
        for position, (name, args) in enumerate(told):
            topic, kind = self._topics[name]
            topics = [topic, *(encode([type_], [args[n]]) for n, type_ in kind.indexed)]
            values = [args[n] for n, _ in kind.plain]
            yield {
                "blockNumber": hex(number),
                "blockHash": _hash(number),
                "blockTimestamp": hex(_at(number)),
                "logIndex": hex(position),
                "topics": ["0x" + t.hex() for t in topics],
                "data": "0x" + encode([type_ for _, type_ in kind.plain], values).hex(),
            }

    def _beginning(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for seat in range(SEATS):
            signer = "0x" + bytes([seat + 1] * 20).hex()
            yield "SeatRotated", {"seat": seat, "signer": signer, "fromPeriod": 0}
        yield "BenchmarkSet", {"fromPeriod": 0, "prices": PRICES}
        for node in range(1, self._nodes + 1):
            rest = {"bus": 0, "role": 3, "importCapacityWh": 9_999, "exportCapacityWh": 9_999}
            account = "0x" + node.to_bytes(20, "big").hex()
            meter = keccak(text=f"meter {node}")
            yield "Admitted", {"node": node, "account": account, "meter": meter, **rest}

    def _told(self, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Tell of a block: one step in the life of the period that has just closed."""
        period, step = divmod(number - 1, BLOCKS_PER_PERIOD)
        readings = self._readings(period)
        root = root_of(readings)
        ballot = {"topic": Topic.REPORT, "period": period, "version": 1, "round": 0}
        match step:
            case 0:
                yield "PricesFixed", {"period": period, "prices": PRICES}
            case 1:
                positions = pack_positions(
                    Position(node, Options.NONE, 100, 0, 43_790, 0, 0)
                    for node in range(1, self._nodes + 1)
                )
                for bucket, data in enumerate(positions):
                    so_far = {"bucket": bucket, "root": root_of(positions[: bucket + 1])}
                    yield "PositionsFixed", {"period": period, **so_far, "positions": data}
                whole = {"buckets": len(positions), "root": root_of(positions)}
                yield "Cleared", {"period": period, **whole, "void": False}
            case 2:
                about = {"proposer": period % SEATS, "root": root, "buckets": readings}
                yield "ReportProposed", {**ballot, **about}
            case 3 | 4 | 5:
                yield "Voted", {**ballot, "seat": step - 3, "support": True}
                if step == 5:
                    yield "Accepted", {**ballot, "digest": root}
            case 6:
                settled = {"version": 1, "finalMode": False, "lines": (0,) * 9}
                yield "PeriodSettled", {"period": period, **settled}

    def _readings(self, period: int) -> list[bytes]:
        return pack_readings(
            MeterReading(node, Quality.MEASURED, (period + node) % 1_000, 17 * node % 500)
            for node in range(1, self._nodes + 1)
        )


class PaperNode:
    """The part of a node that follows and forgets."""

    def __init__(self, journal: Path, nodes: int = 20) -> None:
        """Take up from a journal."""
        self.chain = PaperChain(nodes)
        deployment = SimpleNamespace(deployment_block=-1, addresses=dict.fromkeys(CONTRACTS, "0x"))
        market = cast(Market, SimpleNamespace(chain=self.chain, deployment=deployment))
        self.journal = Journal(journal)
        self.follower = Follower(market, self.journal, 0, CHUNK_BLOCKS)
        node: Any = Node.__new__(Node)
        node._config = SimpleNamespace(seat=0, report=ReportConfig(), tolerance=EXACT)
        node._signer, node._schedule, node._first_period = "", SCHEDULE, 0
        node._journal, node._follower, node._view = self.journal, self.follower, self.follower.view
        node._floor, node._quorums = self.follower.view.floor, QuorumWatch()
        node._rounds = MeterRounds()
        node._readings = node._prices = node._wires = node._sender = None
        node._terms = lambda: None
        node._witness = SimpleNamespace(contradictions=lambda _since: [])
        self._node = node

    @property
    def known(self) -> int:
        """Number of periods in memory."""
        return len(self.follower.view.periods)

    def live(self, periods: int, on_day: Callable[[int], None] = lambda _day: None) -> None:
        """Live until so many periods are settled."""
        first = (self.chain.head or self.follower.followed) // BLOCKS_PER_PERIOD
        for period in range(first, periods):
            self.chain.head = (period + 1) * BLOCKS_PER_PERIOD
            self._node._head = self.follower.look()
            self._node._follow()
            self._node._situation()
            if period % 96 == 95:
                on_day(period // 96 + 1)


def memory_mb() -> float:
    """Return the memory this process holds just now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _at(number: int) -> int:
    period, step = divmod(number - 1, BLOCKS_PER_PERIOD)
    return SCHEDULE.close(max(0, period)) + step


def _hash(number: int) -> str:
    return "0x" + (number + 1).to_bytes(32, "big").hex()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--periods", type=int, default=35_040)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / "year.sqlite"
    began = time.monotonic()

    def say(day: int) -> None:
        if day in (2, 7, 30) or day % 73 == 0:
            seconds = time.monotonic() - began
            print(f"day {day}: {node.known} periods, {memory_mb():.0f} MB, {seconds:.0f} s")

    node = PaperNode(path, given.nodes)
    node.live(given.periods, say)
    node.journal.close()
    print(f"journal {os.path.getsize(path) / 1e6:.0f} MB")
    before_mb, began = memory_mb(), time.monotonic()
    again = PaperNode(path, given.nodes)
    print(f"restart {time.monotonic() - began:.2f} s, {again.known} periods, +", end="")
    print(f"{memory_mb() - before_mb:.0f} MB")
    began = time.monotonic()
    everything = list(again.journal.events())
    print(f"all {len(everything)} events {time.monotonic() - began:.1f} s, {memory_mb():.0f} MB")


if __name__ == "__main__":
    _main()
