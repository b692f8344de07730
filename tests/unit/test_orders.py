"""Orders as bytes: what goes in comes out, and nothing else is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from market.messages import Order, Step
from market.orders import (
    EMPTY_CHAIN,
    OrderRecord,
    Placed,
    SignedOrder,
    Withdrawn,
    decode_entries,
    decode_page,
    decode_records,
    encode_entries,
    encode_page,
    encode_records,
    extend_chain,
    lock_uyuan,
    read_book,
)
from market.packing import PackingError
from market.prices import Limits
from market.types import Options

UINT32 = st.integers(0, 2**32 - 1)
UINT40 = st.integers(0, 2**40 - 1)
STEPS = st.builds(Step, st.booleans(), UINT40, UINT32)
OPTIONS = st.integers(0, 7).map(Options)
BUCKET = 3


def nodes(bucket: int = BUCKET) -> st.SearchStrategy[int]:
    """Return node ids of a bucket."""
    return st.integers(bucket << 8, bucket << 8 | 255)


ENTRIES = st.builds(
    SignedOrder,
    st.builds(
        Order, nodes(), UINT32, UINT32, st.lists(STEPS, max_size=5).map(tuple), UINT32, OPTIONS,
        UINT40,
    ),
    st.binary(max_size=70),
)  # fmt: skip


def record(seq: int, node: int = 770, **changes: object) -> OrderRecord:
    """Return a bid of 100 Wh."""
    made = OrderRecord(node, 5, False, Options.TAKE, 100, 7, seq)
    return replace(made, **changes)  # type: ignore[arg-type]


@given(entries=st.lists(ENTRIES, max_size=4))
def test_entries__packed__come_out_as_they_went_in(entries: list[SignedOrder]) -> None:
    assert decode_entries(encode_entries(entries), BUCKET) == entries


@given(entries=st.lists(ENTRIES, min_size=1, max_size=3), data=st.data())
def test_entries__cut_off__are_refused(entries: list[SignedOrder], data: st.DataObject) -> None:
    packed = encode_entries(entries)
    ends = {len(encode_entries(entries[:n])) for n in range(len(entries) + 1)}
    cut = data.draw(st.integers(1, len(packed) - 1).filter(lambda n: n not in ends))
    with pytest.raises(PackingError, match="send them whole"):
        decode_entries(packed[:cut], BUCKET)


def test_entries__with_bytes_nobody_packs__are_refused() -> None:
    good = encode_entries([SignedOrder(Order(770, 1, 1, (Step(True, 10, 1),)), b"")])
    with pytest.raises(PackingError, match="entry 0: options 8 have unknown bits"):
        decode_entries(good[:9] + b"\x08" + good[10:], BUCKET)
    with pytest.raises(PackingError, match="entry 0: side byte 2 is unknown"):
        decode_entries(good[:20] + b"\x02" + good[21:], BUCKET)


def test_entries__of_two_buckets_or_too_large__are_refused() -> None:
    orders = [SignedOrder(Order(node, 1, 1, (Step(True, 10, 1),)), b"") for node in (255, 256)]
    with pytest.raises(PackingError, match=r"orders of buckets \[0, 1\]"):
        encode_entries(orders)
    large = SignedOrder(Order(1, 1, 1, (Step(True, 2**40, 1),)), b"")
    with pytest.raises(PackingError, match="the order of node 1 does not fit an entry"):
        encode_entries([large])


@given(
    first=st.integers(0, 2**24 - 10),
    made=st.lists(
        st.tuples(nodes(), st.integers(0, 2**16 - 1), st.booleans(), OPTIONS, UINT40, UINT32),
        min_size=1,
        max_size=5,
    ),
)
def test_records__packed__come_out_as_they_went_in(
    first: int, made: list[tuple[int, int, bool, Options, int, int]]
) -> None:
    records = [OrderRecord(*values, first + i) for i, values in enumerate(made)]
    packed = encode_records(records)
    assert len(packed) == 16 * len(records)
    assert decode_records(packed, BUCKET) == records


@pytest.mark.parametrize(
    ("data", "bucket", "why"),
    [
        (b"", 3, "0 bytes are not one or more"),
        (bytes(17), 3, "17 bytes are not one or more"),
        (bytes(16), 0, "node 0 is the grid company"),
        (encode_records([record(1), record(3)]), 3, "record 3 follows 1"),
        (encode_records([record(1), record(1)]), 3, "record 1 follows 1"),
        (b"\2\0\0\x48" + bytes(12), 3, "options 72 have unknown bits"),
    ],
    ids=["none", "cut", "grid company", "gap", "twice", "options"],
)
def test_records__that_no_book_emits__are_refused(data: bytes, bucket: int, why: str) -> None:
    with pytest.raises(PackingError, match=why):
        decode_records(data, bucket)


@given(counts=st.lists(st.integers(1, 300), max_size=4))
def test_page__of_batches__comes_apart_again(counts: list[int]) -> None:
    batches = [bytes([i]) * (16 * count) for i, count in enumerate(counts)]
    page = encode_page(batches)
    assert len(page) == sum(2 + 16 * count for count in counts)
    assert decode_page(page) == batches


def test_page__cut_empty_or_too_long__is_refused() -> None:
    page = encode_page([bytes(32)])
    for wrong in (page[:-1], page[:1], page + b"\0\1", b"\0\0" + page):
        with pytest.raises(PackingError, match="a page ends, or holds an empty batch"):
            decode_page(wrong)
    for batch in (b"", bytes(15), bytes(16 << 16)):
        with pytest.raises(PackingError, match=f"a batch of {len(batch)} bytes"):
            encode_page([batch])


def test_lock__of_a_curve__is_rounded_up_once() -> None:
    limits = Limits(price_cap_uyuan_per_kwh=900, fee_cap_uyuan_per_kwh=3)
    steps = [Step(False, 11, 100), Step(True, 13, 200), Step(False, 1, 0)]
    assert lock_uyuan(steps, limits) == -(-(11 * 103 + 13 * 900 + 3) // 1000)
    assert lock_uyuan([], limits) == 0


def placed() -> list[Placed]:
    """Return two batches in two buckets, in the wrong order."""
    second = encode_records([record(3, node=5), record(4, node=6)])
    first = encode_records([record(0), record(1, sells=True), record(2, node=771)])
    return [Placed(0, 1, second), Placed(3, 0, first)]


def test_book__from_its_events__has_pages_chains_orders_and_locks() -> None:
    book = read_book(placed(), [Withdrawn(5, 1, 3)])
    second, first = (p.records for p in placed())
    assert book.pages(4) == [encode_page([second]), b"", b"", encode_page([first])]
    assert book.chains()[0] == (keccak(EMPTY_CHAIN + keccak(second))[:24], 2)
    assert book.chains()[3] == (extend_chain(EMPTY_CHAIN, first), 3)
    orders = book.orders()
    assert list(orders.seq) == [0, 1, 2, 4]
    assert list(orders.node) == [770, 770, 771, 6]
    assert list(orders.is_buy) == [True, False, True, True]
    limits = Limits(price_cap_uyuan_per_kwh=9_000, fee_cap_uyuan_per_kwh=3)
    assert book.locks(limits) == {770: 901, 771: 1, 6: 1}
    assert book.place_of(771) == (0, first, 32)
    assert book.place_of(6) == (1, second, 16)
    with pytest.raises(LookupError, match="node 5 has no live order"):
        book.place_of(5)
    with pytest.raises(PackingError, match="orders lie in bucket 3"):
        book.pages(3)


def test_book__without_orders__is_empty() -> None:
    book = read_book([], [])
    assert (len(book.orders()), book.pages(2), book.chains()) == (0, [b"", b""], {})


@pytest.mark.parametrize(
    ("batches", "cancels", "why"),
    [
        (placed()[:1], [], r"batches \[1\] are not 0, 1"),
        ([placed()[1], replace(placed()[0], records=encode_records([record(4, node=5)]))], [],
         "do not number 0, 1"),
        (placed(), [Withdrawn(5, 0, 3)], "names record 3 of batch 0"),
        (placed(), [Withdrawn(770, 0, 1)], "names record 1 of batch 0"),
        (placed(), [Withdrawn(5, 9, 3)], "names record 3 of batch 9"),
        (placed(), [Withdrawn(5, 1, 3)] * 2, "names record 3 of batch 1"),
    ],
    ids=["batch", "record", "other batch", "second step", "no batch", "twice"],
)  # fmt: skip
def test_book__from_incomplete_events__is_refused(
    batches: list[Placed], cancels: list[Withdrawn], why: str
) -> None:
    with pytest.raises(PackingError, match=why):
        read_book(batches, cancels)
