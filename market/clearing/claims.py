"""What the contracts `Uniform` and `Planned` are told of a clearing: its zones, packed.

30 bytes per zone, by ascending head (`contracts/interfaces/IPool.sol`), numbers big-endian:

    zone (30)   head bus 2, price 4, bid cut 12, ask cut 12
    cut  (12)   limit 4, seq 3, part_wh 5; all zero if no order of the side is accepted

The rest of a clearing follows from the book. Decoding is strict: what the contracts refuse for its
form raises here too.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from market.clearing.errors import InvalidClearing
from market.clearing.result import Cut, Zone

ZONE_BYTES: Final = 30
CUT_BYTES: Final = 12
_NO_CUT: Final = bytes(CUT_BYTES)


def encode_claim(zones: Sequence[Zone]) -> bytes:
    """Pack the zones of a clearing under `uniform` or `planned`.

    Raises:
        InvalidClearing: If a value does not fit its field.
    """
    try:
        return b"".join(
            zone.head_bus.to_bytes(2, "big")
            + zone.price_uyuan_per_kwh.to_bytes(4, "big")
            + _encode_cut(zone.bid_cut)
            + _encode_cut(zone.ask_cut)
            for zone in zones
        )
    except OverflowError as error:
        raise InvalidClearing(f"it does not fit a claim: {error}") from error


def decode_claim(claim: bytes) -> tuple[Zone, ...]:
    """Unpack the zones of a claim.

    Raises:
        InvalidClearing: If it is no whole number of zones, their heads do not ascend from bus 0, or
            a cut without energy names an order.
    """
    if not claim or len(claim) % ZONE_BYTES:
        raise InvalidClearing(f"{len(claim)} bytes are no zones of {ZONE_BYTES} bytes")
    zones = tuple(
        _decode_zone(claim[at : at + ZONE_BYTES]) for at in range(0, len(claim), ZONE_BYTES)
    )
    heads = [zone.head_bus for zone in zones]
    if heads[0] != 0 or any(after <= before for before, after in pairwise(heads)):
        raise InvalidClearing(f"the heads of its zones are {heads}, not ascending from bus 0")
    return zones


def _encode_cut(cut: Cut | None) -> bytes:
    if cut is None:
        return _NO_CUT
    limit, seq, part_wh = cut
    return limit.to_bytes(4, "big") + seq.to_bytes(3, "big") + part_wh.to_bytes(5, "big")


def _decode_zone(packed: bytes) -> Zone:
    return Zone(
        head_bus=int.from_bytes(packed[:2], "big"),
        price_uyuan_per_kwh=int.from_bytes(packed[2:6], "big"),
        bid_cut=_decode_cut(packed[6:18]),
        ask_cut=_decode_cut(packed[18:]),
    )


def _decode_cut(packed: bytes) -> Cut | None:
    cut = Cut(*(int.from_bytes(packed[a:b], "big") for a, b in ((0, 4), (4, 7), (7, 12))))
    if cut.part_wh == 0 and packed != _NO_CUT:
        raise InvalidClearing("its cut takes nothing", cut.seq)
    return cut if cut.part_wh else None
