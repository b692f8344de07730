"""The clamp, for any three prices and any benchmark."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from market.prices import (
    UINT32_MAX,
    Benchmark,
    ClampFlags,
    TradingPrices,
    clamp,
    to_uyuan_per_kwh,
)
from market.tariff import Sections, WeatherMix, calibrate, day_ahead

# Small numbers make ties and empty bands common; large ones reach the ends of the type.
uint32 = st.one_of(st.integers(0, 5), st.integers(0, UINT32_MAX), st.just(UINT32_MAX))


@st.composite
def benchmarks(draw: st.DrawFn) -> Benchmark:
    feed_in, selling, planned, compensation, retail = sorted(
        draw(st.tuples(uint32, uint32, uint32, uint32, uint32))
    )
    return Benchmark(feed_in, selling, planned, compensation, retail, draw(uint32))


trading = st.builds(TradingPrices, uint32, uint32, uint32)


@given(trading, benchmarks())
def test_clamp__order_always_holds(asked: TradingPrices, benchmark: Benchmark) -> None:
    prices, _ = clamp(asked, benchmark)

    assert (
        0
        <= benchmark.feed_in_uyuan_per_kwh
        == prices.feed_in_uyuan_per_kwh
        <= prices.selling_uyuan_per_kwh
        <= prices.planned_uyuan_per_kwh
        <= prices.compensation_uyuan_per_kwh
        <= prices.retail_uyuan_per_kwh
        == benchmark.retail_uyuan_per_kwh
    )
    assert prices.fee_uyuan_per_kwh == benchmark.fee_uyuan_per_kwh


@given(trading, benchmarks())
def test_clamp__twice__changes_nothing(asked: TradingPrices, benchmark: Benchmark) -> None:
    once, flags = clamp(asked, benchmark)
    again, flags_again = clamp(
        TradingPrices(
            once.selling_uyuan_per_kwh,
            once.planned_uyuan_per_kwh,
            once.compensation_uyuan_per_kwh,
        ),
        benchmark,
    )

    assert dataclasses.replace(again, clamp_flags=int(flags)) == once
    assert flags_again is ClampFlags.NONE


@given(trading, benchmarks())
def test_clamp__flags__exactly_when_changed(asked: TradingPrices, benchmark: Benchmark) -> None:
    prices, flags = clamp(asked, benchmark)

    changed = {
        ClampFlags.SELLING: asked.selling_uyuan_per_kwh != prices.selling_uyuan_per_kwh,
        ClampFlags.PLANNED: asked.planned_uyuan_per_kwh != prices.planned_uyuan_per_kwh,
        ClampFlags.COMPENSATION: (
            asked.compensation_uyuan_per_kwh != prices.compensation_uyuan_per_kwh
        ),
    }
    assert {flag: flag in flags for flag in changed} == changed
    assert prices.clamp_flags == int(flags)


@given(benchmarks())
def test_clamp__the_benchmarks_own_prices__pass_untouched(benchmark: Benchmark) -> None:
    asked = TradingPrices(
        benchmark.selling_uyuan_per_kwh,
        benchmark.planned_uyuan_per_kwh,
        benchmark.compensation_uyuan_per_kwh,
    )

    assert clamp(asked, benchmark)[1] is ClampFlags.NONE


@given(st.floats(0, 4294.9))
def test_to_uyuan__is_within_half_a_unit(price_yuan_per_kwh: float) -> None:
    rounded = to_uyuan_per_kwh(price_yuan_per_kwh)

    assert abs(rounded - price_yuan_per_kwh * 1e6) <= 0.5


@given(
    st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda shares: sum(shares) <= 1),
    benchmarks(),
)
def test_day_ahead__any_weather_and_benchmark__is_ordered(
    shares: tuple[float, float], benchmark: Benchmark
) -> None:
    sunny, cloudy = shares
    mix = WeatherMix(sunny, cloudy, 1 - sunny - cloudy)

    day = day_ahead(calibrate().tariff, mix, benchmark)

    assert len(day) == 96
    for prices in day:
        assert prices.feed_in_uyuan_per_kwh <= prices.selling_uyuan_per_kwh
        assert prices.compensation_uyuan_per_kwh <= prices.retail_uyuan_per_kwh


@given(
    st.floats(0.18, 1.0),
    st.floats(0.18, 1.0),
    st.floats(0.18, 1.0),
)
def test_calibrate__any_reachable_target__is_reached(
    compensation: float, planned: float, selling: float
) -> None:
    target = Sections(compensation, planned, selling)

    averages = calibrate(target, solve="hours", annuity="as_printed").tariff.averages()

    for section, price in target.items():
        assert abs(averages.get(section) - price) < 1e-9
