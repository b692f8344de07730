"""Make `data/simbench-rural1/` and `data/simbench-rural3/` from the SimBench data set.

SimBench is heavy (381 MB installed) and no dependency of this project. To make an extract
again, give it an environment of its own:

    python3 -m venv /tmp/simbench-venv
    /tmp/simbench-venv/bin/pip install simbench==1.6.3
    /tmp/simbench-venv/bin/python scripts/extract_simbench.py rural1

It takes about a minute, most of it for the AC power flow whose result it prints day by day.
Written are the grid, `meters.csv` and `profiles.csv.gz`; their README explains them.
"""

import argparse
import csv
import gzip
import importlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

# A pandapower net and the tables of its profiles: both come untyped from SimBench's environment.
Net: TypeAlias = Any
Tables: TypeAlias = dict[Any, Any]

ROWS_PER_DAY = 96
ROWS_PER_HOUR = 4
CAPACITY_STEP_W = 100
TRAFO_KEYS = (
    "sn_mva",
    "vn_hv_kv",
    "vn_lv_kv",
    "vk_percent",
    "vkr_percent",
    "pfe_kw",
    "i0_percent",
    "shift_degree",
)


@dataclass(frozen=True)
class Extract:
    """What is taken from SimBench: a net, and its days from a label on."""

    code: str
    first_label: str
    days: int
    grid_file: str


# Labels are local time and jump with the clock twice a year, rows do not. July has no jump.
EXTRACTS = {
    "rural1": Extract("1-LV-rural1--2-no_sw", "18.07.2016 00:00", 14, "grid.json"),
    "rural3": Extract("1-LV-rural3--2-no_sw", "23.07.2016 00:00", 1, "grid.json.gz"),
}


@dataclass(frozen=True)
class Kind:
    """One table of the net: the role of its elements and the direction of their energy."""

    table: str
    prefix: str
    role: str
    exports: bool


# SimBench's storages are PV and battery behind one meter, run for self-consumption: in all 35,136
# quarter hours they feed in or rest (`p_mw <= 0`; pandapower counts storage power as load).
KINDS = (
    Kind("load", "load", "consumer", exports=False),
    Kind("sgen", "pv", "generator", exports=True),
    Kind("storage", "storage", "storage", exports=True),
)


@dataclass(frozen=True)
class Meter:
    """One element of the net, its capacities and its energy in Wh for every row of the extract."""

    meter: str
    element: str
    bus: int
    role: str
    import_capacity_w: int
    export_capacity_w: int
    import_wh: list[int]
    export_wh: list[int]
    var_per_w: float


