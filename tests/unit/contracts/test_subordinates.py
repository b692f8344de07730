"""The two slave contracts: what they match, pro rata, and that chunks change nothing."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.settlement import match
from market.types import Options
from tests.unit.contracts.support import accepted, refused
from tests.world import World

NO_LEG = (0, 0, 0, 0)


def deviation(
    node: int, options: int = 0, takeable: int = 0, short: int = 0, extra: int = 0,
    over: int = 0, unused: int = 0,
) -> bytes:  # fmt: skip
    """Pack a deviation as the contracts do."""
    word = node << 8 | options
    for field in (takeable, short, extra, over, unused):
        word = word << 40 | field
    return word.to_bytes(32, "big")


def share(node: int, wh: int, *, supplied: bool) -> bytes:
    """Pack a share as the slaves do; nothing for none."""
    return node.to_bytes(4, "big") + bytes([supplied]) + wh.to_bytes(6, "big") if wh else b""


def test_compensate__by_anybody_but_the_master__is_refused(world: World) -> None:
    call = world.market.one.functions.compensate(1, 1, b"", NO_LEG)
    for who in (world.stranger, world.grid):
        refused("Subordinate_one.NotMaster", call, who, who.address)


def test_sell__by_anybody_but_the_master__is_refused(world: World) -> None:
    call = world.market.two.functions.sell(1, 1, b"", NO_LEG, NO_LEG)
    for who in (world.stranger, world.grid):
        refused("Subordinate_two.NotMaster", call, who, who.address)


def test_count__takes_only_what_the_options_allow(world: World) -> None:
    reserve, offer = int(Options.RESERVE), int(Options.OFFER)
    nodes = [
        deviation(1, short=10, extra=5, takeable=3),
        deviation(2, reserve, over=7, unused=2),
        deviation(3, offer, over=4, unused=1),
        deviation(4, over=100),
    ]
    assert accepted(world.market.one.functions.count(b"".join(nodes)), world.stranger) == [10, 7]
    counted = accepted(world.market.two.functions.count(b"".join(nodes)), world.stranger)
    assert counted == [3, 5, 15, 9 + 5 + 100]


NODES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 7), st.integers(0, 2**38), st.integers(0, 2**38)),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=NODES, cuts=st.sets(st.integers(0, 12)))
def test_serve__in_any_chunks__shares_as_the_model_does(
    world: World, drawn: list[tuple[bool, int, int, int]], cuts: set[int]
) -> None:
    nodes = [
        deviation(k, options, short=a, extra=b)
        if lacks
        else deviation(k, options, over=a, unused=b)
        for k, (lacks, options, a, b) in enumerate(drawn, 1)
    ]
    short = [a if lacks else 0 for lacks, _, a, _ in drawn]
    reserve = [0 if lacks or not options & 1 else a for lacks, options, a, _ in drawn]
    bought, sold = match(short, reserve)

    leg: tuple[int, ...] = (sum(short), sum(reserve), 0, 0)
    shares = b""
    ends = sorted({0, len(nodes), *(cut for cut in cuts if cut < len(nodes))})
    for begin, end in pairwise(ends):
        call = world.market.one.functions.serve(b"".join(nodes[begin:end]), leg)
        served, leg = accepted(call, world.stranger)
        shares += served
    assert shares == b"".join(
        share(k, take, supplied=False) + share(k, give, supplied=True)
        for k, (take, give) in enumerate(zip(bought, sold, strict=True), 1)
    )


def test_serve__of_the_second__sells_what_is_offered_before_it_balances(world: World) -> None:
    offer, take = int(Options.OFFER), int(Options.TAKE)
    nodes = [
        deviation(1, take, takeable=4, extra=10),
        deviation(2, offer, over=3, unused=3),
        deviation(3, unused=5),
    ]
    call = world.market.two.functions.serve(b"".join(nodes), (4, 6, 0, 0), (6, 7, 0, 0))
    sold, balanced, selling, local = accepted(call, world.stranger)
    assert sold == share(1, 4, supplied=False) + share(2, 4, supplied=True)
    # Six of seven are balanced: node 2 gives floor(6 * 2 / 7), node 3 the rest.
    assert balanced == (
        share(1, 6, supplied=False) + share(2, 1, supplied=True) + share(3, 5, supplied=True)
    )
    assert (tuple(selling), tuple(local)) == ((4, 6, 4, 6), (6, 7, 6, 7))
