"""Devices that are asked or listened to: SunSpec over Modbus TCP, P1 over TCP and a serial line."""

from __future__ import annotations

import os
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from oracle.meters.connect import connect
from oracle.meters.profile import ProfileSource
from oracle.meters.roster import Meter, Role, Roster, load_roster
from oracle.meters.sample import Delivery, Kind, Register, Reject, Sample, Source
from oracle.meters.service import MeterService
from oracle.meters.settings import DsmrConfig, LiveConfig, SunspecConfig
from oracle.meters.source import Reading, SourceError
from tests.brokers import WAIT_S, free_port
from tests.meter_messages import p1
from tests.sunspec_device import sunspec_device

DATA = Path(__file__).resolve().parents[2] / "data/simbench-rural1"


@dataclass
class Basket:
    """Keeps what a source delivers."""

    samples: list[Sample] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def put(self, delivery: Delivery) -> None:
        with self.came:
            self.samples += delivery.samples
            self.rejects += delivery.rejects
            self.came.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.came:
            assert self.came.wait_for(condition, WAIT_S), (self.samples, self.rejects)


@contextmanager
def running(source: Source) -> Iterator[Basket]:
    basket, stop = Basket(), threading.Event()
    thread = threading.Thread(target=source.run, args=(basket, stop))
    thread.start()
    try:
        yield basket
    finally:
        stop.set()
        thread.join(WAIT_S)
    assert not thread.is_alive()


def sunspec(port: int) -> Source:
    from oracle.meters.sunspec import SunspecSource

    return SunspecSource(
        SunspecConfig(kind="sunspec", meter="m1", host="127.0.0.1", port=port, poll_s=0.05)
    )


def dsmr(**where: object) -> Source:
    from oracle.meters.dsmr import DsmrSource

    return DsmrSource(DsmrConfig.model_validate({"kind": "dsmr", "meter": "m1", **where}))


@pytest.mark.parametrize(
    ("model", "points", "expected"),
    [
        (203, {"TotWhImp": 1234, "TotWhExp": 7, "TotWh_SF": 1}, {(1, 12_340), (2, 70)}),
        (201, {"TotWhImp": 2**32 - 1, "TotWhExp": 0}, {(1, 2**32 - 1)}),
        (203, {"TotWhImp": 5, "TotWhExp": 0}, {(1, 5), (2, 0)}),
        (103, {"WH": 5000, "WH_SF": 0}, {(2, 5000)}),
        (113, {"WH": 0x44FA0000}, {(2, 2000)}),
        (701, {"TotWhAbs": 10**10, "TotWhInj": 3}, {(1, 10**10), (2, 3)}),
    ],
)
def test_sunspec_model__with_counters__gives_their_registers(
    model: int, points: dict[str, int], expected: set[tuple[int, int]]
) -> None:
    with sunspec_device(model, lambda: points) as port, running(sunspec(port)) as basket:
        basket.wait_for(lambda: bool(basket.samples))

    assert {(s.register.value, s.value_wh) for s in basket.samples} >= expected


def test_sunspec_battery__without_a_counter__is_refused_by_name() -> None:
    with sunspec_device(802, dict) as port, running(sunspec(port)) as basket:
        basket.wait_for(lambda: bool(basket.rejects))

    assert basket.rejects[0].kind is Kind.FAULTY
    assert "no model that counts energy" in basket.rejects[0].why


def test_sunspec_device__that_comes_later_or_talks_nonsense__is_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        with running(sunspec(server.getsockname()[1])):
            for _ in range(2):
                line, _address = server.accept()
                line.recv(100)
                line.sendall(b"\xff" * 9)
                line.close()


