"""What the chain has told about periods: positions, reports, settlements, from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from eth_utils.crypto import keccak

from market.clear_calls import ClearJob
from market.deployment import Market
from market.orders import Book, Placed, Withdrawn, read_book
from market.packing import (
    EMPTY_ROOT,
    TRANSFER_BYTES,
    PackingError,
    decode_positions,
    decode_readings,
    fold_root,
    root_of,
    split_records,
)
from market.prices import PeriodPrices
from market.types import MeterReading, Position

MOST_PROPOSED = 96
"""Most periods that one proposal of headrooms covers."""


class HistoryError(Exception):
    """The chain's events do not add up to its roots; the endpoint withholds or invents logs."""


@dataclass(frozen=True, slots=True)
class PeriodState:
    """Where a period stands, as `Master.periodOf` tells.

    Attributes:
        stage: 0 open, 1 checked, 2 cleared, 3 void, 4 settled, 5 final.
        buckets: Number of buckets, once a clearing was checked.
        version: Report version it was last settled on.
        flagged: Whether that settlement met unread meters.
    """

    stage: int
    buckets: int
    version: int
    flagged: bool

    @property
    def open(self) -> bool:
        """Whether a clearing is still to be checked."""
        return self.stage == 0

    @property
    def checked(self) -> bool:
        """Whether the committee is to vote on a clearing."""
        return self.stage == 1

    @property
    def void(self) -> bool:
        """Whether no clearing stood in time, and nothing is settled yet."""
        return self.stage == 3

    @property
    def cleared(self) -> bool:
        """Whether the positions are fixed."""
        return self.stage >= 2

    @property
    def settled(self) -> bool:
        """Whether money has moved."""
        return self.stage >= 4

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self.stage == 5


@dataclass(frozen=True, slots=True)
class Moved:
    """What the vault moved for a node, unpacked from its event's bytes.

    Attributes:
        node: The node.
        net_uyuan: Its net, micro-yuan.
        release_uyuan: The lock that was released, micro-yuan.
    """

    node: int
    net_uyuan: int
    release_uyuan: int

    @classmethod
    def unpack(cls, record: bytes) -> Moved:
        """Read a `Transfer` record: node 4, flags 1, release 8, net 9 signed."""
        node, release = int.from_bytes(record[:4], "big"), int.from_bytes(record[5:13], "big")
        return cls(node, int.from_bytes(record[13:22], "big", signed=True), release)


Job = tuple[Any, ...]
"""A settlement under way, as the contract's `Job` struct."""


class Past(Protocol):
    """What a keeper must know of a period, from the chain or from whoever has followed it."""

    def state(self, period: int) -> PeriodState:
        """Return where a period stands."""
        ...

    def latest_version(self, period: int) -> int:
        """Return the latest accepted report version of a period, 0 for none."""
        ...

    def position_buckets(self, period: int) -> list[bytes]:
        """Return the packed positions of a cleared period, one entry per bucket."""
        ...

    def report_buckets(self, period: int, version: int) -> list[bytes]:
        """Return the packed readings of an accepted report version; none for version 0."""
        ...

    def job(self, period: int) -> Job | None:
        """Return the settlement under way, None if there is none."""
        ...


