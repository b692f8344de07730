"""What a seat does about the queries of contracts: whom it answers, when, and what it forgets."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from market.packing import pack_readings, root_of
from market.types import MeterReading
from oracle.duties import queries
from oracle.duties.situation import CollectFees, Deliver
from oracle.journal import KEPT_BLOCKS, Event, Journal
from oracle.meters.roster import meter_key
from oracle.queries import MOST_OPEN, Query, QueryBook, QueryKind
from tests.desk import CLOCK, CLOSE, PERIOD, Desk, measured, substituted

GAS_PRICE_WEI = 10**9
CALLBACK_GAS = 63_000
PRICE_GAS = 120_000 + 64_000
"""Of a price with that callback."""
ENERGY_GAS = PRICE_GAS + 1_000 + 3 * 400
"""Of an energy of one of two nodes."""
END = CLOCK.window_end(PERIOD)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def asked(
    number: int,
    kind: QueryKind = QueryKind.EXPORT_WH,
    period: int = PERIOD,
    fee_wei: int = 0,
    *,
    meter: str = "m1",
    at: int = 0,
    block: int = 1,
) -> Event:
    args = {
        "id": number.to_bytes(32, "big"),
        "consumer": "0xc0",
        "meter": meter_key(meter),
        "period": period,
        "kind": kind,
        "callbackGas": CALLBACK_GAS,
        "feeWei": fee_wei,
    }
    return Event(block, number, "Queried", at, args)


def closed(number: int, block: int = 2, name: str = "Delivered") -> Event:
    return Event(block, 0, name, 0, {"id": number.to_bytes(32, "big")})


def due(desk: Desk, now: int, seat: int | None = None) -> list[tuple[int, Deliver]]:
    """Return what is to be delivered, by query, by one seat or by whoever's turn it is."""
    return [
        (int.from_bytes(action.query.id), action)
        for s in (range(4) if seat is None else (seat,))
        for action in queries.deliver(desk.at(now, s))
    ]


def numbers(desk: Desk, now: int, seat: int | None = None) -> list[int]:
    return [number for number, _ in due(desk, now, seat)]


def reported(desk: Desk, *readings: MeterReading) -> None:
    desk.propose(*readings)
    desk.accept()


AT = CLOSE + 5
"""When the report is accepted."""


# -- energies


def test_energy__measured_in_the_report__is_delivered_from_its_buckets(desk: Desk) -> None:
    desk.queries.take([asked(4)])
    assert numbers(desk, CLOSE) == []
    reported(desk, measured(1, 5), measured(2, 6))

    ((number, action),) = due(desk, AT)

    assert number == 4
    assert action.buckets == tuple(pack_readings([measured(1, 5), measured(2, 6)]))
    assert (action.bucket, action.gas) == (0, ENERGY_GAS)


def test_energy__of_a_silent_meter__waits_for_a_version_that_has_it(desk: Desk) -> None:
    desk.queries.take([asked(4)])
    reported(desk, substituted(1, 5), measured(2, 6))
    assert numbers(desk, AT) == numbers(desk, END - 1) == []
    assert len(desk.queries) == 1

    desk.propose(measured(1, 7), measured(2, 6), version=2)
    desk.accept(version=2)

    ((_, action),) = due(desk, AT)
    assert action.buckets == tuple(pack_readings([measured(1, 7), measured(2, 6)]))


@pytest.mark.parametrize("readings", [(measured(2, 6),), (substituted(1, 5),), None])
def test_energy__never_measured__is_forgotten_once_the_window_is_over(
    desk: Desk, readings: tuple[MeterReading, ...] | None
) -> None:
    desk.queries.take([asked(4)])
    if readings is not None:
        reported(desk, *readings)
    assert numbers(desk, END - 1) == []
    assert len(desk.queries) == 1
    assert numbers(desk, END) == []
    assert len(desk.queries) == len(QueryBook(desk.journal)) == 0


def test_energy__before_the_close__asks_nothing_of_the_view(desk: Desk) -> None:
    far = 10**9
    desk.queries.take([asked(4, period=far), asked(5)])
    numbers(desk, CLOSE - 1)
    numbers(desk, CLOSE)
    assert far not in desk.view.periods
    assert len(desk.queries) == 2


# -- energies of periods that are not kept in mind


def journalled(desk: Desk, *readings: MeterReading, period: int = PERIOD) -> None:
    """Have the journal know of an accepted report that the view has forgotten."""
    buckets = tuple(pack_readings(readings))
    about = {"period": period, "version": 1, "round": 0}
    root = root_of(buckets)
    proposed = {**about, "proposer": 0, "root": root, "buckets": buckets}
    accepted = {**about, "topic": 1, "digest": root}
    other = {**about, "topic": 0, "seat": 0, "support": True}
    desk.journal.extend(
        [
            Event(period, 0, "ReportProposed", AT, proposed),
            Event(period, 1, "Voted", AT, other),
            Event(period, 2, "Accepted", AT, accepted),
        ],
        {period: b"\1" * 32},
    )
    desk.view.forget(period + 1)


