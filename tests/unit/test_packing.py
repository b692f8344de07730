import pytest
from eth_utils.crypto import keccak
from hypothesis import given

from market.packing import (
    EMPTY_ROOT,
    POSITION_BYTES,
    READING_BYTES,
    PackingError,
    bucket_of,
    decode_positions,
    decode_readings,
    encode_positions,
    encode_readings,
    fold_root,
    index_of,
    node_of,
    pack_positions,
    pack_readings,
    root_of,
    split_buckets,
)
from market.types import MeterReading, Options, Position, Quality
from tests.strategies import PeriodCase, period_cases

POSITION = Position(
    node=258,
    options=Options.RESERVE | Options.TAKE,
    sold_wh=0x0102030405,
    bought_wh=2**40 - 1,
    receive_nyuan=2**72 - 2,
    pay_nyuan=1,
    locked_uyuan=2**64 - 3,
)
READING = MeterReading(node=511, quality=Quality.SUBSTITUTED, export_wh=256, import_wh=1)


def test_encode_positions__layout() -> None:
    assert encode_positions([POSITION]).hex() == (
        "02" "05" "0102030405" "ffffffffff" "fffffffffffffffffe" "000000000000000001"
        "fffffffffffffffd"
    )  # fmt: skip
    assert len(encode_positions([POSITION])) == POSITION_BYTES


def test_encode_readings__layout() -> None:
    assert encode_readings([READING]).hex() == "ff0100000001000000000001"
    assert len(encode_readings([READING])) == READING_BYTES


@given(period_cases())
def test_round_trip__of_whole_periods(case: PeriodCase) -> None:
    positions = pack_positions(case.positions)
    readings = pack_readings(case.readings)

    unpacked = [p for bucket, data in enumerate(positions) for p in decode_positions(data, bucket)]
    assert unpacked == sorted(case.positions, key=lambda p: p.node)
    unread = [r for bucket, data in enumerate(readings) for r in decode_readings(data, bucket)]
    assert unread == sorted(case.readings, key=lambda r: r.node)


@pytest.mark.parametrize(("node", "bucket", "index"), [(1, 0, 1), (255, 0, 255), (256, 1, 0)])
def test_buckets__of_256_nodes(node: int, bucket: int, index: int) -> None:
    assert (bucket_of(node), index_of(node)) == (bucket, index)
    assert node_of(bucket, index) == node


def test_split_buckets__sorts_and_keeps_empty_ones() -> None:
    a, b, c = Position(600), Position(2), Position(1)

    assert split_buckets([a, b, c]) == [[c, b], [], [a]]
    assert split_buckets([b], bucket_count=2) == [[b], []]
    assert split_buckets([]) == []


def test_split_buckets__too_few__raises() -> None:
    with pytest.raises(PackingError, match="node 600 lies in bucket 2, but only 2 buckets"):
        split_buckets([Position(600)], bucket_count=2)


def test_root__folds_bucket_hashes() -> None:
    first, second = b"first bucket", b""

    assert root_of([]) == EMPTY_ROOT == bytes(32)
    one = keccak(bytes(32) + keccak(first))
    assert root_of([first]) == one
    assert root_of([first, second]) == keccak(one + keccak(second)) != one
    assert fold_root(one, second) == root_of([first, second])


def test_keccak__is_ethereums() -> None:
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_fold_root__wrong_length__raises() -> None:
    with pytest.raises(PackingError, match="this one has 31"):
        fold_root(bytes(31), b"")


@pytest.mark.parametrize("cut", [1, 11, 13])
def test_decode__cut_in_the_middle__raises(cut: int) -> None:
    data = encode_readings([MeterReading(1, Quality.MEASURED, 0, 0), READING_IN_FIRST_BUCKET])

    with pytest.raises(PackingError, match=f"{cut} bytes are not a whole number of 12-byte"):
        decode_readings(data[:cut], bucket=0)
    with pytest.raises(PackingError, match="38-byte position"):
        decode_positions(data[:cut], bucket=0)


READING_IN_FIRST_BUCKET = MeterReading(2, Quality.MEASURED, 0, 0)


@pytest.mark.parametrize("indices", [(2, 1), (2, 2)])
def test_decode__not_ascending__raises(indices: tuple[int, int]) -> None:
    first, second = (bytes([index]) for index in indices)

    with pytest.raises(PackingError, match=f"reading index {indices[1]} follows 2"):
        decode_readings(first + bytes(11) + second + bytes(11), bucket=0)
    with pytest.raises(PackingError, match=f"position index {indices[1]} follows 2"):
        decode_positions(first + bytes(37) + second + bytes(37), bucket=0)


def test_decode__index_zero__is_the_grid_company_in_bucket_zero_only() -> None:
    with pytest.raises(PackingError, match="grid company"):
        decode_readings(bytes(12), bucket=0)

    assert decode_readings(bytes(12), bucket=1) == [MeterReading(256, Quality.MEASURED, 0, 0)]


def test_decode__unknown_options_or_quality__raises() -> None:
    with pytest.raises(PackingError, match="options byte 8"):
        decode_positions(bytes([1, 8]) + bytes(36), bucket=0)
    with pytest.raises(PackingError, match="quality byte 2"):
        decode_readings(bytes([1, 2]) + bytes(10), bucket=0)


def test_decode__negative_bucket__raises() -> None:
    with pytest.raises(PackingError, match="bucket -1 is negative"):
        decode_readings(b"", bucket=-1)


def test_encode__out_of_order_or_two_buckets__raises() -> None:
    with pytest.raises(PackingError, match="node 1 follows node 2"):
        encode_positions([Position(2), Position(1)])
    with pytest.raises(PackingError, match="node 2 follows node 2"):
        encode_readings([READING_IN_FIRST_BUCKET, READING_IN_FIRST_BUCKET])
    with pytest.raises(PackingError, match="different buckets"):
        encode_positions([Position(255), Position(256)])
