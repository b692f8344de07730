"""Fig. 3 as data and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from market.tariff.inputs import ALL_HOURS, Weather, WeatherMix
from market.tariff.model import Tariff

CURVE_COLUMNS: Final = (
    "weather",
    "hour",
    "peak_yuan_per_kwh",
    "flat_yuan_per_kwh",
    "valley_yuan_per_kwh",
)


def write_curves(tariff: Tariff, path: Path) -> None:
    """Write the three curves of the three weathers as CSV, 72 rows in the columns `CURVE_COLUMNS`.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CURVE_COLUMNS)
        for kind in Weather:
            for hour, prices in enumerate(tariff.curve(WeatherMix.only(kind))):
                writer.writerow([kind, hour, *(f"{price:.6f}" for _, price in prices.items())])


def plot_curves(tariff: Tariff, path: Path) -> None:
    """Draw Fig. 3 for each weather, with the paper's colours: peak blue, flat red, valley green.

    Raises:
        OSError: The file cannot be written.
        ValueError: The suffix is no picture format.
    """
    # Loaded here so that reading prices does not cost the start-up time of the plotting library.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(Weather), sharey=True)
    edges = [*ALL_HOURS, len(ALL_HOURS)]
    for panel, kind in zip(panels, Weather, strict=True):
        curve = tariff.curve(WeatherMix.only(kind))
        for section, label, colour in (
            ("compensation", "peak: compensation P_c", "tab:blue"),
            ("planned", "flat: planned P_p", "tab:red"),
            ("selling", "valley: selling P_s", "tab:green"),
        ):
            panel.stairs(
                [prices.get(section) for prices in curve],
                edges,
                label=label,
                color=colour,
                baseline=None,
            )
        panel.set(
            title=f"{kind} day", xlabel="hour", xlim=(0, 24), xticks=range(0, 25, 4), ylim=(0, None)
        )
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("yuan/kWh")
    panels[-1].legend(fontsize="small")
    figure.savefig(path, dpi=90)
