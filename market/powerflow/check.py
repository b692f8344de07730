"""Runs the AC model of a grid on batches of forecast and clearing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from power_grid_model import ComponentAttributeMapping, ComponentType, PowerGridModel
from power_grid_model.errors import PowerGridBatchError

from market.grid import Grid, GridError, IntArray, Line, Transformer
from market.powerflow.result import AcResult, FloatArray
from market.powerflow.tables import model_input

_FLOW_COLUMNS = ["p_to", "i_from", "i_to"]
_OUTPUT: ComponentAttributeMapping = {
    ComponentType.node: ["u_pu"],
    ComponentType.line: _FLOW_COLUMNS,
    ComponentType.transformer: _FLOW_COLUMNS,
}


class Diverged(GridError):
    """The power flow of some cases has no solution that could be found."""

    def __init__(self, cases: Sequence[int], why: str) -> None:
        """Name the cases.

        Args:
            cases: Their indices in the batch, kept as `cases`.
            why: What the solver says of the first.
        """
        self.cases = tuple(cases)
        named = ", ".join(str(case) for case in self.cases[:10])
        more = f" and {len(self.cases) - 10} more" if len(self.cases) > 10 else ""
        super().__init__(
            f"the power flow of case {named}{more} does not converge ({why}): these exports are "
            "beyond what the grid can carry at all, or not in Wh"
        )


@dataclass(frozen=True, slots=True)
class Injections:
    """What enters the grid in each case: forecast base load, or a clearing.

    Attributes:
        net_export_wh: Energy fed in less energy drawn in the period, integer Wh, shape
            (cases, columns); one case stands for all of a batch.
        buses: Bus of each column, shape (columns,). Columns are buses or elements: several may
            share a bus.
        var_per_w: Reactive power (var) that a column draws with each W it draws, shape
            (columns,); None is power factor 1. Feed-in is always of power factor 1.
    """

    net_export_wh: IntArray
    buses: Sequence[int] | IntArray
    var_per_w: Sequence[float] | FloatArray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together.

        Raises:
            GridError: If a shape is wrong or the energy is not in whole Wh.
        """
        shape = self.net_export_wh.shape
        if not np.issubdtype(self.net_export_wh.dtype, np.signedinteger):
            raise GridError(
                f"net_export_wh is of {self.net_export_wh.dtype}: give signed integers, whole Wh"
            )
        if len(shape) != 2 or shape[0] == 0 or shape[1] != len(self.buses):
            raise GridError(
                f"net_export_wh has shape {shape} for {len(self.buses)} buses: give "
                "(cases, columns), at least one case, and the bus of each column"
            )
        if self.var_per_w is not None and np.shape(self.var_per_w) != (shape[1],):
            raise GridError(
                f"var_per_w has shape {np.shape(self.var_per_w)}: give one for each of "
                f"the {shape[1]} columns"
            )


class AcCheck:
    """The AC model of a grid, built once and run for any number of batches."""

    def __init__(self, grid: Grid, period_s: int = 900, max_loading_percent: float = 100.0) -> None:
        """Build the model.

        Args:
            grid: The feeder.
            period_s: Length of a period in seconds; energy over it is average power.
            max_loading_percent: What no line and no transformer may exceed.

        Raises:
            GridError: If the period is not positive, or the transformer's vector group is none
                of whole clock hours.
        """
        if period_s < 1:
            raise GridError(f"a period of {period_s} s: give 1 s or more")
        self.grid = grid
        self.period_s = period_s
        self.max_loading_percent = max_loading_percent
        tree = grid.tree
        self._model = PowerGridModel(model_input(grid))
        # A branch's rating as current at its upper and at its lower end.
        rated_a = [_rated_a(branch.element) for branch in tree.branches]
        self._rated_a = np.array(rated_a)
        nothing = np.zeros((1, len(tree.buses)))
        self._idle_voltage_pu: FloatArray = self._solve(nothing, nothing)[0][0]

    def run(self, *injections: Injections) -> AcResult:
        """Return the power flow of the sum of the injections, case by case.

        Args:
            injections: Such as forecast base load and clearing, each with as many cases as the
                others or with one that stands for all.

        Raises:
            UnknownBus: If a bus is not in the grid.
            GridError: If the numbers of cases differ or nothing is given.
            Diverged: If a case has no solution; names all such cases.
        """
        counts = {len(given.net_export_wh) for given in injections}
        if len(counts - {1}) > 1 or not counts:
            raise GridError(f"injections of {sorted(counts)} cases: give the same number, or 1")
        tree = self.grid.tree
        shape = (max(counts), len(tree.buses))
        net_export_wh = np.zeros(shape, dtype=np.int64)
        reactive_wh = np.zeros(shape)
        for given in injections:
            columns = tree.columns(given.buses)
            for column, position in enumerate(columns):
                energy_wh = given.net_export_wh[:, column]
                net_export_wh[:, position] += energy_wh
                if given.var_per_w is not None:
                    reactive_wh[:, position] += given.var_per_w[column] * np.maximum(-energy_wh, 0)
        hours = self.period_s / 3600
        voltage_pu, flow_w, loading_percent = self._solve(
            -net_export_wh / hours, reactive_wh / hours
        )
        return AcResult(
            grid=self.grid,
            max_loading_percent=self.max_loading_percent,
            voltage_pu=voltage_pu,
            idle_voltage_pu=self._idle_voltage_pu,
            flow_w=flow_w,
            linear_flow_wh=tree.flows_wh(net_export_wh),
            loading_percent=loading_percent,
        )

    def _solve(
        self, load_w: FloatArray, load_var: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return voltages (pu), flows (W, up) and loadings (%) of loads at the tree's buses."""
        try:
            out = self._model.calculate_power_flow(
                update_data={
                    ComponentType.sym_load: {"p_specified": load_w, "q_specified": load_var}
                },
                output_component_types=_OUTPUT,
            )
        except PowerGridBatchError as error:
            why = error.error_messages[0].strip().splitlines()[0]
            raise Diverged(error.failed_scenarios.tolist(), why) from error
        trafo, line = out[ComponentType.transformer], out[ComponentType.line]
        both = {c: np.hstack([trafo[c], line[c]]) for c in _FLOW_COLUMNS}
        loading = np.maximum(
            both["i_from"] / self._rated_a[:, 0], both["i_to"] / self._rated_a[:, 1]
        )
        voltage_pu: FloatArray = out[ComponentType.node]["u_pu"]
        lost = ~np.isfinite(voltage_pu).all(axis=1)
        if lost.any():
            raise Diverged(np.flatnonzero(lost).tolist(), "voltages are no numbers")
        return voltage_pu, both["p_to"], 100 * loading


def _rated_a(element: Line | Transformer) -> tuple[float, float]:
    if isinstance(element, Line):
        return float(element.max_i_a), float(element.max_i_a)
    sn_kva = element.sn_mva * 1000 / math.sqrt(3)
    return sn_kva / element.vn_hv_kv, sn_kva / element.vn_lv_kv
