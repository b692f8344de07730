"""What a member expects to draw or feed in: the persistence forecast."""

from collections.abc import Mapping

DAY_S = 86_400


class MissingHistoryError(LookupError):
    """The period a forecast rests on has no reading."""

    def __init__(self, period: int, needed: int) -> None:
        """Name both periods."""
        self.period, self.needed = period, needed
        super().__init__(
            f"no energy is known for period {needed}, one day before period {period}. "
            "Load the day before, or trade only from the second day on."
        )


def periods_per_day(period_s: int) -> int:
    """Return how many periods a day has.

    Args:
        period_s: length of a period in seconds; must divide a day.

    Raises:
        ValueError: a day is not a whole number of such periods.
    """
    if period_s < 1 or DAY_S % period_s:
        raise ValueError(f"a period of {period_s} s does not divide a day: use 900, 1800 or 3600")
    return DAY_S // period_s


def persistence_wh(history_wh: Mapping[int, int], period: int, period_s: int = 900) -> int:
    """Return the energy expected in a period: that of the same period yesterday.

    Yesterday is 24 hours ago, whatever the local clock did in between.

    Args:
        history_wh: energy of one meter in one direction by period, in Wh.
        period: index of the trading interval to forecast.
        period_s: length of a period in seconds.

    Raises:
        MissingHistoryError: yesterday's period is not in the history.
        ValueError: a day is not a whole number of periods.
    """
    needed = period - periods_per_day(period_s)
    try:
        return history_wh[needed]
    except KeyError:
        raise MissingHistoryError(period, needed) from None
