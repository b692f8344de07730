"""Inverters, meters and batteries that speak SunSpec over Modbus TCP; they are asked, not heard."""

from __future__ import annotations

import hashlib
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any

from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP, SunSpecModbusClientError
from sunspec2.modbus.modbus import ModbusClientError

from oracle import log
from oracle.meters.sample import Delivery, Kind, ParseError, Register, Sample, Sink, energy_wh
from oracle.meters.settings import SunspecConfig

LONGEST_BACKOFF_S = 30.0

MOST_MODELS = 64
"""Models of one device; a device that names more is none."""

_METER = {Register.IMPORT: "TotWhImp", Register.EXPORT: "TotWhExp"}
_INVERTER = {Register.EXPORT: "WH"}

MODELS: Mapping[int, Mapping[Register, str]] = {
    **dict.fromkeys((201, 202, 203, 204, 211, 212, 213, 214), _METER),
    701: {Register.IMPORT: "TotWhAbs", Register.EXPORT: "TotWhInj"},
    **dict.fromkeys((101, 102, 103, 111, 112, 113), _INVERTER),
    714: {Register.IMPORT: "DCWhAbs", Register.EXPORT: "DCWhInj"},
}
"""Points of energy by model, the best first: a meter knows better than the inverter behind it.

The storage models 124 and 802 have no counter of energy; such a battery needs a meter.
"""

_PROBLEMS = (SunSpecModbusClientError, ModbusClientError, OSError)


class SunspecSource:
    """A device that is read again and again."""

    def __init__(self, config: SunspecConfig) -> None:
        """Prepare; nothing is connected yet."""
        self.name = config.name
        self._config = config

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Deliver until stopped."""
        backoff_s = 1.0
        while not stop.is_set():
            device = self._device()
            try:
                model = self._scan(device)
                while not stop.is_set():
                    sink.put(self._poll(model))
                    backoff_s = 1.0
                    stop.wait(self._config.poll_s)
            except _PROBLEMS as exc:
                log.warning("device fails", source=self.name, problem=exc, retry_in_s=backoff_s)
            except ParseError as exc:
                exc.meter = self._config.meter
                sink.put(Delivery(rejects=(exc.reject(self.name),)))
            finally:
                device.disconnect()
            stop.wait(backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

    def _device(self) -> Any:  # noqa: ANN401
        config = self._config
        return SunSpecModbusClientDeviceTCP(
            slave_id=config.unit,
            ipaddr=config.host,
            ipport=config.port,
            timeout=config.timeout_s,
        )

    def _scan(self, device: Any) -> Any:  # noqa: ANN401
        """Return the model of a device that knows its energies best."""
        device.connect()
        named = 0

        def go_on(_text: str) -> bool:
            nonlocal named
            named += 1
            return named <= MOST_MODELS

        try:
            device.scan(progress=go_on, connect=False, full_model_read=False)
        except _PROBLEMS:
            raise
        except Exception as exc:  # the library lets through what odd bytes do to it
            raise ParseError(f"the device is not SunSpec ({str(exc)[:100]!r})") from None
        for number in MODELS:
            if number in device.models:
                return device.models[number][0]
        found = sorted(key for key in device.models if isinstance(key, int))
        why = f"the device has no model that counts energy, only {found[:MOST_MODELS]}"
        raise ParseError(why, Kind.FAULTY)

    def _poll(self, model: Any) -> Delivery:  # noqa: ANN401
        try:
            model.read()
        except _PROBLEMS:
            raise
        except (struct.error, ValueError, TypeError, IndexError) as exc:
            raise ParseError(f"model {model.model_id} cannot be read ({exc})") from None
        at_ms = time.time_ns() // 1_000_000
        values = {
            register: _energy(getattr(model, point, None))
            for register, point in MODELS[model.model_id].items()
        }
        digest = hashlib.sha256(repr(sorted(values.items())).encode()).digest()
        samples = [
            Sample(self._config.meter, register, energy_wh(value, "Wh"), at_ms, self.name, digest)
            for register, value in values.items()
            if value is not None
        ]
        if not samples:
            raise ParseError(f"model {model.model_id} holds no energy", Kind.FAULTY)
        return Delivery(tuple(samples))


def _energy(point: Any) -> object:  # noqa: ANN401
    """Return the value of a point in Wh, None if the device has no such counter."""
    if point is None:
        return None
    # 0 of a 32-bit counter stands for nothing counted, which the library takes for no counter.
    counter = str(point.pdef.get("type", "")).startswith("acc")
    return 0 if point.cvalue is None and counter else point.cvalue
