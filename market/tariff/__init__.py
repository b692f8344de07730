"""Peng's two-part real-time tariff (Eq. 1-7), its calibration, and a day of chain prices."""

from market.tariff.calibration import (
    Calibration,
    CalibrationError,
    InputRecord,
    Origin,
    Solve,
    calibrate,
)
from market.tariff.inputs import (
    PAIRED_MIX,
    Annuity,
    FreeInputs,
    Sections,
    TariffError,
    TariffInputError,
    TariffInputs,
    Weather,
    WeatherMix,
    WeatherProfile,
)
from market.tariff.model import (
    Tariff,
    capacity_price,
    conventional_capacity_price,
    energy_price,
    section_price,
)
from market.tariff.paper import Paper, paper, read_paper
from market.tariff.schedule import day_ahead, trading_prices

__all__ = [
    "PAIRED_MIX",
    "Annuity",
    "Calibration",
    "CalibrationError",
    "FreeInputs",
    "InputRecord",
    "Origin",
    "Paper",
    "Sections",
    "Solve",
    "Tariff",
    "TariffError",
    "TariffInputError",
    "TariffInputs",
    "Weather",
    "WeatherMix",
    "WeatherProfile",
    "calibrate",
    "capacity_price",
    "conventional_capacity_price",
    "day_ahead",
    "energy_price",
    "paper",
    "read_paper",
    "section_price",
    "trading_prices",
]
