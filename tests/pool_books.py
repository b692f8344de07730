"""Books as the chain keeps them, cleared by a pool rule, and these rules on a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.abi import decode, encode
from hypothesis import strategies as st

from market.clearing import Band, Cut, PoolClearing, Rule, Zone, clear
from market.clearing.claims import encode_claim
from market.contracts import artifact
from tests.bare_chain import Chain, method_of
from tests.pair_books import FEE_CAP, PRICE_CAP, ChainBook, Step, chain_books, positions_of

MARKET, STANDING = range(2)
"""What a rule can be asked for."""


@dataclass(frozen=True)
class PoolCase:
    """What a rule is asked about.

    Attributes:
        rule: `UNIFORM` or `PLANNED`.
        book: The book.
        planned: P_p; a band that has no effect on `UNIFORM`.
    """

    rule: Rule
    book: ChainBook
    planned: int

    def terms(self, mode: int = MARKET) -> tuple[int, ...]:
        """As in the contract."""
        return (mode, self.book.low, self.book.high, self.planned, PRICE_CAP, FEE_CAP)

    def clear(self) -> PoolClearing:
        """Run the engine."""
        clearing = clear(
            self.rule,
            self.book.orders,
            band=Band(self.book.low, self.book.high),
            feeder=self.book.feeder,
            planned_uyuan_per_kwh=self.planned if self.rule is Rule.PLANNED else None,
        )
        assert isinstance(clearing, PoolClearing)
        return clearing

    def claim(self) -> bytes:
        """The valid claim."""
        return encode_claim(self.clear().zones)

    def expected(self) -> list[bytes]:
        """Positions of every bucket, from what each order trades at its zone's price."""
        clearing = self.clear()
        trades: list[tuple[Step, int, int]] = []
        for step, wh in zip(self.book.steps, clearing.filled_wh.tolist(), strict=True):
            zone = clearing.zones[int(clearing.zone_of_bus[self.book.bus_of(step.bus)])]
            trades.append((step, wh, zone.price_uyuan_per_kwh))
        return positions_of(self.book, trades)

    def untraded(self) -> list[bytes]:
        """Positions of every bucket if no order trades."""
        return positions_of(self.book, [])


class Pools:
    """The rules on a bare chain."""

    def __init__(self, chain: Chain) -> None:
        """Deploy them."""
        self._chain = chain
        self._at = {
            Rule.UNIFORM: chain.deploy(artifact("Uniform").bytecode),
            Rule.PLANNED: chain.deploy(artifact("Planned").bytecode),
        }

    def check(
        self,
        case: PoolCase,
        claim: bytes,
        *,
        mode: int = MARKET,
        feed: bytes = b"",
        state: bytes = b"",
        buckets: slice = slice(None),
        last: bool = True,
    ) -> tuple[list[bytes], bytes]:
        """Make one call; return positions and the new state."""
        data = self.data(case, claim, mode=mode, feed=feed, state=state, buckets=buckets, last=last)
        answer = self._chain.call(self._at[case.rule], data)
        positions, state = decode(["bytes[]", "bytes"], answer)
        return list(positions), state

    @staticmethod
    def data(
        case: PoolCase,
        claim: bytes,
        *,
        mode: int = MARKET,
        feed: bytes = b"",
        state: bytes = b"",
        buckets: slice = slice(None),
        last: bool = True,
    ) -> bytes:
        """Return the bytes of a call."""
        selector, inputs, _ = method_of("Uniform", "check")
        book = case.book
        asked = [
            *(case.terms(mode), book.lines, claim, feed),
            *(state, book.cancelled, book.pages[buckets], last),
        ]
        return selector + encode(inputs, asked)

    def spend(self, rule: Rule, data: bytes) -> int:
        """Gas of a transaction that makes one call."""
        return int(self._chain.send(self._at[rule], data)["gasUsed"], 16)

    def run(self, case: PoolCase, claim: bytes, ends: Sequence[int]) -> list[bytes]:
        """Check in calls that end with the given buckets; return the positions of every bucket."""
        state, found, begin = b"", list[bytes](), 0
        for i, end in enumerate(ends):
            positions, state = self.check(
                case, claim, state=state, buckets=slice(begin, end), last=i == len(ends) - 1
            )
            found += positions
            begin = end
        assert state == b""
        return found


@st.composite
def pool_cases(draw: st.DrawFn, most_nodes: int = 10) -> PoolCase:
    """Books of the chain under either rule."""
    rule = draw(st.sampled_from((Rule.UNIFORM, Rule.PLANNED)))
    return PoolCase(rule, draw(chain_books(most_nodes)), draw(st.integers(0, 6)))


def chunkings(buckets: int) -> st.SearchStrategy[list[int]]:
    """Every way to cut buckets into calls, some of them without any."""
    cuts = st.lists(st.integers(0, buckets), max_size=3).map(sorted)
    return cuts.map(lambda ends: [end for end in ends if end < buckets] + [buckets])


@st.composite
def bent_claims(draw: st.DrawFn, case: PoolCase) -> bytes:
    """A claim that is near the valid one, and differs."""
    zones = list(case.clear().zones)
    for _ in range(draw(st.integers(1, 3))):
        if not zones:
            break
        i, j = (draw(st.integers(0, len(zones) - 1)) for _ in range(2))
        how = draw(st.sampled_from(("price", "cut", "cut", "head", "drop", "copy", "swap")))
        if how == "drop":
            zones.pop(i)
        elif how == "copy":
            zones.insert(j, zones[i])
        elif how == "swap":
            zones[i], zones[j] = zones[j], zones[i]
        elif how == "price":
            zones[i] = zones[i]._replace(price_uyuan_per_kwh=draw(st.integers(0, 8)))
        elif how == "head":
            zones[i] = zones[i]._replace(head_bus=draw(st.integers(0, len(case.book.wires))))
        else:
            zones[i] = draw(_bent_cut(zones[i], case.book))
    return encode_claim(zones)


@st.composite
def _bent_cut(draw: st.DrawFn, zone: Zone, book: ChainBook) -> Zone:
    """Give one side of a zone another cut, or none."""
    of_bids = draw(st.booleans())
    cut = draw(_cuts_near(zone.bid_cut if of_bids else zone.ask_cut, book))
    return zone._replace(bid_cut=cut) if of_bids else zone._replace(ask_cut=cut)


@st.composite
def _cuts_near(draw: st.DrawFn, cut: Cut | None, book: ChainBook) -> Cut | None:
    how = draw(st.sampled_from(("none", "order", "field")))
    if how == "order" and book.steps:
        step = draw(st.sampled_from(book.steps))
        return Cut(step.limit, step.seq, draw(st.integers(0, step.energy_wh + 1)))
    if how == "none" or cut is None:
        return None
    name = draw(st.sampled_from(Cut._fields))
    value = max(0, getattr(cut, name) + draw(st.sampled_from((-2, -1, 1, 3))))
    return cut._replace(**{name: value})