class History:
    """Reads a market's past, checking every byte against the roots the contracts keep."""

    def __init__(self, market: Market) -> None:
        """Read from a market."""
        self._market = market

    def state(self, period: int) -> PeriodState:
        """Return where a period stands."""
        return PeriodState(*self._market.chain.read(self._market.master.functions.periodOf(period)))

    def prices(self, period: int) -> PeriodPrices:
        """Return the final prices of a period.

        Raises:
            Reverted: With `PricesNotFixed` while they could still change.
        """
        raw = self._market.chain.read(self._market.oracle.functions.pricesOf(period))
        return to_prices(raw)

    def position_buckets(self, period: int) -> list[bytes]:
        """Return the packed positions of a cleared period, one entry per bucket.

        Raises:
            HistoryError: If the events do not add up to the root on chain.
        """
        fixed = [e["args"] for e in self._events(self._market.master, "PositionsFixed", period)]
        found = {(a["bucket"], bytes(a["root"])): bytes(a["positions"]) for a in fixed}
        root = bytes(self._market.chain.read(self._market.master.functions.positionsRoot(period)))
        buckets = buckets_of_root(found, self.state(period).buckets, root)
        if buckets is None:
            raise HistoryError(
                f"the positions of period {period} do not match their root; try another endpoint"
            )
        return buckets

    def book(self, period: int) -> Book:
        """Return the orders of a period, cancelled ones marked.

        Raises:
            HistoryError: If the events do not add up to the hashes on chain.
        """
        functions = self._market.book.functions
        placed = [
            Placed(e["args"]["bucket"], e["args"]["batch"], bytes(e["args"]["records"]))
            for e in self._events(self._market.book, "OrdersPlaced", period)
        ]
        withdrawn = [
            Withdrawn(e["args"]["node"], e["args"]["batch"], e["args"]["firstSeq"])
            for e in self._events(self._market.book, "Cancelled", period)
        ]
        try:
            book = read_book(placed, withdrawn)
        except PackingError as exc:
            raise HistoryError(f"the orders of period {period}: {exc}") from exc
        told = (len(book.records), len(book.cancelled))
        if told != tuple(self._market.chain.read(functions.ordersOf(period))) or any(
            chain != tuple(self._market.chain.read(functions.chainOf(period, bucket)))
            for bucket, chain in book.chains().items()
        ):
            raise HistoryError(
                f"the orders of period {period} do not match their hashes; try another endpoint"
            )
        return book

    def headroom(self, period: int) -> bytes:
        """Return the headroom fixed for a period, empty if there is none.

        Raises:
            HistoryError: If no event carries it.
        """
        oracle = self._market.oracle
        fixed = bytes(self._market.chain.read(oracle.functions.headroomOf(period)))
        if not any(fixed):
            return b""
        reach = range(max(0, period - MOST_PROPOSED + 1), period + 1)
        for event in self._market.chain.events(
            oracle,
            "HeadroomProposed",
            from_block=self._market.deployment.deployment_block,
            fromPeriod=list(reach),
        ):
            headrooms = event["args"]["headrooms"]
            at = period - event["args"]["fromPeriod"]
            if at < len(headrooms) and keccak(headrooms[at])[: len(fixed)] == fixed:
                return bytes(headrooms[at])
        raise HistoryError(
            f"no proposal carries the headroom of period {period}; try another endpoint"
        )

    def clear_jobs(self, period: int, attempt: int, claim: bytes) -> list[ClearJob]:
        """Return what checks of a claim have come to in an attempt."""
        return [
            _clear_job(event["args"]["job"])
            for event in self._events(self._market.master, "ClearingContinued", period)
            if event["args"]["attempt"] == attempt and bytes(event["args"]["claim"]) == claim
        ]

    def report_buckets(self, period: int, version: int) -> list[bytes]:
        """Return the packed readings of an accepted report version; none for version 0.

        Raises:
            HistoryError: If no event carries the accepted root.
        """
        if version == 0:
            return []
        root = bytes(
            self._market.chain.read(self._market.oracle.functions.reportRoot(period, version))
        )
        for event in self._events(self._market.oracle, "ReportProposed", period):
            buckets = [bytes(bucket) for bucket in event["args"]["buckets"]]
            if event["args"]["version"] == version and root_of(buckets) == root:
                return buckets
        raise HistoryError(
            f"no proposal carries report {version} of period {period}; try another endpoint"
        )

    def latest_version(self, period: int) -> int:
        """Return the latest accepted report version of a period, 0 for none."""
        version, _ = self._market.chain.read(self._market.oracle.functions.latestReport(period))
        return int(version)

    def job(self, period: int) -> Job | None:
        """Return the settlement under way, None if there is none.

        Raises:
            HistoryError: If the chain has one but no event tells it.
        """
        if not any(self._market.chain.read(self._market.master.functions.jobHash(period))):
            return None
        events = self._events(self._market.master, "Continued", period)
        if not events:
            raise HistoryError(
                f"the settlement of period {period} is under way, but no event carries it; "
                "wait for the endpoint to catch up, or try another one"
            )
        return plain(events[-1]["args"]["job"])

    def positions(self, period: int) -> list[Position]:
        """Return all positions of a cleared period."""
        buckets = self.position_buckets(period)
        return [p for b, data in enumerate(buckets) for p in decode_positions(data, b)]

    def readings(self, period: int, version: int) -> list[MeterReading]:
        """Return all readings of an accepted report version."""
        buckets = self.report_buckets(period, version)
        return [r for b, data in enumerate(buckets) for r in decode_readings(data, b)]

    def void(self, period: int) -> bool:
        """Return whether a cleared period's clearing came too late, so that no plan counts."""
        return any(e["args"]["void"] for e in self._events(self._market.master, "Cleared", period))

    def ended(self, period: int) -> bool:
        """Return whether a period was last settled in final mode, unread meters as exporting 0."""
        settled = self._events(self._market.master, "PeriodSettled", period)
        return bool(settled) and bool(settled[-1]["args"]["finalMode"])

    def moved(self, period: int) -> list[Moved]:
        """Return what the vault has moved for a period, version after version."""
        events = self._events(self._market.vault, "Settled", period)
        return [
            Moved.unpack(record)
            for event in events
            for record in split_records(event["args"]["transfers"], TRANSFER_BYTES)
        ]

    def _events(self, contract: Any, name: str, period: int) -> list[Any]:  # noqa: ANN401
        first = self._market.deployment.deployment_block
        return self._market.chain.events(contract, name, from_block=first, period=period)


def buckets_of_root(
    found: Mapping[tuple[int, bytes], bytes], buckets: int, root: bytes
) -> list[bytes] | None:
    """Choose, of all positions that checks told, those that lead to a root.

    Args:
        found: Positions of a bucket by its number and the root of all buckets up to it.
        buckets: Number of buckets.
        root: The root of all.

    Returns:
        One entry per bucket; None if some are missing.
    """
    paths: dict[bytes, list[bytes]] = {EMPTY_ROOT: []}
    for bucket in range(buckets):
        told = [(after, data) for (number, after), data in found.items() if number == bucket]
        paths = {
            after: [*path, data]
            for after, data in told
            for before, path in paths.items()
            if fold_root(before, data) == after
        }
    return paths.get(root)


def _clear_job(struct: Any) -> ClearJob:  # noqa: ANN401
    buckets, bucket, root, state = plain(struct)
    return buckets, bucket, bytes(root), bytes(state)


def plain(struct: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Turn a decoded struct into the tuple that encodes it."""
    values = struct.values() if hasattr(struct, "values") else struct
    return tuple(plain(v) if hasattr(v, "values") or isinstance(v, tuple) else v for v in values)


def to_prices(raw: tuple[int, ...]) -> PeriodPrices:
    """Turn the contract's `Prices` struct into prices."""
    feed_in, selling, planned, compensation, retail, fee, clamp_flags, _source = raw
    return PeriodPrices(
        feed_in_uyuan_per_kwh=feed_in,
        selling_uyuan_per_kwh=selling,
        planned_uyuan_per_kwh=planned,
        compensation_uyuan_per_kwh=compensation,
        retail_uyuan_per_kwh=retail,
        fee_uyuan_per_kwh=fee,
        clamp_flags=clamp_flags,
    )
