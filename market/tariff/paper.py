"""The inputs the paper prints, read from ``inputs.json`` beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from market.tariff.inputs import (
    Annuity,
    Sections,
    TariffError,
    TariffInputError,
    TariffInputs,
    Weather,
    WeatherProfile,
)


@dataclass(frozen=True)
class Paper:
    """Everything section V prints, read from the data file."""

    inputs: TariffInputs
    weather: Mapping[Weather, WeatherProfile]
    table_v_yuan_per_kwh: Sections[float]

    def inputs_for(self, annuity: Annuity) -> TariffInputs:
        """The printed inputs with the unit of I_j that fits a reading of Eq. 1.

        Dividing by A_0 gives a price of Table V's size only when I_j is 5000 yuan/kW; multiplying,
        only when it is the total of 5000 kyuan.
        """
        return self.inputs.with_investment_per_kw() if annuity is Annuity.TEXTBOOK else self.inputs


@cache
def paper() -> Paper:
    """The paper's own inputs.

    Raises:
        TariffError: The data file is missing or unusable.
    """
    return read_paper(Path(__file__).with_name("inputs.json"))


def read_paper(path: Path) -> Paper:
    """Read inputs in the layout of the shipped ``inputs.json``.

    A weather entry may carry `zero_added_at_hour`, which inserts the zero that is missing in print.

    Raises:
        TariffError: The file cannot be read, is no JSON, or lacks a key.
        TariffInputError: A value is unusable.
    """
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TariffError(
            f"cannot read {path}: {error.strerror}; restore the file or give another path"
        ) from error
    except ValueError as error:
        raise TariffError(
            f"{path} is not valid JSON ({error}); repair it or restore the shipped file"
        ) from error
    try:
        tables = {**raw["table_2"], **raw["table_4"], **raw["text"]}
        tables["construction_investments_kyuan"] = tuple(tables["construction_investments_kyuan"])
        names = {spec.name for spec in fields(TariffInputs)} - {"weighting_factor"}
        return Paper(
            inputs=TariffInputs(
                **{name: tables[name] for name in names},
                weighting_factor=Sections(**raw["table_3_weighting_factor"]),
            ),
            weather={weather: _profile(raw["weather"][weather.value]) for weather in Weather},
            table_v_yuan_per_kwh=Sections(**raw["table_5_yuan_per_kwh"]),
        )
    except TariffInputError as error:
        raise TariffError(f"{path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise TariffError(
            f"{path} lacks or misplaces {error}; compare it with the shipped inputs.json"
        ) from error


def _profile(raw: Mapping[str, Any]) -> WeatherProfile:
    entries = list(raw["distribution_myuan_per_kwh"])
    if "zero_added_at_hour" in raw:
        entries.insert(raw["zero_added_at_hour"], 0)
    return WeatherProfile(tuple(entries), raw["clearness_fraction"])