def test_energy__of_a_forgotten_period__is_delivered_from_the_journal(desk: Desk) -> None:
    journalled(desk, measured(1, 5), measured(2, 6))
    late = END + 7 * 86_400
    desk.queries.take([asked(4, at=late), asked(8, meter="m2", at=late), asked(12, at=late)])

    assert numbers(desk, late, seat=0) == [4, 8, 12]
    ((_, action), *_) = due(desk, late)
    assert action.buckets == tuple(pack_readings([measured(1, 5), measured(2, 6)]))
    assert PERIOD not in desk.view.periods


def test_energy__of_a_forgotten_period_without_it__is_forgotten(desk: Desk) -> None:
    journalled(desk, substituted(1, 5))
    late = END + 86_400
    desk.queries.take([asked(4, at=late), asked(5, period=3, at=late)])
    assert numbers(desk, late + CLOCK.round_length_s - 1) == []
    assert len(desk.queries) == 0


def test_energy__of_many_forgotten_periods__reads_a_few_for_each_block(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = END + 86_400
    for period in range(PERIOD, PERIOD + 10):
        journalled(desk, measured(1, 5), period=period)
    desk.queries.take([asked(4 * i, period=PERIOD + i, at=late) for i in range(10)])
    read: list[int] = []
    real = Journal.events_of

    def events_of(journal: Journal, period: int) -> object:
        read.append(period)
        return real(journal, period)

    monkeypatch.setattr(Journal, "events_of", events_of)
    later = late + 86_400
    assert numbers(desk, later, seat=0) == [0, 4, 8, 12]
    assert len(read) == queries.MOST_LOOKUPS
    assert len(desk.queries._past) == queries.MOST_LOOKUPS


# -- prices


def test_price__before_its_deadline__waits_unless_it_is_fixed(desk: Desk) -> None:
    deadline = CLOCK.price_deadline(PERIOD)
    desk.queries.take([asked(4, QueryKind.PLANNED_PRICE), asked(5, QueryKind.EXPORT_WH)])
    assert numbers(desk, deadline - 1) == []
    ((number, action),) = due(desk, deadline)
    assert (number, action.buckets, action.gas) == (4, (), PRICE_GAS)

    desk.tell("PricesFixed", deadline - 9, period=PERIOD, prices=())
    assert set(numbers(desk, deadline - 8)) == {4}


# -- turns


def test_turn__goes_by_the_querys_number_and_then_round(desk: Desk) -> None:
    deadline, quarter = CLOCK.price_deadline(PERIOD), CLOCK.round_length_s // 4
    desk.queries.take([asked(n, QueryKind.SELLING_PRICE) for n in (5, 6)])

    def who(number: int, now: int) -> set[int]:
        return {seat for seat in range(4) if number in numbers(desk, now, seat)}

    assert (who(5, deadline), who(6, deadline)) == ({1}, {2})
    assert who(5, deadline + quarter) == {1, 2}
    assert who(5, deadline + 3 * quarter) == {0, 1, 2, 3}


def test_turn__of_an_energy__begins_with_the_report(desk: Desk) -> None:
    desk.queries.take([asked(5)])
    reported(desk, measured(1, 5))
    assert [numbers(desk, AT, seat) for seat in range(4)] == [[], [5], [], []]


# -- fees


def costly(desk: Desk, percent: int = 100, gas_limit: int = 2**24) -> None:
    desk.terms = replace(
        desk.terms,
        least_fee_percent=percent,
        gas_price_wei=GAS_PRICE_WEI,
        gas_limit=gas_limit,
    )


def test_fee__below_the_cost__is_left_and_told_once_with_what_it_takes(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    costly(desk)
    least = PRICE_GAS * GAS_PRICE_WEI
    desk.queries.take([asked(n, QueryKind.PLANNED_PRICE, fee_wei=least - 1 + n) for n in range(2)])
    now = CLOCK.price_deadline(PERIOD) + CLOCK.round_length_s - 1
    with caplog.at_level(logging.INFO):
        assert [numbers(desk, now, seat) for seat in range(4)] == [[1]] * 4

    (line,) = [record for record in caplog.records if record.msg == "query left to others"]
    assert line.fields["reason"] == f"pays {least - 1} wei, least is {least}"  # type: ignore[attr-defined]
    assert len(desk.queries) == 2


@pytest.mark.parametrize(("percent", "answered"), [(0, True), (50, True), (51, False)])
def test_fee__of_half_the_cost__is_enough_as_configured(
    desk: Desk, percent: int, answered: bool
) -> None:
    costly(desk, percent)
    fee_wei = PRICE_GAS * GAS_PRICE_WEI // 2
    desk.queries.take([asked(4, QueryKind.PLANNED_PRICE, fee_wei=fee_wei)])
    assert bool(numbers(desk, CLOCK.price_deadline(PERIOD))) is answered


def test_fee__none_where_gas_is_free__is_enough(desk: Desk) -> None:
    desk.queries.take([asked(4, QueryKind.PLANNED_PRICE)])
    assert numbers(desk, CLOCK.price_deadline(PERIOD)) == [4]


def test_deliver__off__answers_nobody(desk: Desk) -> None:
    desk.terms = replace(desk.terms, deliver=False)
    desk.queries.take([asked(4, QueryKind.PLANNED_PRICE)])
    assert numbers(desk, CLOCK.price_deadline(PERIOD)) == []


def test_gas__beyond_a_block__is_left(desk: Desk) -> None:
    desk.queries.take([asked(4, QueryKind.PLANNED_PRICE)])
    costly(desk, percent=0, gas_limit=PRICE_GAS - 1)
    assert numbers(desk, CLOCK.price_deadline(PERIOD)) == []
    costly(desk, percent=0, gas_limit=PRICE_GAS)
    assert numbers(desk, CLOCK.price_deadline(PERIOD)) == [4]


def test_many_that_pay_nothing__are_told_a_few_for_each_block(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    costly(desk)
    desk.queries.take([asked(n, QueryKind.PLANNED_PRICE) for n in range(50)])
    with caplog.at_level(logging.INFO):
        for blocks in (1, 2):
            assert numbers(desk, CLOCK.price_deadline(PERIOD), seat=0) == []
            assert len(caplog.records) == blocks * queries.MOST_TOLD


def test_collect__only_what_is_worth_its_gas(desk: Desk) -> None:
    worth = 20 * queries.COLLECT_GAS * GAS_PRICE_WEI
    costly(desk)
    for earned_wei, found in ((worth, []), (worth + 1, [CollectFees()])):
        desk.terms = replace(desk.terms, earned_wei=earned_wei)
        assert list(queries.collect(desk.at(CLOSE))) == found
    desk.terms = replace(desk.terms, gas_price_wei=0, earned_wei=0)
    assert list(queries.collect(desk.at(CLOSE))) == []


# -- what is kept in mind


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "queries.sqlite")


def known(book: QueryBook) -> list[int]:
    return [int.from_bytes(query.id) for query in book]


def test_book__flooded__keeps_those_that_pay_best_and_came_first(journal: Journal) -> None:
    book = QueryBook(journal)
    book.take([asked(1, fee_wei=10**12)])
    flood = [asked(n) for n in range(2, 2 * MOST_OPEN)]
    book.take(flood)
    assert known(book) == list(range(1, MOST_OPEN + 1))
    best = asked(5 * MOST_OPEN, fee_wei=10**13)
    book.take([best, *(asked(n, block=3) for n in range(3 * MOST_OPEN, 4 * MOST_OPEN))])
    assert known(book) == [5 * MOST_OPEN, *range(1, MOST_OPEN)]
    assert known(QueryBook(journal)) == known(book)
    (rows,) = journal.db.execute("SELECT count(*) FROM queries").fetchone()
    assert rows == MOST_OPEN


def test_book__taken_up_again__has_what_is_open(journal: Journal) -> None:
    book = QueryBook(journal)
    big = 2**255
    book.take([asked(1, QueryKind.SELLING_PRICE, fee_wei=big, at=9, block=7), asked(2), asked(3)])
    book.take([closed(2), closed(3, name="Refunded"), closed(99)])
    (query,) = QueryBook(journal)
    assert (
        query
        == next(iter(book))
        == Query(
            id=(1).to_bytes(32, "big"),
            consumer="0xc0",
            meter=meter_key("m1"),
            period=PERIOD,
            kind=QueryKind.SELLING_PRICE,
            callback_gas=CALLBACK_GAS,
            fee_wei=big,
            asked_at=9,
            order=(7, 1),
        )
    )


def test_book__blocks_taken_back__opens_what_was_closed_in_them(journal: Journal) -> None:
    book = QueryBook(journal)
    book.take([asked(1, block=5)])
    book.take([asked(2, block=6)])
    book.take([closed(1, block=8)])
    journal.rewind(7)
    assert known(QueryBook(journal)) == [1, 2]
    journal.rewind(5)
    assert known(QueryBook(journal)) == [1]
    journal.rewind(4)
    assert known(QueryBook(journal)) == []


def test_book__closed_long_ago__leaves_no_row(journal: Journal) -> None:
    book = QueryBook(journal)
    book.take([asked(1), asked(2)])
    book.take([closed(1, block=2)])
    book.take([closed(2, block=3 + KEPT_BLOCKS)])
    rows = journal.db.execute("SELECT id FROM queries").fetchall()
    assert [int.from_bytes(id_) for (id_,) in rows] == [2]
