"""What this node knows of the wires: the feeder, and what is expected to flow on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from market.grid import Grid, GridError
from market.lines import SINGLE_BUS, Lines, pack_headroom, table_of
from market.powerflow import AcCheck, Load, Verdict, judge
from market.types import Position
from oracle.config import ConfigError, GridConfig
from oracle.meters.roster import Roster
from oracle.readings import Energies

NO_ENERGY: Energies = (0, 0)


class Wires:
    """The feeder of a market, as one node sees it.

    A member's energy is the market's to place. What flows beside it is the energy of meters that
    belong to no member: the base load that headroom leaves room for.

    Attributes:
        lines: The static limits.
    """

    def __init__(self, config: GridConfig, table: bytes, roster: Roster) -> None:
        """Take up a feeder.

        Args:
            config: Where it is described.
            table: What the market was deployed with, see `market.lines`.
            roster: The meters on it, at the bus numbers of the grid file.

        Raises:
            ConfigError: If the market's feeder is another one, or a meter is not on it.
        """
        try:
            grid = Grid.load(config.file)
            tree = grid.tree
            same = table_of(tree, roster.period_s) == table
            positions = tree.columns([meter.bus for meter in roster.values()])
        except GridError as exc:
            raise ConfigError(f"grid.file: {exc}") from exc
        if not same:
            raise ConfigError(
                f"grid.file: {config.file} is not the feeder the market was deployed with; "
                "give the file that was given to the deployment"
            )
        self.lines = Lines.unpack(table)
        self._tolerance_percent = config.tolerance_percent
        self._check = AcCheck(grid, roster.period_s, config.max_loading_percent)
        self._bus_of = dict(zip(roster, positions.tolist(), strict=True))
        self._var_per_w = grid.var_per_w

    def headroom(self, expected: Mapping[str, Energies], members: frozenset[str]) -> bytes:
        """Return what base load leaves of every line, never more than its static limit.

        Args:
            expected: Import and export of meters, Wh.
            members: Meters that belong to nodes.
        """
        tree = self._check.grid.tree
        net_wh = np.zeros((1, len(tree.buses)), dtype=np.int64)
        for meter, (import_wh, export_wh) in expected.items():
            if meter in self._bus_of and meter not in members:
                net_wh[0, self._bus_of[meter]] += export_wh - import_wh
        base_wh = tree.flows_wh(net_wh)[0]
        up_wh, down_wh = self.lines.up_wh[1:], self.lines.down_wh[1:]
        return pack_headroom(
            np.clip(up_wh - base_wh, 0, up_wh), np.clip(down_wh + base_wh, 0, down_wh)
        )

    def difference(self, proposed: bytes, own: bytes) -> str | None:
        """Return what is wrong with a proposed headroom, None if it is close enough."""
        ours, theirs = self.lines.with_headroom(own), self.lines.with_headroom(proposed)
        for line in range(1, len(ours.parent)):
            for up in (True, False):
                mine_wh, said_wh = ours.limit_wh(line, up=up), theirs.limit_wh(line, up=up)
                slack_wh = self.lines.limit_wh(line, up=up) * self._tolerance_percent / 100
                if abs(said_wh - mine_wh) > slack_wh:
                    way = "up" if up else "down"
                    return f"line {line} {way} is {said_wh} Wh, I have {mine_wh} Wh"
        return None

    def verdict(
        self,
        lines: Lines,
        positions: Mapping[int, Position],
        expected: Mapping[str, Energies],
        meters: Mapping[int, str],
        buses: Mapping[int, int],
    ) -> Verdict:
        """Return what to say to a clearing, see `market.powerflow.security`.

        Args:
            lines: What held for it.
            positions: Its positions by node.
            expected: Import and export of meters, Wh.
            meters: Meters by node; nodes whose meter is unknown have none.
            buses: Buses by node, as the registry has them.
        """
        loads = []
        for node, bus in buses.items():
            import_wh, export_wh = expected.get(meters.get(node, ""), NO_ENERGY)
            position = positions.get(node)
            bought_wh, sold_wh = (position.bought_wh, position.sold_wh) if position else NO_ENERGY
            var_per_w = self._var_per_w.get(meters.get(node, ""), 0.0)
            loads.append(Load(bus, import_wh, export_wh, bought_wh, sold_wh, var_per_w))
        members = set(meters.values())
        for meter, (import_wh, export_wh) in expected.items():
            if meter in self._bus_of and meter not in members:
                var_per_w = self._var_per_w.get(meter, 0.0)
                bus = self._bus_of[meter]
                loads.append(Load(bus, import_wh, export_wh, var_per_w=var_per_w))
        return judge(self._check, lines, loads)


def open_wires(config: GridConfig | None, table: bytes, roster: Roster) -> Wires | None:
    """Return the wires a configuration names; None for a market without any.

    Raises:
        ConfigError: If configuration and market do not fit.
    """
    if table == SINGLE_BUS:
        if config is not None:
            raise ConfigError("grid: the market was deployed without wires; leave [grid] out")
        return None
    if config is None:
        raise ConfigError(
            "grid: the market has a feeder; give its grid file as `file` in a [grid] table"
        )
    return Wires(config, table, roster)
