"""The rule `Pairwise` on a bare chain; claims, forgeries of them, and calls they are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eth_abi.abi import decode, encode
from hypothesis import strategies as st

from market.clearing.pair_calls import PairCall
from market.clearing.pair_claims import (
    ENTRY_BYTES,
    MERGE,
    PAIR_BYTES,
    PAIRS,
    TRADES,
    PairClaim,
    Room,
    encode_block,
    encode_claim,
    page_blocks,
    pair_claim,
)
from tests.bare_chain import Chain, method_of
from tests.pair_books import ChainBook


class Verifier:
    """The rule on a bare chain."""

    def __init__(self, chain: Chain, address: str) -> None:
        """Ask a deployed rule."""
        self._chain, self._address = chain, address

    def data(
        self,
        book: ChainBook,
        claim: bytes,
        feed: bytes = b"",
        *,
        state: bytes = b"",
        pages: Sequence[tuple[int, bytes, bytes, bytes]] = (),
        last: bool = True,
        terms: tuple[int, ...] | None = None,
    ) -> bytes:
        """Calldata of one call."""
        selector, inputs, _ = method_of("Pairwise", "check")
        asked = book.terms if terms is None else terms
        arguments = [asked, book.lines, claim, feed, state, book.cancelled, list(pages), last]
        return selector + encode(inputs, arguments)

    def check(
        self,
        book: ChainBook,
        claim: bytes,
        feed: bytes = b"",
        *,
        state: bytes = b"",
        pages: Sequence[tuple[int, bytes, bytes, bytes]] = (),
        last: bool = True,
        terms: tuple[int, ...] | None = None,
    ) -> tuple[list[bytes], bytes]:
        """Make one call; return positions and the new state."""
        _, _, outputs = method_of("Pairwise", "check")
        data = self.data(book, claim, feed, state=state, pages=pages, last=last, terms=terms)
        answer = self._chain.call(self._address, data)
        positions, state = decode(outputs, answer)
        return list(positions), state

    def spend(self, data: bytes) -> int:
        """Gas of a transaction that makes one call."""
        return int(self._chain.send(self._address, data)["gasUsed"], 16)

    def run(self, book: ChainBook, claim: bytes, calls: Sequence[PairCall]) -> list[bytes]:
        """Make all calls; return the positions of every bucket."""
        state = b""
        found: list[bytes] = []
        for call in calls:
            pages = book.pages[call.first_page : call.first_page + call.pages]
            positions, state = self.check(
                book, claim, call.feed, state=state, pages=pages, last=call.last
            )
            found += positions
        return found


def claim_of(book: ChainBook, block_items: int = 256) -> PairClaim:
    """The engine's clearing in the contract's words."""
    pages = [page[1] for page in book.pages]
    return pair_claim(pages, book.orders, book.clear(), book.feeder, block_items)


def sealed(
    book: ChainBook,
    claim: PairClaim,
    *,
    trades: Sequence[bytes] | None = None,
    merge: bytes | None = None,
    pairs: bytes | None = None,
    rooms: Sequence[Room] | None = None,
) -> PairClaim:
    """A claim that commits to other content, as a forger would make it."""
    changed = replace(
        claim,
        trades=claim.trades if trades is None else tuple(trades),
        merge=claim.merge if merge is None else (merge,),
        pairs=claim.pairs if pairs is None else (pairs,),
        rooms=claim.rooms if rooms is None else tuple(rooms),
    )
    bound = page_blocks([page[1] for page in book.pages], changed.trades)
    code = encode_claim(bound, changed.merge, changed.pairs, changed.rooms)
    return replace(changed, claim=code, pages=bound)


def items(data: bytes, size: int) -> list[bytes]:
    """Parts of equal size."""
    return [data[i : i + size] for i in range(0, len(data), size)]


def entries(claim: PairClaim) -> list[bytes]:
    """The merge order of a claim."""
    return items(b"".join(claim.merge), ENTRY_BYTES)


def pairs_of(claim: PairClaim) -> list[bytes]:
    """The pairs of a claim."""
    return items(b"".join(claim.pairs), PAIR_BYTES)


def one_call(claim: PairClaim) -> list[PairCall]:
    """Everything at once."""
    return [PairCall(0, len(claim.trades), whole_feed(claim), last=True)]


def whole_feed(claim: PairClaim) -> bytes:
    """All blocks of a claim."""
    lists = ((MERGE, claim.merge), (PAIRS, claim.pairs))
    blocks = (encode_block(kind, data) for kind, blocks in lists for data in blocks)
    return trades_feed(claim, 0, len(claim.pages)) + b"".join(blocks)


def trades_feed(claim: PairClaim, first: int, end: int) -> bytes:
    """The blocks of some pages; one without orders has none."""
    told = zip(claim.pages[first:end], claim.trades[first:end], strict=True)
    return b"".join(encode_block(TRADES, trades) for page, trades in told if page)


@st.composite
def chunkings(draw: st.DrawFn, claim: PairClaim) -> list[PairCall]:
    """Any interleaving of pages, merge order and pairs over any number of calls."""
    total = (len(claim.pages), len(claim.merge), len(claim.pairs))
    done = [0, 0, 0]
    calls: list[PairCall] = []
    while not calls or not calls[-1].last:
        # To bring all that is left is the simplest.
        ends = [end - draw(st.integers(0, end - now)) for end, now in zip(total, done, strict=True)]
        lists = [
            b"".join(encode_block(kind, data) for data in blocks[done[kind] : ends[kind]])
            for kind, blocks in ((MERGE, claim.merge), (PAIRS, claim.pairs))
        ]
        feed = trades_feed(claim, done[0], ends[0]) + b"".join(draw(st.permutations(lists)))
        calls.append(PairCall(done[0], ends[0] - done[0], feed, last=tuple(ends) == total))
        done = ends
    return calls
