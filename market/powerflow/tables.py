"""A grid as the tables of power-grid-model.

Numbering: bus k of the tree is node k, its branch k is number `buses + k`, then follow the source
and one load for each bus.
"""

from typing import Any

import numpy as np
from power_grid_model import (
    BranchSide,
    ComponentType,
    DatasetType,
    LoadGenType,
    WindingType,
    initialize_array,
)

from market.grid import Grid, GridError, Line, Transformer

# The public grid holds its voltage whatever the feeder draws: a short-circuit power beyond any.
_STIFF_VA = 1e20


def model_input(grid: Grid) -> dict[ComponentType, Any]:
    """Return the tables, each a structured array; the tree's first branch is the transformer.

    Args:
        grid: The feeder.

    Raises:
        GridError: If the transformer's vector group is none of whole clock hours.
    """
    tree = grid.tree
    buses, count = tree.buses, len(tree.buses)
    node = initialize_array(DatasetType.input, ComponentType.node, count)
    node["id"] = np.arange(count)
    node["u_rated"] = [grid.bus(bus).vn_v for bus in buses]

    lines = [
        (branch.element, k)
        for k, branch in enumerate(tree.branches)
        if isinstance(branch.element, Line)
    ]
    line = initialize_array(DatasetType.input, ComponentType.line, len(lines))
    line["id"] = [count + k for _, k in lines]
    line["from_node"] = [tree.branches[k].parent for _, k in lines]
    line["to_node"] = [k + 1 for _, k in lines]
    line["from_status"] = line["to_status"] = 1
    line["r1"] = [element.r_ohm_per_km * element.length_km for element, _ in lines]
    line["x1"] = [element.x_ohm_per_km * element.length_km for element, _ in lines]
    line["c1"] = [element.c_nf_per_km * element.length_km * 1e-9 for element, _ in lines]
    line["tan1"] = 0.0
    line["i_n"] = [element.max_i_a for element, _ in lines]

    source = initialize_array(DatasetType.input, ComponentType.source, 1)
    source["id"], source["node"], source["status"] = 2 * count, 0, 1
    source["u_ref"], source["sk"] = grid.feed.vm_pu, _STIFF_VA

    load = initialize_array(DatasetType.input, ComponentType.sym_load, count)
    load["id"] = 2 * count + 1 + np.arange(count)
    load["node"] = np.arange(count)
    load["status"], load["type"] = 1, LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0
    return {
        ComponentType.node: node,
        ComponentType.line: line,
        ComponentType.transformer: _transformer_input(grid.trafo, count),
        ComponentType.source: source,
        ComponentType.sym_load: load,
    }


def _transformer_input(trafo: Transformer, number: int) -> Any:  # noqa: ANN401 - a structured array
    clock = trafo.shift_degree / 30
    if not clock.is_integer():
        raise GridError(f"transformer {trafo.name!r}: shift_degree is no multiple of 30")
    at_hv = trafo.tap_side == "hv"
    side_v = 1000 * (trafo.vn_hv_kv if at_hv else trafo.vn_lv_kv)
    table = initialize_array(DatasetType.input, ComponentType.transformer, 1)
    table["id"], table["from_node"], table["to_node"] = number, 0, 1
    table["from_status"] = table["to_status"] = 1
    table["u1"], table["u2"] = 1000 * trafo.vn_hv_kv, 1000 * trafo.vn_lv_kv
    table["sn"] = 1e6 * trafo.sn_mva
    table["uk"], table["pk"] = trafo.vk_percent / 100, trafo.vkr_percent * 1e4 * trafo.sn_mva
    table["i0"], table["p0"] = trafo.i0_percent / 100, 1000 * trafo.pfe_kw
    # Odd clock hours join a delta and a star. The balanced flow asks no more of the windings.
    table["winding_from"] = WindingType.delta if clock % 2 else WindingType.wye_n
    table["winding_to"] = WindingType.wye_n
    table["clock"] = int(clock) % 12
    table["tap_side"] = BranchSide.from_side if at_hv else BranchSide.to_side
    table["tap_pos"], table["tap_nom"] = trafo.tap_pos, trafo.tap_neutral
    table["tap_min"] = min(trafo.tap_pos, trafo.tap_neutral)
    table["tap_max"] = max(trafo.tap_pos, trafo.tap_neutral)
    table["tap_size"] = side_v * trafo.tap_step_percent / 100
    return table
