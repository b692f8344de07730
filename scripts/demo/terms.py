"""The terms of the demo's market: its calendar, its bounds, and what everybody deposits."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from market.prices import Benchmark, Limits
from market.schedule import Schedule

YUAN = 1_000_000
"""Micro-yuan."""

PERIOD_S = 900
PERIODS_PER_DAY = 96

ZONE = timezone(timedelta(hours=2), "CEST")
"""Local time of the profiles in July."""

FIRST_MIDNIGHT = datetime(2016, 7, 18, tzinfo=ZONE)
"""Row 0 of the profiles."""

STORY_PERIODS = (1, 2, 3)
"""As planned, short and over; period 0 is running when the market opens and has no book."""

FIRST = 7
"""The day's first period. Once the story is told, the gate of the last period before it closes, and
a whole day can be ordered ahead."""

PRICE_LEAD_S = 7 * PERIOD_S
"""The day's first period can still be voted on when the story's are past their price deadline, so
that their benchmark stands."""

PRICES_BEFORE = 8
"""Periods between the vote on the day's prices and the day."""

PRICE_HORIZON_S = 30 * 3600
"""Prices open so early that one vote can fix a whole day, before the first of them is due."""

OPENING_LEAD_S = 2 * 3600
"""The market is deployed this long before any price opens, in time for the day's benchmark."""

LIMITS = Limits(price_cap_uyuan_per_kwh=1_500_000, fee_cap_uyuan_per_kwh=100_000)

STORY_BENCHMARK = Benchmark(
    feed_in_uyuan_per_kwh=100_000,
    selling_uyuan_per_kwh=329_700,
    planned_uyuan_per_kwh=437_900,
    compensation_uyuan_per_kwh=535_900,
    retail_uyuan_per_kwh=800_000,
    fee_uyuan_per_kwh=0,
)
"""Peng's Table V with a grid company around it; the paper knows no fee."""

GRID_DEPOSIT_UYUAN = 100_000 * YUAN

LEAST_DEPOSIT_UYUAN = 100 * YUAN


def deposit_uyuan(capacities_wh: tuple[int, int]) -> int:
    """Return what a node deposits: what it can lock if it orders a whole day at capacity."""
    most = LIMITS.price_cap_uyuan_per_kwh + LIMITS.fee_cap_uyuan_per_kwh
    return LEAST_DEPOSIT_UYUAN + PERIODS_PER_DAY * sum(capacities_wh) * most // 1000


def midnight_s(day: int) -> int:
    """Return the Unix second at which a day of the profiles begins, local time."""
    return int((FIRST_MIDNIGHT + timedelta(days=day)).timestamp())


def schedule_of(day: int, first_period: int) -> Schedule:
    """Return the schedule under which a period begins at a day's midnight.

    Args:
        day: Day of the profiles, from 0.
        first_period: Index of the day's first period.
    """
    return Schedule(
        epoch_s=midnight_s(day) - first_period * PERIOD_S,
        length_s=PERIOD_S,
        price_horizon_s=PRICE_HORIZON_S,
        price_lead_s=PRICE_LEAD_S,
        gate_lead_s=PERIOD_S,
        round_length_s=60,
        settle_deadline_s=3_600,
        window_s=86_400,
    )


def clock_text(instant_s: int) -> str:
    """Write an instant as local day and time."""
    return datetime.fromtimestamp(instant_s, ZONE).strftime("%d %b %H:%M")
