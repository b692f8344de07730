"""DLMS bytes on a line -> the unmodified smartmeter-datacollector -> mosquitto -> a reading."""

from __future__ import annotations

import os
import subprocess
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from oracle.meters.mqtt import MqttSource
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.service import MeterService
from oracle.meters.settings import LiveConfig, MqttConfig
from oracle.meters.source import Reading
from tests.brokers import WAIT_S, mosquitto
from tests.dlms import push

COLLECTOR = Path(__file__).resolve().parents[2] / ".cache/collector/bin/smartmeter-datacollector"

PERIOD_S = 900


@contextmanager
def collector(folder: Path, port: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the program on a pseudo-terminal and yield the meter's end of it."""
    assert COLLECTOR.exists(), f"{COLLECTOR} is missing: `make test` installs it"
    ours, theirs = os.openpty()
    tty.setraw(ours)
    config = folder / "collector.ini"
    config.write_text(
        f"[reader0]\ntype = lge450\nport = {os.ttyname(theirs)}\n"
        f"[sink0]\ntype = mqtt\nhost = 127.0.0.1\nport = {port}\n"
        "[logging]\ndefault = INFO\n"
    )
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen([COLLECTOR, "-c", str(config)], stdout=log, stderr=log)
        try:
            yield ours, process
        finally:
            process.terminate()
            process.wait(WAIT_S)
            os.close(ours)
            os.close(theirs)


def test_dlms_meter__through_the_collector__becomes_readings_of_periods(tmp_path: Path) -> None:
    roster = Roster([Meter("house", "load", 0, Role.PROSUMER, 20_000, 20_000)], PERIOD_S)
    epoch_s = (int(time.time()) // PERIOD_S - 4) * PERIOD_S
    with mosquitto(tmp_path / "broker") as broker:
        config = LiveConfig.model_validate(
            {
                "store": tmp_path / "samples.sqlite",
                "meter": [{"meter": "house", "ids": ["TEST0123456789"]}],
                "sources": [
                    {
                        "kind": "mqtt",
                        "client_id": "node",
                        "port": broker.port,
                        "preset": "smartmeter-datacollector",
                    }
                ],
            }
        )
        sources: list[MqttSource] = []

        def connect(live: LiveConfig, _gate: object) -> list[MqttSource]:
            assert isinstance(live.sources[0], MqttConfig)
            sources.append(MqttSource(live.sources[0], lambda _: None))
            return sources

        service = MeterService(config, roster, epoch_s, connect)
        service.start()
        try:
            assert sources[0].subscribed.wait(WAIT_S)
            with collector(tmp_path, broker.port) as (line, process):
                _wait_for(lambda: "Connected to MQTT" in _log(tmp_path), tmp_path, process)
                for edge, (taken_wh, fed_wh) in enumerate([(886_977, 12), (887_377, 12)]):
                    at = datetime.fromtimestamp(epoch_s + edge * PERIOD_S, UTC)
                    os.write(line, push("TEST0123456789", at, taken_wh, fed_wh))
                _wait_for(
                    lambda: any(isinstance(r, Reading) for r in service.read(0)), tmp_path, process
                )
            (reading,) = service.read(0)
        finally:
            service.stop()

    assert isinstance(reading, Reading)
    assert (reading.meter, reading.import_wh, reading.export_wh) == ("house", 400, 0)


def _log(folder: Path) -> str:
    return (folder / "collector.log").read_text()


def _wait_for(condition: object, folder: Path, process: subprocess.Popen[bytes]) -> None:
    assert callable(condition)
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, _log(folder)
        assert time.monotonic() < deadline, _log(folder)
        time.sleep(0.05)
