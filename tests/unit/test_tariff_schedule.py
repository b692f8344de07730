"""What leaves the tariff: integer prices, a clamped day, files and the command line."""

import csv
import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest

from market.prices import (
    UINT32_MAX,
    Benchmark,
    ClampFlags,
    Limits,
    PeriodPrices,
    PriceError,
    PriceOrderError,
    PriceValueError,
    TradingPrices,
    clamp,
    to_uyuan_per_kwh,
)
from market.tariff import (
    Sections,
    TariffError,
    TariffInputError,
    Weather,
    WeatherMix,
    calibrate,
    day_ahead,
    trading_prices,
)
from market.tariff.output import CURVE_COLUMNS, plot_curves, write_curves

ROOT = Path(__file__).parents[2]
WIDE = Benchmark(0, 300_000, 400_000, 500_000, 2_000_000, 20_000)
NARROW = Benchmark(350_000, 400_000, 450_000, 500_000, 600_000, 20_000)


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "market.tariff", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("yuan", "uyuan"),
    [
        (0.4379, 437_900),
        (0.0000005, 0),
        (0.0000015, 2),
        (0.0000025, 2),
        (0.0, 0),
        (4294.967295, UINT32_MAX),
    ],
)
def test_to_uyuan__rounds_half_to_even(yuan: float, uyuan: int) -> None:
    assert to_uyuan_per_kwh(yuan) == uyuan


@pytest.mark.parametrize("yuan", [math.nan, math.inf, -math.inf, -0.01, 4294.967296])
def test_to_uyuan__unusable_price__raises(yuan: float) -> None:
    with pytest.raises(PriceValueError, match="whole number of micro-yuan"):
        to_uyuan_per_kwh(yuan)


def test_trading_prices__of_table_v__are_its_micro_yuan() -> None:
    prices = trading_prices(Sections(0.5359, 0.4379, 0.3297))

    assert prices == TradingPrices(329_700, 437_900, 535_900)


@pytest.mark.parametrize(
    ("asked", "expected", "flags"),
    [
        ((400_000, 450_000, 500_000), (400_000, 450_000, 500_000), ClampFlags.NONE),
        ((300_000, 450_000, 500_000), (350_000, 450_000, 500_000), ClampFlags.SELLING),
        ((400_000, 450_000, 700_000), (400_000, 450_000, 600_000), ClampFlags.COMPENSATION),
        ((400_000, 700_000, 600_000), (400_000, 600_000, 600_000), ClampFlags.PLANNED),
        ((500_000, 450_000, 400_000), (450_000, 450_000, 450_000), ClampFlags(5)),
        ((0, 0, 0), (350_000, 350_000, 350_000), ClampFlags(7)),
    ],
)
def test_clamp__by_hand(
    asked: tuple[int, int, int], expected: tuple[int, int, int], flags: ClampFlags
) -> None:
    prices, changed = clamp(TradingPrices(*asked), NARROW)

    assert prices == PeriodPrices(350_000, *expected, 600_000, 20_000, int(flags))
    assert changed is flags


def test_benchmark__out_of_order__names_both_fields_and_values() -> None:
    with pytest.raises(PriceOrderError) as caught:
        dataclasses.replace(NARROW, planned_uyuan_per_kwh=390_000)

    assert caught.value.lower_name == "selling_uyuan_per_kwh"
    assert caught.value.upper_value == 390_000
    assert "selling_uyuan_per_kwh = 400000 is above planned_uyuan_per_kwh = 390000" in str(
        caught.value
    )
    assert "lower selling_uyuan_per_kwh to at most 390000" in str(caught.value)