def test_sunspec_meter__driven_from_the_shipped_profile__reads_its_energies(
    tmp_path: Path,
) -> None:
    shipped = load_roster(DATA / "meters.csv")
    profile = ProfileSource(DATA / "profiles.csv.gz", shipped)
    rows = [
        {r.meter: r for r in profile.read(period) if isinstance(r, Reading)}
        for period in range(48, 51)
    ]
    meter = max(rows[0], key=lambda m: rows[0][m].export_wh)
    period_s, epoch_s = 2, int(time.time()) + 1

    def totals() -> dict[str, int]:
        passed = max(0.0, (time.time() - epoch_s) / period_s)
        whole = min(int(passed), len(rows))
        sums = {"TotWhImp": 0.0, "TotWhExp": 0.0}
        for number, row in enumerate(rows[: whole + 1]):
            share = 1.0 if number < whole else passed - whole
            sums["TotWhImp"] += share * row[meter].import_wh
            sums["TotWhExp"] += share * row[meter].export_wh
        return {point: int(10 * total) for point, total in sums.items()} | {"TotWh_SF": 0xFFFF}

    roster = Roster([Meter(meter, "", 0, Role.PROSUMER, 10**8, 10**8)], period_s)
    with sunspec_device(203, totals) as port:
        config = LiveConfig.model_validate(
            {
                "store": tmp_path / "samples.sqlite",
                "sources": [
                    {
                        **{"kind": "sunspec", "meter": meter, "host": "127.0.0.1"},
                        **{"port": port, "poll_s": 0.02},
                    }
                ],
            }
        )
        service = MeterService(config, roster, epoch_s, connect)
        service.start()
        try:
            deadline = time.monotonic() + WAIT_S
            while not all(isinstance(a, Reading) for p in range(3) for a in service.read(p)):
                assert time.monotonic() < deadline, [list(service.read(p)) for p in range(3)]
                time.sleep(0.1)
            found = [next(service.read(period)) for period in range(3)]
        finally:
            service.stop()

    for reading, row in zip(found, rows, strict=True):
        assert isinstance(reading, Reading)
        assert row[meter].export_wh > 100
        assert reading.export_wh == pytest.approx(row[meter].export_wh, rel=0.05, abs=20)
        assert reading.import_wh == pytest.approx(row[meter].import_wh, rel=0.05, abs=20)


def test_p1_stream_over_tcp__with_a_bad_checksum_in_between__goes_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        port = server.getsockname()[1]
        with running(dsmr(host="127.0.0.1", port=port)) as basket:
            line, _ = server.accept()
            with line:
                line.sendall(b"tail of a telegram!0000\r\n" + p1(low="000000.001"))
                line.sendall(p1().replace(b"100.000", b"900.000"))
                line.sendall(p1(low="000000.002"))
                basket.wait_for(lambda: len(basket.samples) == 4)
            line, _ = server.accept()
            with line:
                line.sendall(p1(low="000000.003"))
                basket.wait_for(lambda: len(basket.samples) == 6)

    taken = [s.value_wh for s in basket.samples if s.register is Register.IMPORT]
    assert taken == [100_001, 100_002, 100_003]
    assert [r.kind for r in basket.rejects] == [Kind.MALFORMED]
    assert "checksum" in basket.rejects[0].why


def test_p1_port__on_a_serial_line__is_read() -> None:
    ours, theirs = os.openpty()
    tty.setraw(ours)
    try:
        with running(dsmr(device=os.ttyname(theirs))) as basket:
            deadline = time.monotonic() + WAIT_S
            while not basket.samples:
                assert time.monotonic() < deadline
                os.write(ours, p1())
                time.sleep(0.1)
    finally:
        os.close(ours)
        os.close(theirs)

    assert basket.samples[0].value_wh == 223_456


def test_device__of_an_unknown_meter__is_refused_at_the_start(tmp_path: Path) -> None:
    roster = Roster([Meter("m1", "", 0, Role.CONSUMER, 1, 0)])
    config = LiveConfig.model_validate(
        {
            "store": tmp_path / "samples.sqlite",
            "sources": [{"kind": "dsmr", "meter": "m2", "host": "localhost", "port": free_port()}],
        }
    )
    with pytest.raises(SourceError, match="'m2' is not in the roster"):
        MeterService(config, roster, 0, connect)
