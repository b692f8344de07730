"""The meters a configuration names."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path

from market.schedule import Schedule
from oracle.config import FaultConfig, MetersConfig, NodeConfig
from oracle.meters.connect import connect
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Roster, load_roster
from oracle.meters.service import MeterService
from oracle.meters.simulator import Fault, Late, Lie, Scale, Scatter, Scope, Silent, Simulator
from oracle.meters.source import MeterSource

_running: dict[Path, MeterService] = {}
"""Live meters of this process by their store, which only one may write."""


def open_meters(
    config: NodeConfig, schedule: Schedule, clock: Callable[[], float]
) -> tuple[Roster, MeterSource]:
    """Return roster and source, with the configured faults between it and the reader.

    Live sources begin to deliver, and hang up when the process ends.

    Args:
        config: The node's configuration.
        schedule: When periods begin and how long they last.
        clock: Tells chain time, Unix seconds.

    Raises:
        SourceError: If a file cannot be used.
    """
    roster = load_roster(config.meters.roster, schedule.length_s)
    source = _source(config.meters, roster, schedule)
    faults = [_fault(fault, clock) for fault in config.simulate.faults]
    return roster, Simulator(source, roster, faults) if faults else source


def _source(meters: MetersConfig, roster: Roster, schedule: Schedule) -> MeterSource:
    live = meters.live
    if live is not None:
        # A node that is opened again because the chain was away finds its meters running.
        if live.store not in _running:
            service = MeterService(live, roster, schedule.epoch_s, connect)
            service.start()
            atexit.register(service.stop)
            _running[live.store] = service
        return _running[live.store]
    assert meters.profile is not None
    return ProfileSource(
        meters.profile, roster, first_period=meters.first_period, first_row=meters.first_row
    )


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