def main() -> None:
    """Write the extract and print the AC power flow of its days."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extract", choices=sorted(EXTRACTS), help="which grid")
    parser.add_argument("--out", type=Path, help="directory (default: data/simbench-EXTRACT)")
    given = parser.parse_args()
    extract = EXTRACTS[given.extract]
    out: Path = given.out or Path(f"data/simbench-{given.extract}")
    simbench = importlib.import_module("simbench")
    net = simbench.get_simbench_net(extract.code)
    # Without it pandapower 3 ignores the tap position, an error of 2.5 % in every voltage.
    net.trafo["tap_changer_type"] = "Ratio"
    _refuse_what_is_not_extracted(net)
    power = simbench.get_absolute_values(net, profiles_instead_of_study_cases=True)
    labels = net.profiles["load"]["time"].tolist()
    first = labels.index(extract.first_label)
    rows = range(first, first + extract.days * ROWS_PER_DAY)

    meters = [meter for kind in KINDS for meter in _meters(net, power, kind, rows)]
    out.mkdir(parents=True, exist_ok=True)
    grid = json.dumps(_grid(net, extract.code, meters, first), indent=1) + "\n"
    _write(out / extract.grid_file, grid)
    _write_meters(out / "meters.csv", meters)
    _write_profiles(out / "profiles.csv.gz", meters)
    print(f"{len(meters)} meters, rows {first} to {rows[-1]} of SimBench's year")
    _print_days(net, power, rows, labels)


def _refuse_what_is_not_extracted(net: Net) -> None:
    """Stop if the net has an electrical property which the grid file has no place for."""
    lines, trafos = net.line, net.trafo
    plain = (
        len(trafos) == len(net.ext_grid) == 1
        and len(net.switch) == 0
        and not trafos.tap_step_degree.any()
        and all((table.parallel == 1).all() for table in (lines, trafos))
        and all((table.df == 1).all() for table in (lines, trafos))
        and all(table.in_service.all() for table in (net.bus, lines, trafos, net.ext_grid))
        and not lines.g_us_per_km.any()
    )
    if not plain:
        raise SystemExit("this net has switches, parallel, derated or idle elements: extend _grid")


def _meters(net: Net, power: Tables, kind: Kind, rows: range) -> Iterator[Meter]:
    table, year_mw = net[kind.table], power[(kind.table, "p_mw")]
    for index in sorted(table.index, key=lambda i: int(table.name[i].split()[-1])):
        watts = year_mw[index] * 1e6 * (-1 if kind.table == "storage" else 1)
        # Energy of a quarter hour, to the nearest Wh: a fraction of a watt is noise of the profile.
        if round(watts.min() / ROWS_PER_HOUR) < 0:
            raise SystemExit(f"{table.name[index]} changes direction, this script knows only one")
        energy_wh = [round(watts[row] / ROWS_PER_HOUR) for row in rows]
        # Rating or peak of the year, rounded up: no reading may exceed its capacity.
        bound_w = max(table.sn_mva[index] * 1e6, watts.max(), ROWS_PER_HOUR * max(energy_wh))
        capacity_w = math.ceil(round(bound_w, 3) / CAPACITY_STEP_W) * CAPACITY_STEP_W
        nothing = [0] * len(rows)
        reactive = power[(kind.table, "q_mvar")][index].sum() if kind.table == "load" else 0.0
        yield Meter(
            meter=f"{kind.prefix}-{table.name[index].split()[-1]}",
            element=table.name[index],
            bus=int(table.bus[index]),
            role=kind.role,
            import_capacity_w=0 if kind.exports else capacity_w,
            export_capacity_w=capacity_w if kind.exports else 0,
            import_wh=nothing if kind.exports else energy_wh,
            export_wh=energy_wh if kind.exports else nothing,
            var_per_w=round(float(reactive / year_mw[index].sum()), 6),
        )


def _grid(net: Net, code: str, meters: list[Meter], first: int) -> dict[str, Any]:
    lines, trafo, feed = net.line, net.trafo.iloc[0], net.ext_grid.iloc[0]
    vn_v = {int(bus): round(net.bus.vn_kv[bus] * 1000) for bus in net.bus.index}
    return {
        "net": code,
        "source": "SimBench, https://simbench.net; ODbL 1.0, see README.md",
        "first_row_of_year": first,
        "buses": [
            {
                "bus": int(bus),
                "name": net.bus.name[bus],
                "vn_v": vn_v[int(bus)],
                "min_vm_pu": float(net.bus.min_vm_pu[bus]),
                "max_vm_pu": float(net.bus.max_vm_pu[bus]),
            }
            for bus in net.bus.index
        ],
        "lines": [
            {
                "line": int(line),
                "name": lines.name[line],
                "from_bus": int(lines.from_bus[line]),
                "to_bus": int(lines.to_bus[line]),
                "length_km": float(lines.length_km[line]),
                "r_ohm_per_km": float(lines.r_ohm_per_km[line]),
                "x_ohm_per_km": float(lines.x_ohm_per_km[line]),
                "c_nf_per_km": float(lines.c_nf_per_km[line]),
                "max_i_a": round(lines.max_i_ka[line] * 1000),
                # Three phases at nominal voltage and power factor 1, rounded down.
                "limit_w": int(
                    math.sqrt(3) * vn_v[int(lines.from_bus[line])] * lines.max_i_ka[line] * 1000
                ),
            }
            for line in lines.index
        ],
        "trafo": {
            "name": trafo["name"],
            "hv_bus": int(trafo.hv_bus),
            "lv_bus": int(trafo.lv_bus),
            "limit_w": round(trafo.sn_mva * 1e6),
            **{key: float(trafo[key]) for key in TRAFO_KEYS},
            "tap_side": trafo.tap_side,
            "tap_neutral": int(trafo.tap_neutral),
            "tap_pos": int(trafo.tap_pos),
            "tap_step_percent": float(trafo.tap_step_percent),
        },
        "feed": {"bus": int(feed.bus), "vm_pu": float(feed.vm_pu)},
        "var_per_w": {meter.meter: meter.var_per_w for meter in meters},
    }


def _write_meters(path: Path, meters: list[Meter]) -> None:
    columns = ("meter", "element", "bus", "role", "import_capacity_w", "export_capacity_w")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([getattr(meter, column) for column in columns] for meter in meters)


def _write_profiles(path: Path, meters: list[Meter]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("meter", "row", "import_wh", "export_wh"))
    for meter in meters:
        pairs = zip(meter.import_wh, meter.export_wh, strict=True)
        writer.writerows((meter.meter, row, *pair) for row, pair in enumerate(pairs))
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    """Write a text, compressed if its name says so; without a time stamp, so that it repeats."""
    content = text.encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _print_days(net: Net, power: Tables, rows: range, labels: list[str]) -> None:
    pandapower = importlib.import_module("pandapower")
    print("day         trafo %  quarters > 100 %  line %  vm min  vm max  import kWh  export kWh")
    for start in range(0, len(rows), ROWS_PER_DAY):
        steps = rows[start : start + ROWS_PER_DAY]
        trafo, line, low, high = [], [], [], []
        for row in steps:
            for (table, column), values in power.items():
                if values.shape[1]:
                    net[table][column] = values.loc[row]
            pandapower.runpp(net, numba=False)
            trafo.append(net.res_trafo.loading_percent.max())
            line.append(net.res_line.loading_percent.max())
            low.append(net.res_bus.vm_pu.min())
            high.append(net.res_bus.vm_pu.max())
        load, sgen, storage = (
            power[(table, "p_mw")].loc[steps].to_numpy().sum() * 1000 / ROWS_PER_HOUR
            for table in ("load", "sgen", "storage")
        )
        print(
            f"{labels[steps[0]][:10]}  {max(trafo):7.1f}  {sum(t > 100 for t in trafo):16d}"
            f"  {max(line):6.1f}  {min(low):6.3f}  {max(high):6.3f}"
            f"  {load:10.1f}  {sgen - storage:10.1f}"
        )


if __name__ == "__main__":
    main()
