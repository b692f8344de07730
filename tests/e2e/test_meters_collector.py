"""DLMS bytes on a line -> the unmodified smartmeter-datacollector -> mosquitto -> readings."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from oracle.meters.mqtt import MqttSource
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.service import MeterService
from oracle.meters.settings import LiveConfig, MqttConfig
from oracle.meters.source import Reading
from tests.brokers import WAIT_S, mosquitto
from tests.collector import collector
from tests.dlms import push

PERIOD_S = 900


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
            with collector(tmp_path, broker.port) as running:
                for edge, (taken_wh, fed_wh) in enumerate([(886_977, 12), (887_377, 12)]):
                    at = datetime.fromtimestamp(epoch_s + edge * PERIOD_S, UTC)
                    running.push(push("TEST0123456789", at, taken_wh, fed_wh))
                running.wait_for(lambda: any(isinstance(r, Reading) for r in service.read(0)))
            (reading,) = service.read(0)
        finally:
            service.stop()

    assert isinstance(reading, Reading)
    assert (reading.meter, reading.import_wh, reading.export_wh) == ("house", 400, 0)
