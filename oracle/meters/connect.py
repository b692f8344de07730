"""The sources that a configuration names; what a kind needs is imported when it is named."""

from __future__ import annotations

from collections.abc import Sequence

from oracle.meters.gate import Gate
from oracle.meters.sample import Source
from oracle.meters.settings import DsmrConfig, LiveConfig, MqttConfig, SourceConfig, SunspecConfig
from oracle.meters.source import SourceError


def connect(config: LiveConfig, gate: Gate) -> Sequence[Source]:
    """Return the sources, and start the broker that one of them may embed.

    Raises:
        SourceError: If a package is missing, a file cannot be read, a port is in use, or a device
            is said to be an unknown meter.
    """
    try:
        return [_connect(source, gate) for source in config.sources]
    except ImportError as exc:
        fix = "Install them: pip install 'subgrid[meters]'"
        why = f"live meters need packages that are not there ({exc.name})"
        raise SourceError("meters.live.sources", why, fix) from exc


def _connect(config: SourceConfig, gate: Gate) -> Source:
    match config:
        case MqttConfig():
            from oracle.meters.mqtt import MqttSource

            if config.embedded:
                from oracle.meters.broker import EmbeddedBroker

                EmbeddedBroker(config.host, config.port).start()
            return MqttSource(config, gate.key)
        case SunspecConfig():
            from oracle.meters.sunspec import SunspecSource

            _known(config, gate)
            return SunspecSource(config)
        case DsmrConfig():
            from oracle.meters.dsmr import DsmrSource

            _known(config, gate)
            return DsmrSource(config)


def _known(config: SunspecConfig | DsmrConfig, gate: Gate) -> None:
    if gate.meter(config.meter) is None:
        why = f"meter {config.meter!r} is not in the roster"
        raise SourceError(config.name, why, "Correct the id, or admit the meter")
