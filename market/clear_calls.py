"""The calls that clear a period: the claim with the pages of its book, cut to fit transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from web3.contract.contract import ContractFunction

from market.auction import Auction
from market.chain import Reverted
from market.clearing import OrdersError, PairClearing
from market.clearing.claims import encode_claim
from market.clearing.pair_calls import Progress, next_call, progress_of
from market.clearing.pair_claims import PairClaim, pair_claim
from market.deployment import Market
from market.lines import Lines
from market.orders import Book
from market.packing import decode_positions
from market.prices import Limits, PeriodPrices

CLEAR_BUCKETS = 16
"""Buckets one clearing transaction tries to handle; it halves what does not fit."""

MOST_BYTES = 100_000
"""Orders and feed in one transaction: nodes pass on 128 kB, and there is more in one."""

MOST_GAS = 12_000_000
"""Gas of a call of `pairwise`, as its calls are planned; the rest of 2^24 is for the master."""

ClearJob = tuple[int, int, bytes, bytes]
"""A check under way, as the contract's `ClearJob`: buckets, bucket, root, state."""

FRESH: ClearJob = (0, 0, bytes(32), b"")
"""The job that begins a check."""


class OrdersPast(Protocol):
    """What must be known of a period to clear it."""

    def book(self, period: int) -> Book:
        """Return the orders of a period."""
        ...

    def prices(self, period: int) -> PeriodPrices:
        """Return the final prices of a period."""
        ...

    def headroom(self, period: int) -> bytes:
        """Return the headroom fixed for a period, empty if there is none."""
        ...

    def clear_jobs(self, period: int, attempt: int, claim: bytes) -> list[ClearJob]:
        """Return what checks of a claim have come to."""
        ...


@dataclass(frozen=True)
class Proof:
    """A period's valid clearing, as the contract is told of it.

    Attributes:
        attempt: Clearings of the period that were reopened before.
        claim: The clearing; empty if nothing of the book can trade.
        headroom: The headroom fixed for the period; empty if there is none, or nothing can trade.
        pages: The orders of every bucket.
        pairs: The feed, if the rule is `pairwise` and something can trade.
    """

    attempt: int
    claim: bytes
    headroom: bytes
    pages: list[bytes]
    pairs: PairClaim | None = None


def read_auction(market: Market, past: OrdersPast, period: int, book: Book) -> Auction | None:
    """Put together what a period's clearing depends on, from the chain.

    Args:
        market: The market.
        past: What is known of the period.
        period: The period; its gate has closed.
        book: Its orders.

    Returns:
        The auction; None if no order is live, or the prices leave no band.
    """
    read = market.chain.read
    if not book.live:
        return None
    headroom = past.headroom(period)
    lines = Lines.unpack(bytes(read(market.grid.functions.linesOf(period, headroom))))
    try:
        return Auction.of(
            market.rule,
            book.orders(),
            past.prices(period),
            lines.feeder(),
            limits=Limits(*read(market.oracle.functions.limits())),
            agreed_wh=_agreed_wh(market, period),
        )
    except OrdersError:
        return None


def prove(market: Market, past: OrdersPast, period: int) -> Proof:
    """Compute a period's clearing and how the contract is told of it.

    Args:
        market: The market.
        past: What is known of the period.
        period: The period; its gate has closed.
    """
    attempt = market.chain.read(market.master.functions.clearingOf(period))[0]
    book = past.book(period)
    pages = book.pages(_bucket_count(market))
    late = market.chain.now() >= market.schedule.last_call(period)
    auction = None if late else read_auction(market, past, period, book)
    if auction is None:
        return Proof(attempt, b"", b"", pages)
    clearing, headroom = auction.clear(), past.headroom(period)
    if isinstance(clearing, PairClearing):
        pairs = pair_claim(pages, auction.orders, clearing, auction.feeder)
        return Proof(attempt, pairs.claim, headroom, pages, pairs)
    return Proof(attempt, encode_claim(clearing.zones), headroom, pages)


def clear_call(
    market: Market, past: OrdersPast, period: int, buckets: int = CLEAR_BUCKETS
) -> ContractFunction:
    """Return the call that clears a period, or goes on where a check of its clearing stopped.

    Args:
        market: The market.
        past: What is known of the period; if it lags the chain, the call does nothing or reverts.
        period: The period; its gate has closed.
        buckets: Most buckets the call handles.
    """
    proof = prove(market, past, period)
    jobs = past.clear_jobs(period, proof.attempt, proof.claim)
    part = _pool_part if proof.pairs is None else _pair_part
    job, pages, feed = part(proof, jobs, buckets)
    return market.master.functions.clear(period, proof.claim, proof.headroom, feed, job, pages)


def fitting_clear_call(
    market: Market, past: OrdersPast, period: int, buckets: int = CLEAR_BUCKETS
) -> tuple[ContractFunction, int]:
    """Return the next step of a clearing, as large as fits a transaction, with its gas limit.

    Args:
        market: The market.
        past: What is known of the period.
        period: The period; its gate has closed.
        buckets: Most buckets.

    Raises:
        Reverted: If the period cannot be cleared yet, or one bucket does not fit.
    """
    while True:
        call = clear_call(market, past, period, buckets)
        gas = market.chain.estimate(call)
        if gas is not None:
            return call, gas
        if buckets == 1:
            raise Reverted("clear", "OutOfGas", (f"one bucket of period {period}",))
        buckets //= 2


_Part = tuple[ClearJob, list[bytes], bytes]
"""What a call goes on from, with which pages, and which feed."""


def _pool_part(proof: Proof, jobs: list[ClearJob], buckets: int) -> _Part:
    job = max(jobs, key=lambda j: j[1], default=FRESH)
    # Members admitted since the check began are not part of it.
    pages = proof.pages[job[1] : job[0] or None][:buckets]
    while len(pages) > 1 and sum(map(len, pages)) > MOST_BYTES:
        pages = pages[: len(pages) // 2]
    return job, pages, b""


def _pair_part(proof: Proof, jobs: list[ClearJob], buckets: int) -> _Part:
    assert proof.pairs is not None
    # Whoever feeds a check what the claim does not hold has come to a job that never ends.
    known = [(progress_of(proof.pairs, job[1], job[3]), job) for job in jobs]
    sound = [(done, job) for done, job in known if done is not None]
    done, job = max(sound, key=lambda k: (sum(k[0]), k[0]), default=(Progress(), FRESH))
    share = MOST_GAS * min(buckets, CLEAR_BUCKETS) // CLEAR_BUCKETS
    call, _ = next_call(proof.pairs, proof.pages, done, MOST_BYTES, share)
    pages = proof.pages[call.first_page : call.first_page + call.pages]
    return job, pages, call.feed


def _bucket_count(market: Market) -> int:
    return int(market.chain.read(market.registry.functions.nodeCount()) >> 8) + 1


def _agreed_wh(market: Market, period: int) -> dict[int, int]:
    """Sum what agreements sell less what they buy by bus, Wh."""
    net: dict[int, int] = {}
    for bucket in range(_bucket_count(market)):
        answer: Any = market.chain.read(market.book.functions.agreedOf(period, bucket))
        positions, buses = (bytes(part) for part in answer)
        for i, position in enumerate(decode_positions(positions, bucket)):
            bus = int.from_bytes(buses[2 * i : 2 * i + 2], "big")
            net[bus] = net.get(bus, 0) + position.sold_wh - position.bought_wh
    return net
