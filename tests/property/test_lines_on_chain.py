"""What a line may carry in a period: the contract and the model agree, whatever lowered it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.lines import Derate, Lines, pack_headroom
from market.messages import Proposal, Topic
from tests.unit.contracts.voting import Voting
from tests.world import World, undone

EXAMPLES = int(os.environ.get("SUBGRID_EXAMPLES", "25"))
LIMITS = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 50), st.just(2**32 - 1))


@st.composite
def feeders(draw: st.DrawFn) -> Lines:
    """Any tree, parents first, with any limits."""
    buses = draw(st.integers(2, 30))
    columns = [[0] * buses for _ in range(3)]
    for bus in range(1, buses):
        columns[0][bus] = draw(st.integers(0, bus - 1))
        columns[1][bus], columns[2][bus] = draw(LIMITS), draw(LIMITS)
    packed = b"".join(
        parent.to_bytes(2, "big") + up.to_bytes(4, "big") + down.to_bytes(4, "big")
        for parent, up, down in zip(*columns, strict=True)
    )
    return Lines.unpack(packed)


# Every example undoes what it did to the chain.
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_lines__of_any_feeder_headroom_and_derates__are_the_models(
    world: World, data: st.DataObject
) -> None:
    feeder = data.draw(feeders())
    count = len(feeder.parent) - 1
    sides = [
        [data.draw(st.integers(0, int(limit))) for limit in side[1:]]
        for side in (feeder.up_wh, feeder.down_wh)
    ]
    headroom = pack_headroom(*sides) if data.draw(st.booleans()) else b""
    with undone(world):
        v = Voting.on(world, feeder.pack())
        period = v.opening()
        expected = feeder
        if headroom:
            fix(v, period, headroom)
            expected = feeder.with_headroom(headroom)
        for attempt in range(data.draw(st.integers(0, 6))):
            line, up = data.draw(st.integers(1, count)), data.draw(st.booleans())
            held_wh = expected.limit_wh(line, up=up)
            if held_wh:
                derate = Derate(line, up, data.draw(st.integers(0, held_wh - 1)))
                p = v.checked(bytes([attempt + 1]) * 32, period)
                v.send(v.object_call(p, [(0, derate), (1, derate)], headroom))
                expected = expected.derated([derate])
            found = v.lines(period, headroom)
            assert found.pack() == expected.pack()
        for line in range(1, count + 1):
            for up in (True, False):
                call = v.grid.functions.limitOf(period, line, up, headroom)
                assert world.chain.read(call) == expected.limit_wh(line, up=up)
        assert v.lines(period + 1).pack() == feeder.pack()


def fix(v: Voting, period: int, headroom: bytes) -> None:
    """Fix a headroom by quorum."""
    seat = v.primary(period)
    receipt = v.world.chain.send(v.world.seats[seat], v.propose_call(period, [headroom]))
    (event,) = v.oracle.events.HeadroomProposed().process_receipt(receipt)
    args = event["args"]
    p = Proposal(Topic.HEADROOM, period, 0, args["round"], args["digest"])
    v.send(v.vote_call(p, (1, 2, 3)))
    v.send(v.oracle.functions.fixHeadroom(period, [v.world.chain.w3.keccak(headroom)]))
