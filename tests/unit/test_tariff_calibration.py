"""Table V is reached by every calibration that has a usable solution, and the others say why."""

import json
import math
from pathlib import Path

import pytest

from market.tariff import (
    PAIRED_MIX,
    Annuity,
    CalibrationError,
    Origin,
    Sections,
    Solve,
    TariffError,
    TariffInputError,
    Weather,
    WeatherMix,
    calibrate,
    paper,
    read_paper,
)

INPUTS = Path(__file__).parents[2] / "market" / "tariff" / "inputs.json"
TABLE_V = Sections(0.5359, 0.4379, 0.3297)
EQUAL = Sections.same(WeatherMix.equal())


@pytest.mark.parametrize("mix", [EQUAL, PAIRED_MIX], ids=["equal", "paired"])
@pytest.mark.parametrize(
    ("annuity", "solve"),
    [
        (Annuity.AS_PRINTED, Solve.HOURS),
        (Annuity.AS_PRINTED, Solve.INCENTIVE_AND_HOURS),
        (Annuity.TEXTBOOK, Solve.HOURS),
        (Annuity.TEXTBOOK, Solve.ENERGY_INDEX),
    ],
)
def test_calibrate__reaches_table_v(
    annuity: Annuity, solve: Solve, mix: Sections[WeatherMix]
) -> None:
    averages = calibrate(annuity=annuity, solve=solve, weather_mix=mix).tariff.averages()

    for section, price in TABLE_V.items():
        assert averages.get(section) == pytest.approx(price, abs=1e-9)


def test_calibrate__own_hour_bands__reaches_table_v() -> None:
    bands = Sections((8, 9, 10, 18, 19), (6, 7, 11, 12, 13, 14, 15, 16, 17), (0, 1, 2, 3, 4, 5))
    averages = calibrate(
        solve=Solve.HOURS,
        hour_bands=bands,
        weather_mix=Sections.same(WeatherMix.only(Weather.RAINY)),
    ).tariff.averages()

    for section, price in TABLE_V.items():
        assert averages.get(section) == pytest.approx(price, abs=1e-9)


def test_calibrate__incentive_and_hours__keeps_the_printed_mean_of_2000_hours() -> None:
    free = calibrate(solve=Solve.INCENTIVE_AND_HOURS).tariff.free

    hours = [value for _, value in free.section_h_per_year.items()]
    assert math.fsum(hours) / 3 == pytest.approx(2000, rel=1e-12)
    assert free.incentive_yuan_per_kw > 0


def test_calibrate__energy_index__keeps_2000_hours_in_every_section() -> None:
    free = calibrate(annuity="textbook", solve="energy_index").tariff.free

    assert free.section_h_per_year == Sections.same(2000)
    assert free.energy_index is not None
    assert all(0 < index < 1 for _, index in free.energy_index.items())


def test_calibrate__paired_weather__needs_nearly_one_capacity_price_for_all_sections() -> None:
    calibration = calibrate(annuity="textbook", solve="hours", weather_mix=PAIRED_MIX)
    tariff = calibration.tariff
    fixed = [tariff.prices_at(0, PAIRED_MIX.planned).get(section) for section, _ in TABLE_V.items()]

    assert max(fixed) - min(fixed) < 0.0061


def test_records__say_what_is_printed_assumed_and_solved() -> None:
    origins = {record.symbol: record.origin for record in calibrate().records() if record.symbol}

    solved = {symbol for symbol, origin in origins.items() if origin is Origin.SOLVED}
    assert solved == {"f_s", "t_c", "t_p", "t_s"}
    assert origins["A_0"] is Origin.PRINTED
    assert origins["epsilon_sunny"] is Origin.PRINTED


def test_records__energy_index__lists_it_in_place_of_the_clearness() -> None:
    records = calibrate(annuity="textbook", solve="energy_index").records()
    origins = {record.symbol: record.origin for record in records}

    solved = {symbol for symbol, origin in origins.items() if origin is Origin.SOLVED}
    assert solved == {"epsilon_c", "epsilon_p", "epsilon_s"}
    assert origins["f_s"] is Origin.ASSUMED
    assert origins["t_c"] is Origin.PRINTED
    assert "epsilon_sunny" not in origins


def test_records__own_inputs__are_not_called_printed() -> None:
    records = calibrate(
        solve="hours", inputs=paper().inputs.with_investment_per_kw(), annuity="textbook"
    ).records()
    same = {record.origin for record in records if record.symbol == "Q"}
    mixed = calibrate(
        solve="hours", inputs=paper().inputs, annuity="textbook", incentive_yuan_per_kw=1000.0
    ).records()
    other = {record.origin for record in mixed if record.symbol == "Q"}

    assert same == {Origin.PRINTED}
    assert other == {Origin.ASSUMED}


def test_calibrate__negative_incentive__raises_with_a_way_round() -> None:
    with pytest.raises(CalibrationError, match=r"f_s would be -194.*solve='hours'"):
        calibrate(annuity="textbook", solve="incentive_and_hours")


def test_calibrate__index_above_one__raises() -> None:
    with pytest.raises(CalibrationError, match="index outside 0 to 1"):
        calibrate(annuity="as_printed", solve="energy_index")


def test_calibrate__target_below_the_energy_price__raises() -> None:
    with pytest.raises(CalibrationError, match=r"selling target 0.1 .*does not exceed"):
        calibrate(Sections(0.5, 0.4, 0.1))


def test_calibrate__hours_beyond_a_year__raises() -> None:
    with pytest.raises(CalibrationError, match="hours would be"):
        calibrate(solve="hours", incentive_yuan_per_kw=50_000.0)


def test_calibrate__nan_target__raises() -> None:
    with pytest.raises(TariffInputError, match=r"target.planned = nan is not finite"):
        calibrate(Sections(0.5, math.nan, 0.3))


def test_read_paper__shipped_file__holds_the_sunny_vector_as_printed() -> None:
    sunny = json.loads(INPUTS.read_text())["weather"]["sunny"]

    assert len(sunny["distribution_myuan_per_kwh"]) == 23
    assert paper().table_v_yuan_per_kwh == TABLE_V


def test_read_paper__without_the_added_zero__raises_and_names_the_file(tmp_path: Path) -> None:
    raw = json.loads(INPUTS.read_text())
    del raw["weather"]["sunny"]["zero_added_at_hour"]
    path = tmp_path / "short.json"
    path.write_text(json.dumps(raw))

    with pytest.raises(TariffError, match=r"short\.json.*23 entries"):
        read_paper(path)


def test_read_paper__nan_in_the_file__raises(tmp_path: Path) -> None:
    raw = json.loads(INPUTS.read_text())
    raw["table_2"]["installed_capacity_mw"] = math.nan
    path = tmp_path / "nan.json"
    path.write_text(json.dumps(raw))

    with pytest.raises(TariffError, match=r"installed_capacity_mw = nan is not finite"):
        read_paper(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"table_2": {', "not valid JSON"), ("{}", "lacks or misplaces 'table_2'")],
    ids=["cut", "empty"],
)
def test_read_paper__unusable_file__raises_and_names_it(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "inputs.json"
    path.write_text(content)

    with pytest.raises(TariffError, match=message):
        read_paper(path)


def test_read_paper__missing_file__raises_and_names_it(tmp_path: Path) -> None:
    with pytest.raises(TariffError, match=r"cannot read .*absent\.json"):
        read_paper(tmp_path / "absent.json")
