"""The persistence forecast."""

import pytest

from market.forecast import MissingHistoryError, periods_per_day, persistence_wh


def test_persistence__is_the_same_quarter_hour_of_yesterday() -> None:
    history_wh = {period: period * 3 for period in range(96)}
    assert [persistence_wh(history_wh, 96 + q) for q in range(96)] == [q * 3 for q in range(96)]


def test_persistence__with_another_length_of_period__goes_back_a_day() -> None:
    assert persistence_wh({1: 11, 73: 5}, 25, period_s=3600) == 11


def test_persistence__zero_is_a_forecast() -> None:
    assert persistence_wh({4: 0}, 100) == 0


def test_persistence__yesterday_missing__names_the_period_and_the_remedy() -> None:
    with pytest.raises(MissingHistoryError, match="period 4, one day before period 100") as caught:
        persistence_wh({5: 1}, 100)
    assert (caught.value.period, caught.value.needed) == (100, 4)
    assert "second day" in str(caught.value)


@pytest.mark.parametrize(("period_s", "expected"), [(900, 96), (1800, 48), (3600, 24), (1, 86_400)])
def test_periods_per_day__divides_the_day(period_s: int, expected: int) -> None:
    assert periods_per_day(period_s) == expected


@pytest.mark.parametrize("period_s", [0, -900, 7, 86_401])
def test_periods_per_day__not_a_part_of_a_day__is_refused(period_s: int) -> None:
    with pytest.raises(ValueError, match="does not divide a day"):
        periods_per_day(period_s)
