from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.schedule import Schedule, ScheduleError, primary

QUARTER_HOURS = Schedule(
    epoch_s=1_800_000_000,
    length_s=900,
    price_horizon_s=7_200,
    price_lead_s=3_600,
    gate_lead_s=300,
    round_length_s=60,
    settle_deadline_s=1_800,
    window_s=86_400,
)


@pytest.mark.parametrize(
    ("instant", "offset_s"),
    [
        (Schedule.price_opens, -7_200),
        (Schedule.price_deadline, -3_600),
        (Schedule.gate, -300),
        (Schedule.start, 0),
        (Schedule.last_call, 0),
        (Schedule.close, 900),
        (Schedule.settle_deadline, 2_700),
        (Schedule.window_end, 87_300),
    ],
)
def test_instants__count_from_the_start(instant: object, offset_s: int) -> None:
    assert callable(instant)
    assert instant(QUARTER_HOURS, 4) == 1_800_000_000 + 4 * 900 + offset_s


@given(st.integers(0, 10**6))
def test_period_at__is_half_open(period: int) -> None:
    start = QUARTER_HOURS.start(period)

    assert QUARTER_HOURS.period_at(start) == period
    assert QUARTER_HOURS.period_at(QUARTER_HOURS.close(period) - 1) == period
    assert QUARTER_HOURS.period_at(QUARTER_HOURS.close(period)) == period + 1


def test_period_at__before_the_epoch__raises() -> None:
    with pytest.raises(ScheduleError, match="before the epoch"):
        QUARTER_HOURS.period_at(QUARTER_HOURS.epoch_s - 1)


def test_start__negative_period__raises() -> None:
    with pytest.raises(ScheduleError, match="period -1 is negative"):
        QUARTER_HOURS.start(-1)


def test_rounds__advance_with_the_clock() -> None:
    close = QUARTER_HOURS.close(5)
    opens = QUARTER_HOURS.price_opens(5)

    assert [QUARTER_HOURS.report_round(5, close + s) for s in (0, 59, 60, 600)] == [0, 0, 1, 10]
    assert [QUARTER_HOURS.price_round(5, opens + s) for s in (0, 59, 60, 600)] == [0, 0, 1, 10]


def test_rounds__too_early__raise() -> None:
    with pytest.raises(ScheduleError, match="reports on period 5 open at"):
        QUARTER_HOURS.report_round(5, QUARTER_HOURS.close(5) - 1)
    with pytest.raises(ScheduleError, match=r"prices of period 5 open at \d+, 1 s"):
        QUARTER_HOURS.price_round(5, QUARTER_HOURS.price_opens(5) - 1)


def test_primary__rotates_over_seats_by_period_and_round() -> None:
    assert [primary(period, 0, 4) for period in range(5)] == [0, 1, 2, 3, 0]
    assert [primary(3, round_index, 4) for round_index in range(3)] == [3, 0, 1]

    close, opens = QUARTER_HOURS.close(3), QUARTER_HOURS.price_opens(3)
    assert QUARTER_HOURS.report_primary(3, close + 60, seats=4) == 0
    assert QUARTER_HOURS.price_primary(3, opens + 125, seats=4) == 1


@given(st.integers(0, 10**6), st.integers(1, 50))
def test_primary__gives_every_seat_a_turn(period: int, seats: int) -> None:
    assert {primary(period, round_index, seats) for round_index in range(seats)} == set(
        range(seats)
    )


def test_primary__without_seats__raises() -> None:
    with pytest.raises(ScheduleError, match="committee of 0 seats"):
        primary(1, 0, 0)


@pytest.mark.parametrize(
    "name",
    [
        "epoch_s",
        "length_s",
        "price_horizon_s",
        "price_lead_s",
        "gate_lead_s",
        "round_length_s",
        "settle_deadline_s",
        "window_s",
    ],
)
@pytest.mark.parametrize("value", [0, -5])
def test_schedule__not_positive__names_the_parameter(name: str, value: int) -> None:
    values = {field: getattr(QUARTER_HOURS, field) for field in Schedule.__slots__}

    with pytest.raises(ScheduleError, match=f"{name} is {value}"):
        Schedule(**(values | {name: value}))


@pytest.mark.parametrize(
    ("horizon_s", "lead_s", "gate_s"), [(3_600, 3_600, 300), (7_200, 300, 300), (7_200, 200, 300)]
)
def test_schedule__leads_out_of_order__raises(horizon_s: int, lead_s: int, gate_s: int) -> None:
    with pytest.raises(ScheduleError, match="price_horizon_s > price_lead_s > gate_lead_s"):
        replace(QUARTER_HOURS, price_horizon_s=horizon_s, price_lead_s=lead_s, gate_lead_s=gate_s)


def test_schedule__window_not_beyond_deadline__raises() -> None:
    with pytest.raises(ScheduleError, match="must exceed settle_deadline_s"):
        replace(QUARTER_HOURS, window_s=1_800)


def test_schedule__epoch_before_the_horizon__raises() -> None:
    with pytest.raises(ScheduleError, match="before the clock begins"):
        replace(QUARTER_HOURS, epoch_s=7_199)
