"""What it costs to prove on chain what a meter has signed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from oracle.meters import ocmf
from tests import meter_messages as messages
from tests.unit.contracts.test_meter_proofs import KEYS, METER, entry, words
from tests.world import World, new_world

pytestmark = pytest.mark.filterwarnings("ignore::pyocmf.SpecWarning")

AT = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
REGISTER_CEILING = 110_000
PROVE_CEILINGS = {
    ("secp256r1", "osaka"): 49_000,
    ("secp256r1", "prague"): 310_000,
    ("secp256k1", "osaka"): 48_000,
}
"""Most gas of a text of 213 bytes by curve, with and without a precompile for P-256."""


@pytest.fixture(scope="module", params=["osaka", "prague"])
def chain(request: pytest.FixtureRequest) -> Iterator[tuple[str, World]]:
    """A market on a chain with the precompile, and on one without."""
    with new_world(options=("--hardfork", request.param)) as world:
        world.join(1)
        yield request.param, world


def test_gas__of_keys_and_proofs__is_below_their_ceilings(chain: tuple[str, World]) -> None:
    fork, world = chain
    proofs = world.market.proofs.functions
    for since, (curve, key) in enumerate(KEYS.items()):
        call = proofs.register(METER, entry(key, since))
        assert world.chain.send(world.grid, call)["gasUsed"] <= REGISTER_CEILING
        e = ocmf.evidence(messages.ocmf(key, "12.345", AT), messages.public_hex(key))
        gas = world.chain.send(world.stranger, proofs.prove(METER, *words(e)))["gasUsed"]
        assert gas <= PROVE_CEILINGS.get((curve, fork), PROVE_CEILINGS[curve, "osaka"]), curve
