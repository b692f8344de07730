"""DLMS bytes on a line -> the unmodified smartmeter-datacollector -> mosquitto -> settled money."""

from __future__ import annotations

import json
import os
import subprocess
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from oracle.meters.mqtt import MqttSource
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.service import MeterService
from oracle.meters.settings import LiveConfig, MqttConfig
from oracle.meters.source import Reading
from oracle.meters.store import SampleStore
from tests.brokers import WAIT_S, mosquitto, publish, publisher
from tests.committee import Clock, Settings
from tests.dlms import push
from tests.village import Village
from tests.world import new_world

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


@dataclass(frozen=True, slots=True)
class LiveSettings(Settings):
    """Nodes that read live meters from a broker."""

    port: int = 0
    serial_numbers: Mapping[str, str] = field(default_factory=dict)

    def toml(self, rpc_url: str | Sequence[str], deployment: Path, seat: int, journal: Path) -> str:
        """Return a node's configuration file."""
        text = Settings.toml(self, rpc_url, deployment, seat, journal)
        profile = ("profile =", "first_period =", "first_row =")
        lines = [line for line in text.splitlines() if not line.startswith(profile)]
        lines += [
            "[meters.live]",
            f'store = "{journal}.samples"',
            # The chain's time is made up.
            "clock_tolerance_s = 1000000000",
            "[[meters.live.sources]]",
            'kind = "mqtt"',
            f'client_id = "seat{seat}"',
            f"port = {self.port}",
            'preset = "smartmeter-datacollector"',
        ]
        for meter, number in self.serial_numbers.items():
            lines += ["[[meters.live.meter]]", f'meter = "{meter}"', f'ids = ["{number}"]']
        return "\n".join(lines) + "\n"


def test_committee__of_live_meters__settles_what_they_counted(tmp_path: Path) -> None:
    """One meter speaks DLMS through the collector, the others speak as the collector does."""
    with new_world(accounts=80) as world, mosquitto(tmp_path / "broker") as broker:
        village = Village(world)
        period, schedule = village.first, world.market.schedule
        truth = village.true_readings(period)
        before = village.worths()
        dlms, *others = village.roster
        settings = LiveSettings(
            village.meters, port=broker.port, serial_numbers={dlms: "TEST0123456789"}
        )
        edges = (schedule.start(period), 0), (schedule.close(period), 1)
        with village.committee(tmp_path, settings), collector(tmp_path, broker.port) as ends:
            line, process = ends
            _wait_for(lambda: "Connected to MQTT" in _log(tmp_path), tmp_path, process)
            clock = Clock(world.market)
            clock.await_cleared(period)
            with publisher(broker.port) as client:
                for at_s, passed in edges:
                    reading = truth[1]
                    taken_wh, fed_wh = passed * reading.import_wh, passed * reading.export_wh
                    at = datetime.fromtimestamp(at_s, UTC)
                    os.write(line, push("TEST0123456789", at, 5_000 + taken_wh, 7 + fed_wh))
                    for node, meter in enumerate(others, 2):
                        reading = truth[node]
                        for name, wh in (
                            ("P", 90_000 + passed * reading.import_wh),
                            ("N", 80_000 + passed * reading.export_wh),
                        ):
                            message = json.dumps({"value": float(wh), "timestamp": at_s})
                            publish(client, f"smartmeter/{meter}/ACTIVE_ENERGY_{name}", message)
            stores = [
                SampleStore(Path(f"{tmp_path}/seat{seat}.sqlite.samples")) for seat in range(4)
            ]
            full = [4 * len(village.roster)] * 4
            _wait_for(lambda: [store.count() for store in stores] == full, tmp_path, process)
            clock.await_settled(period)

        assert world.history.readings(period, 1) == list(truth.values())
        model = village.expected(period, truth)
        nets = model.nets_uyuan | {0: model.grid_company.net_uyuan}
        assert village.worths() == {node: before[node] + nets[node] for node in before}


def _log(folder: Path) -> str:
    return (folder / "collector.log").read_text()


def _wait_for(condition: object, folder: Path, process: subprocess.Popen[bytes]) -> None:
    assert callable(condition)
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, _log(folder)
        assert time.monotonic() < deadline, _log(folder)
        time.sleep(0.05)
