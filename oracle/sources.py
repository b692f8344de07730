"""The meters a configuration names."""

from __future__ import annotations

from collections.abc import Callable

from oracle.config import FaultConfig, NodeConfig
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Roster, load_roster
from oracle.meters.simulator import Fault, Late, Lie, Scale, Scatter, Scope, Silent, Simulator
from oracle.meters.source import MeterSource


def open_meters(
    config: NodeConfig, period_s: int, clock: Callable[[], float]
) -> tuple[Roster, MeterSource]:
    """Return roster and source, with the configured faults between it and the reader.

    Args:
        config: The node's configuration.
        period_s: Length of a period.
        clock: Tells chain time, Unix seconds.

    Raises:
        SourceError: If a file cannot be used.
    """
    meters = config.meters
    roster = load_roster(meters.roster, period_s)
    profile = ProfileSource(
        meters.profile, roster, first_period=meters.first_period, first_row=meters.first_row
    )
    faults = [_fault(fault, clock) for fault in config.simulate.faults]
    return roster, Simulator(profile, roster, faults) if faults else profile


def _fault(config: FaultConfig, clock: Callable[[], float]) -> Fault:
    """Return a fault; the configuration has checked that it is complete."""
    scope = Scope(config.meter, config.first, config.last)
    if config.kind == "scale":
        return Scale(scope, config.percent or 0)
    if config.kind == "scatter":
        return Scatter(scope, config.seed or 0, config.spread_percent or 0)
    if config.kind == "late":
        return Late(scope, config.available_at_s or 0, clock)
    if config.kind == "lie":
        return Lie(scope, config.import_wh or 0, config.export_wh or 0)
    return Silent(scope)
