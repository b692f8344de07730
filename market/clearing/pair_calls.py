"""Cuts a claim for the contract `Pairwise` into calls.

The calls bring the merge order first, then the pairs, then the pages, whose last one ends the
check. What waits on the stack goes through the state of the calls, so it matters for their size.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from market.clearing.pair_claims import (
    ENTRY_BYTES,
    MERGE,
    PAIR_BYTES,
    PAIRS,
    RECORD_BYTES,
    TRADES,
    PairClaim,
    chain,
    encode_block,
)

RUN_BYTES: Final = 352
"""State that every call hands on; a word per bus, per named line and per open ask follow."""

# What the rule was measured to take, calldata included, rounded up.
_CALL_GAS: Final = 80_000
_BUS_GAS: Final = 600
_ROOM_GAS: Final = 600
_ASK_GAS: Final = 600
_ENTRY_GAS: Final = 1_100
_CROSSING_GAS: Final = 700
_PAIR_GAS: Final = 1_200
_LINE_GAS: Final = 330
_PAGE_GAS: Final = 40_000
_ORDER_GAS: Final = 2_500


class Progress(NamedTuple):
    """How many blocks of each kind a check has been fed."""

    merge: int = 0
    pairs: int = 0
    pages: int = 0


class PairCall(NamedTuple):
    """One call of the contract.

    Attributes:
        first_page: First page it brings.
        pages: How many pages it brings.
        feed: The blocks.
        last: Whether it is the last call.
    """

    first_page: int
    pages: int
    feed: bytes
    last: bool


class _Step(NamedTuple):
    kind: int
    block: bytes
    gas: int
    page_bytes: int = 0


def progress_of(claim: PairClaim, bucket: int, state: bytes) -> Progress | None:
    """Read off the state of a check how far it has come.

    Args:
        claim: The claim that the check is of.
        bucket: The next bucket.
        state: What the rule returned, empty at the beginning.

    Returns:
        What it has been fed; None if that is not what the claim commits to, so that it never ends.
    """
    if not state:
        return Progress()
    pages, merge, pairs = (state[at : at + 32] for at in (32, 64, 96))
    if list(chain(filter(None, claim.pages[:bucket])))[-1] != pages:
        return None
    try:
        merged = list(chain(claim.merge)).index(merge)
        return Progress(merged, list(chain(claim.pairs)).index(pairs), bucket)
    except ValueError:
        return None


def next_call(
    claim: PairClaim, pages: Sequence[bytes], done: Progress, most_bytes: int, most_gas: int
) -> tuple[PairCall, Progress]:
    """Put as much as fits, but at least one block, into the next call.

    Args:
        claim: The claim.
        pages: What calls carry of each page of the check besides its trades, for its length;
            pages the check began without have no orders.
        done: What the calls before have brought.
        most_bytes: Calldata that claim, state, feed and pages of a call may take.
        most_gas: What a call may use.

    Returns:
        The call, and what has been brought after it.
    """
    waiting = claim.open_asks[done.merge - 1] if done.merge else 0
    state_words = claim.buses + len(claim.rooms) + waiting
    left_bytes = most_bytes - len(claim.claim) - RUN_BYTES - 32 * state_words
    left_gas = most_gas - _CALL_GAS - _BUS_GAS * claim.buses - _ROOM_GAS * len(claim.rooms)
    left_gas -= _ASK_GAS * waiting
    steps: list[_Step] = []
    for step in _steps(claim, pages, done):
        left_bytes -= len(step.block) + step.page_bytes
        left_gas -= step.gas
        if steps and min(left_bytes, left_gas) < 0:
            break
        steps.append(step)
    # The trades of the pages come first in a feed.
    feed = b"".join(step.block for step in sorted(steps, key=lambda step: step.kind != TRADES))
    trades, merge, pairs = (sum(s.kind == kind for s in steps) for kind in (TRADES, MERGE, PAIRS))
    after = Progress(done.merge + merge, done.pairs + pairs, done.pages + trades)
    return PairCall(done.pages, trades, feed, after.pages == len(pages)), after


def pair_calls(
    claim: PairClaim, pages: Sequence[bytes], most_bytes: int, most_gas: int
) -> list[PairCall]:
    """Cut a whole claim into calls; arguments as of `next_call`."""
    calls: list[PairCall] = []
    done = Progress()
    while not calls or not calls[-1].last:
        call, done = next_call(claim, pages, done, most_bytes, most_gas)
        calls.append(call)
    return calls


def _steps(claim: PairClaim, pages: Sequence[bytes], done: Progress) -> Iterator[_Step]:
    """What is left to bring, in order."""
    entry_gas = _ENTRY_GAS + (_CROSSING_GAS if claim.rooms else 0)
    for merge in claim.merge[done.merge :]:
        yield _Step(MERGE, encode_block(MERGE, merge), len(merge) // ENTRY_BYTES * entry_gas)
    for pairs, passed in list(zip(claim.pairs, claim.path_lines, strict=True))[done.pairs :]:
        gas = len(pairs) // PAIR_BYTES * _PAIR_GAS + passed * _LINE_GAS
        yield _Step(PAIRS, encode_block(PAIRS, pairs), gas)
    columns = (pages, claim.pages, claim.trades)
    for page, has_orders, trades in list(zip(*columns, strict=False))[done.pages :]:
        block = encode_block(TRADES, trades) if has_orders else b""
        gas = _PAGE_GAS + len(page) // RECORD_BYTES * _ORDER_GAS
        yield _Step(TRADES, block, gas, len(page))
