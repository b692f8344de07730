"""Command line of the tariff: ``python -m market.tariff --help``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from market.prices import PriceError
from market.tariff.calibration import Calibration, CalibrationError, Solve, calibrate
from market.tariff.inputs import (
    PAIRED_MIX,
    Annuity,
    Sections,
    TariffError,
    TariffInputError,
    Weather,
    WeatherMix,
)
from market.tariff.model import Tariff, conventional_capacity_price
from market.tariff.output import plot_curves, write_curves
from market.tariff.paper import paper
from market.tariff.schedule import trading_prices

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Price electricity as Peng, Duan and Xiao do: a two-part tariff (Eq. 1-7).

The price of an hour is the plant's fixed cost spread over its hours of use, plus an energy price
that follows the day's weather. Three sets of parameters give three prices: **peak** is what a
shortage pays (P_c), **flat** is the planned price (P_p), **valley** is what a surplus earns (P_s).

The paper leaves inputs open, so every command first calibrates: it solves them so that the
averages are Table V (0.5359, 0.4379, 0.3297 yuan/kWh), and `calibrate` says which inputs are
printed, assumed and solved.

Try: `table`, then `calibrate`, then `curves --out curves.csv` and `plot --out fig3.png`.""",
)

AnnuityOption = Annotated[
    Annuity,
    typer.Option(
        help="Eq. 1: multiply by A_0 with I_j as a total (as_printed), "
        "or divide with I_j per kW (textbook)."
    ),
]
SolveOption = Annotated[
    Solve,
    typer.Option(
        help="What to solve: the hours t_c, t_p, t_s; these and f_s with a mean of 2000 h; "
        "or epsilon_c, epsilon_p, epsilon_s at 2000 h."
    ),
]
IncentiveOption = Annotated[float, typer.Option(help="f_s in yuan/kW, where it is not solved.")]
MixOption = Annotated[
    str,
    typer.Option(
        help="Days averaged for Table V: equal, sunny, cloudy, rainy, three shares such as "
        "0.5,0.3,0.2, or paired (peak over sunny, flat over cloudy, valley over rainy days)."
    ),
]
OutOption = Annotated[Path, typer.Option(help="File to write; an existing one is replaced.")]


def _parse_mix(text: str) -> Sections[WeatherMix]:
    if text == "paired":
        return PAIRED_MIX
    if text == "equal":
        return Sections.same(WeatherMix.equal())
    if text in list(Weather):
        return Sections.same(WeatherMix.only(Weather(text)))
    try:
        sunny, cloudy, rainy = (float(share) for share in text.split(","))
    except ValueError:
        raise TariffInputError(
            "mix",
            text,
            "is not a weather mix",
            "give equal, paired, sunny, cloudy, rainy, or shares such as 0.5,0.3,0.2",
        ) from None
    return Sections.same(WeatherMix(sunny, cloudy, rainy))


@app.command()
def curves(
    out: OutOption = Path("curves.csv"),
    annuity: AnnuityOption = Annuity.AS_PRINTED,
    solve: SolveOption = Solve.INCENTIVE_AND_HOURS,
    incentive: IncentiveOption = 0.0,
    mix: MixOption = "equal",
) -> None:
    """Write Fig. 3 as CSV: peak, flat and valley price of 24 hours, for the three weathers."""
    _write(_calibration(annuity, solve, incentive, mix).tariff, out, write_curves)


@app.command()
def plot(
    out: OutOption = Path("fig3.png"),
    annuity: AnnuityOption = Annuity.AS_PRINTED,
    solve: SolveOption = Solve.INCENTIVE_AND_HOURS,
    incentive: IncentiveOption = 0.0,
    mix: MixOption = "equal",
) -> None:
    """Draw Fig. 3: the three curves, one panel for each weather."""
    _write(_calibration(annuity, solve, incentive, mix).tariff, out, plot_curves)


@app.command("calibrate")
def calibrate_command(
    annuity: AnnuityOption = Annuity.AS_PRINTED,
    solve: SolveOption = Solve.INCENTIVE_AND_HOURS,
    incentive: IncentiveOption = 0.0,
    mix: MixOption = "equal",
) -> None:
    """Solve the open inputs for Table V and list every input as printed, assumed or solved."""
    calibration = _calibration(annuity, solve, incentive, mix)
    for record in calibration.records():
        typer.echo(
            f"{record.origin:8}  {record.name:28}  {record.symbol:15}  {record.value} {record.unit}"
        )
    typer.echo()
    averages = calibration.tariff.averages()
    on_chain = trading_prices(averages)
    typer.echo("section        Table V    average        on chain")
    for section, price in averages.items():
        target = calibration.target_yuan_per_kwh.get(section)
        rounded = getattr(on_chain, f"{section}_uyuan_per_kwh")
        typer.echo(f"{section:13}  {target:.4f}     {price:.10f}   {rounded} uyuan/kWh")


@app.command()
def table() -> None:
    """Show both readings of Eq. 1 side by side, and which calibrations reach Table V."""
    try:
        printed = paper().inputs
        typer.echo("Eq. 1 without f_s       F_C yuan/kW   F_C / 2000 h yuan/kWh")
        for annuity in Annuity:
            for unit, inputs in (("total", printed), ("per kW", printed.with_investment_per_kw())):
                price = conventional_capacity_price(inputs, annuity)
                label = f"{annuity}, I_j {unit}"
                typer.echo(
                    f"{label:22}  {price:11.3f}   {price / inputs.utilisation_h_per_year:.4f}"
                )
    except TariffError as error:
        raise _fail(error) from None
    typer.echo()
    typer.echo(
        "calibration to Table V                     f_s      t_c   t_p   t_s   epsilon_c,p,s"
    )
    for annuity in Annuity:
        for solve in Solve:
            for mix in ("equal", "paired"):
                typer.echo(f"{annuity:10}  {solve:19}  {mix:6}  {_outcome(annuity, solve, mix)}")


def _outcome(annuity: Annuity, solve: Solve, mix: str) -> str:
    try:
        free = calibrate(annuity=annuity, solve=solve, weather_mix=_parse_mix(mix)).tariff.free
    except CalibrationError as error:
        return f"none: {str(error).partition(';')[0]}"
    hours = " ".join(f"{value:5.0f}" for _, value in free.section_h_per_year.items())
    index = "clearness of the day"
    if free.energy_index is not None:
        index = " ".join(f"{value:.4f}" for _, value in free.energy_index.items())
    return f"{free.incentive_yuan_per_kw:6.1f}  {hours}   {index}"


def _calibration(annuity: Annuity, solve: Solve, incentive: float, mix: str) -> Calibration:
    try:
        return calibrate(
            annuity=annuity,
            solve=solve,
            incentive_yuan_per_kw=incentive,
            weather_mix=_parse_mix(mix),
        )
    except (TariffError, PriceError) as error:
        raise _fail(error) from None


def _write(tariff: Tariff, out: Path, write: Callable[[Tariff, Path], None]) -> None:
    try:
        write(tariff, out)
    except OSError as error:
        raise _fail(
            f"cannot write {out}: {error.strerror}; give --out a path in a writable directory"
        ) from None
    except ValueError as error:
        raise _fail(f"cannot write {out}: {error}") from None
    typer.echo(f"wrote {out}")


def _fail(problem: object) -> typer.Exit:
    typer.echo(f"error: {problem}", err=True)
    return typer.Exit(2)


if __name__ == "__main__":
    sys.exit(app())