@pytest.mark.parametrize("value", [-1, UINT32_MAX + 1, 1.5, True])
def test_benchmark__fee_outside_uint32__raises(value: object) -> None:
    with pytest.raises(PriceValueError, match="fee_uyuan_per_kwh"):
        dataclasses.replace(NARROW, fee_uyuan_per_kwh=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("flags", [8, -1])
def test_period_prices__unknown_flags__raise(flags: int) -> None:
    with pytest.raises(PriceError, match="not a sum of clamp bits"):
        PeriodPrices(1, 2, 3, 4, 5, 6, flags)


def test_period_prices__of_a_benchmark__are_it_unclamped() -> None:
    prices = PeriodPrices.from_benchmark(NARROW)

    assert prices == PeriodPrices(350_000, 400_000, 450_000, 500_000, 600_000, 20_000, 0)


def test_limits__retail_above_the_cap__raises() -> None:
    with pytest.raises(PriceOrderError, match=r"retail.*600000 is above price_cap.*599999"):
        Limits(599_999, 20_000).check(NARROW)


def test_limits__fee_above_the_cap__raises() -> None:
    with pytest.raises(PriceOrderError, match=r"fee_uyuan.*20000 is above fee_cap.*19999"):
        Limits(600_000, 19_999).check(NARROW)


def test_limits__at_the_caps__passes_unchanged() -> None:
    limits = Limits(600_000, 20_000)

    day = day_ahead(calibrate().tariff, Weather.RAINY, NARROW, limits=limits)

    assert {prices.retail_uyuan_per_kwh for prices in day} == {600_000}


def test_day_ahead__wide_benchmark__is_the_curve_four_times_an_hour() -> None:
    tariff = calibrate().tariff
    day = day_ahead(tariff, Weather.SUNNY, WIDE)

    assert len(day) == 96
    for period, prices in enumerate(day):
        hour = tariff.prices_at(period // 4, WeatherMix.only(Weather.SUNNY))
        assert prices.clamp_flags == 0
        assert prices.selling_uyuan_per_kwh == round(hour.selling * 1e6)
        assert prices.planned_uyuan_per_kwh == round(hour.planned * 1e6)
        assert prices.compensation_uyuan_per_kwh == round(hour.compensation * 1e6)


def test_day_ahead__narrow_benchmark__flags_night_and_noon() -> None:
    day = day_ahead(calibrate().tariff, Weather.SUNNY, NARROW)

    assert day[0].clamp_flags == ClampFlags.SELLING | ClampFlags.PLANNED
    assert day[12 * 4].clamp_flags == 7
    assert day[12 * 4].planned_uyuan_per_kwh == 600_000


def test_day_ahead__first_hour__shifts_the_local_day() -> None:
    tariff = calibrate().tariff
    local = day_ahead(tariff, Weather.CLOUDY, WIDE)

    assert day_ahead(tariff, Weather.CLOUDY, WIDE, first_hour=8) == local[32:] + local[:32]


def test_day_ahead__one_benchmark_each__uses_its_own() -> None:
    benchmarks = [WIDE] * 95 + [NARROW]

    day = day_ahead(calibrate().tariff, WeatherMix.equal(), benchmarks)

    assert [prices.retail_uyuan_per_kwh for prices in day] == [2_000_000] * 95 + [600_000]


def test_day_ahead__too_few_benchmarks__raises() -> None:
    with pytest.raises(TariffError, match="95 benchmarks for 96 periods"):
        day_ahead(calibrate().tariff, Weather.SUNNY, [WIDE] * 95)


@pytest.mark.parametrize("periods", [0, 95, -24])
def test_day_ahead__periods_not_dividing_the_hours__raises(periods: int) -> None:
    with pytest.raises(TariffInputError, match="not a multiple of 24"):
        day_ahead(calibrate().tariff, Weather.SUNNY, WIDE, periods=periods)


def test_day_ahead__first_hour_outside_the_day__raises() -> None:
    with pytest.raises(TariffInputError, match="first_hour = 24"):
        day_ahead(calibrate().tariff, Weather.SUNNY, WIDE, first_hour=24)


def test_write_curves__equals_the_shipped_file(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    write_curves(calibrate().tariff, path)

    rows = list(csv.reader(path.open(encoding="utf-8")))
    assert tuple(rows[0]) == CURVE_COLUMNS
    assert len(rows) == 1 + 3 * 24
    assert path.read_bytes() == (ROOT / "data" / "peng" / "fig3_curves.csv").read_bytes()


def test_plot_curves__writes_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "fig3.png"
    plot_curves(calibrate().tariff, path)

    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 5_000


def test_cli__calibrate__prints_table_v_and_the_origins() -> None:
    result = run_cli("calibrate")

    assert result.returncode == 0, result.stderr
    assert "437900 uyuan/kWh" in result.stdout
    assert {line.split()[0] for line in result.stdout.splitlines()[:10]} == {"printed"}
    assert "solved    incentive" in result.stdout


def test_cli__table__shows_both_readings() -> None:
    result = run_cli("table")

    assert result.returncode == 0, result.stderr
    assert "as_printed, I_j total       371.518   0.1858" in result.stdout
    assert "textbook, I_j per kW       1031.307   0.5157" in result.stdout


def test_cli__curves__writes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    result = run_cli("curves", "--out", str(path), "--mix", "paired")

    assert result.returncode == 0, result.stderr
    assert len(path.read_text().splitlines()) == 73


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate", "--mix", "foggy"], "is not a weather mix"),
        (["calibrate", "--incentive", "nan", "--solve", "hours"], "is not finite"),
        (["calibrate", "--annuity", "textbook"], "cannot be negative"),
        (["plot", "--out", "/nowhere/fig3.png"], "writable directory"),
    ],
)
def test_cli__bad_argument__explains_without_a_traceback(
    arguments: list[str], message: str
) -> None:
    result = run_cli(*arguments)

    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
