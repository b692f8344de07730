"""The reference of the AC check: the same grid in pandapower, one case at a time."""

from dataclasses import dataclass

import numpy as np
import pandapower as pp

from market.grid import Grid, Line
from market.powerflow.result import FloatArray


@dataclass(frozen=True)
class Reference:
    """A case's power flow in the order of the grid's tree, with the units of `AcResult`."""

    voltage_pu: FloatArray
    flow_w: FloatArray
    loading_percent: FloatArray


class PandapowerGrid:
    """A grid as a pandapower net."""

    def __init__(self, grid: Grid) -> None:
        """Build the net.

        Args:
            grid: The feeder.
        """
        self._tree = grid.tree
        net = pp.create_empty_network()
        for given in grid.buses:
            pp.create_bus(net, vn_kv=given.vn_v / 1000, index=given.bus)
        for line in grid.lines:
            pp.create_line_from_parameters(
                net,
                line.from_bus,
                line.to_bus,
                line.length_km,
                line.r_ohm_per_km,
                line.x_ohm_per_km,
                line.c_nf_per_km,
                line.max_i_a / 1000,
                index=line.line,
            )
        trafo = grid.trafo.model_dump(exclude={"name", "limit_w"})
        # Without a type pandapower 3 ignores the tap.
        pp.create_transformer_from_parameters(net, **trafo, tap_changer_type="Ratio")
        pp.create_ext_grid(net, grid.feed.bus, vm_pu=grid.feed.vm_pu)
        for bus in self._tree.buses:
            pp.create_load(net, bus, p_mw=0.0)
        self._net = net
        # The first branch is the transformer.
        lines = [(b.element, b.lower) for b in self._tree.branches if isinstance(b.element, Line)]
        self._lines = [line.line for line, _ in lines]
        self._from_below = [line.from_bus == lower for line, lower in lines]

    def solve(self, load_w: FloatArray, load_var: FloatArray) -> Reference:
        """Return the power flow of one case.

        Args:
            load_w: Active power drawn at each bus of the tree, W, shape (buses,).
            load_var: Reactive power drawn there, var, shape (buses,).
        """
        net = self._net
        net.load["p_mw"], net.load["q_mvar"] = load_w / 1e6, load_var / 1e6
        pp.runpp(net, numba=False, tolerance_mva=1e-10)
        line, trafo = net.res_line.loc[self._lines], net.res_trafo.iloc[0]
        lower_mw = np.where(self._from_below, line.p_from_mw, line.p_to_mw)
        flow_w = 1e6 * np.array([trafo.p_lv_mw, *lower_mw])
        loading_percent = np.array([trafo.loading_percent, *line.loading_percent])
        voltage_pu = net.res_bus.vm_pu.loc[list(self._tree.buses)].to_numpy()
        return Reference(voltage_pu, flow_w, loading_percent)
