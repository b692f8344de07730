"""Meters of every kind, each in its own words, read by four processes and settled in real time."""

from __future__ import annotations

import csv
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from market.devnet import rpc
from market.schedule import Schedule
from market.types import MeterReading, Quality
from oracle.meters.sample import Register
from oracle.meters.store import SampleStore
from tests.brokers import WAIT_S, mosquitto
from tests.collector import collector
from tests.committee import Committee, LiveMeters, Settings
from tests.dlms import push
from tests.faults.days import worths_after
from tests.live import FIRST_WH, Concentrator, mqtt_source
from tests.meter_messages import p1
from tests.sunspec_device import sunspec_device
from tests.village import ROSTER, Village
from tests.world import new_world

pytestmark = pytest.mark.alone

LENGTH_S = 16
"""A period of real time, in which the meters count what the profile has for a quarter hour."""

GATE_LEAD_S = 12
"""Time for a clearing and four votes."""

TRADE_S = 5
"""Time for the agreements before it."""

QUARTER_S = 900

DLMS, P1, SUNSPEC = "load-1", "load-2", "pv-4"
SERIAL_NUMBER = "TEST0123456789"
TOLERANCE_WH = 20
"""What nodes that ask a device themselves put up with by default."""

TICK_S = 0.2
SETTLE_TIMEOUT_S = 90.0


def fast_schedule() -> Schedule:
    """Return a market that begins now and whose time is the machine's."""
    return Schedule(
        epoch_s=int(time.time()),
        length_s=LENGTH_S,
        price_horizon_s=3_600,
        price_lead_s=4 * LENGTH_S,
        gate_lead_s=GATE_LEAD_S,
        round_length_s=LENGTH_S // 2,
        settle_deadline_s=3_000,
        window_s=3_600,
    )


def fast_roster(path: Path) -> Path:
    """Write a roster whose meters may count as much in a period as others in a quarter hour."""
    with ROSTER.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key in ("import_capacity_w", "export_capacity_w"):
            row[key] = str(int(row[key]) * QUARTER_S // LENGTH_S)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


class Counters:
    """The registers of one meter, which rise evenly in every period by what its profile has."""

    def __init__(self, village: Village, meter: str) -> None:
        """Count from the first period of the market on."""
        self._village, self._node = village, list(village.roster).index(meter) + 1

    def at(self, instant_s: float) -> tuple[int, int]:
        """Return what was taken and fed until an instant, in Wh."""
        village = self._village
        passed = (instant_s - village.world.market.schedule.start(village.first)) / LENGTH_S
        taken_wh = fed_wh = float(FIRST_WH)
        for number in range(int(max(0.0, passed)) + 1):
            reading = village.true_readings(village.first + number)[self._node]
            share = min(1.0, max(0.0, passed - number))
            taken_wh += share * reading.import_wh
            fed_wh += share * reading.export_wh
        return int(taken_wh), int(fed_wh)


@contextmanager
def p1_port(counters: Counters) -> Iterator[int]:
    """Serve a P1 port over TCP: a telegram of every second, to everybody who listens."""
    stop, lines = threading.Event(), list[socket.socket]()
    local = ZoneInfo("Europe/Amsterdam")

    def work() -> None:
        second = int(time.time())
        while not stop.wait(0.05):
            while second <= time.time():
                at = datetime.fromtimestamp(second, local)
                stamp = f"{at:%y%m%d%H%M%S}{'S' if at.dst() else 'W'}"
                # Half of it is counted by night, in a register of its own.
                taken_wh, _ = counters.at(second)
                low, high = f"{taken_wh // 2 / 1_000:010.3f}", f"{-(-taken_wh // 2) / 1_000:010.3f}"
                for line in lines:
                    with suppress(OSError):  # who hangs up has heard enough
                        line.sendall(p1(stamp, low, high))
                second += 1

    def accept() -> None:
        while not stop.is_set():
            try:
                lines.append(server.accept()[0])
            except TimeoutError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        threads = [threading.Thread(target=work), threading.Thread(target=accept)]
        for thread in threads:
            thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            for thread in threads:
                thread.join(WAIT_S)
            for line in lines:
                line.close()


def live_until(
    village: Village, condition: Callable[[], bool], timeout_s: float, what: str
) -> None:
    """Let blocks come at the machine's time until something is so."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(TICK_S)
        rpc(village.world.url, "evm_mine")


def sources_of(committee: Committee, seat: int, meter: str) -> set[str]:
    """Return from where a node has samples of a meter's registers."""
    store = SampleStore(committee.samples(seat))
    found = {
        sample.source
        for register in Register
        for sample in store.window(meter, register, 0, 2**53, cumulative=True)
    }
    store.close()
    return found


def reports(village: Village) -> dict[int, dict[int, MeterReading]]:
    """Return the readings that every settled period was last settled on, by period and node."""
    world = village.world
    settled = world.chain.events(world.market.master, "PeriodSettled", from_block=0)
    versions = {event["args"]["period"]: event["args"]["version"] for event in settled}
    return {
        period: {r.node: r for r in world.history.readings(period, version)}
        for period, version in versions.items()
    }


def void_periods(village: Village) -> set[int]:
    """Return the periods that were not cleared in time."""
    world = village.world
    cleared = world.chain.events(world.market.master, "Cleared", from_block=0)
    return {event["args"]["period"] for event in cleared if event["args"]["void"]}


def test_committee__of_meters_of_every_kind__settles_what_they_counted(tmp_path: Path) -> None:
    """One through the DLMS collector, one on a P1 port, one on Modbus, the others over MQTT."""
    with new_world(fast_schedule(), accounts=80) as world, mosquitto(tmp_path / "b") as broker:
        village = Village(world, roster=fast_roster(tmp_path / "meters.csv"))
        schedule = world.market.schedule
        pv, p1_meter, dlms_meter = (Counters(village, meter) for meter in (SUNSPEC, P1, DLMS))

        def registers() -> dict[str, int]:
            taken_wh, fed_wh = pv.at(time.time())
            return {"TotWhImp": taken_wh, "TotWhExp": fed_wh}

        with (
            sunspec_device(203, registers) as modbus,
            p1_port(p1_meter) as port,
            collector(tmp_path, broker.port) as dlms,
            Concentrator(village, broker.port, without={DLMS, P1, SUNSPEC}) as others,
        ):

            def sources(seat: int) -> list[dict[str, object]]:
                here = {"host": "127.0.0.1"}
                return [
                    mqtt_source(seat, broker.port, preset="smartmeter-datacollector"),
                    {"kind": "sunspec", "meter": SUNSPEC, "port": modbus, "poll_s": 0.5, **here},
                    {"kind": "dsmr", "meter": P1, "port": port, **here},
                ]

            live = LiveMeters(sources, [{"meter": DLMS, "ids": [SERIAL_NUMBER]}])
            before = village.worths()
            settings = Settings(
                village.meters, live=live, patience_s=LENGTH_S // 2 - 2, clock_skew_s=300
            )
            with village.committee(tmp_path, settings) as committee:
                # The next one whose agreements can still be made.
                ahead_s = GATE_LEAD_S + TRADE_S
                period = schedule.period_at(int(time.time()) + ahead_s) + 1
                village.trade(period)
                for edge in (period, period + 1):
                    at_s = schedule.start(edge)
                    passed = lambda at_s=at_s: time.time() >= at_s  # noqa: E731
                    live_until(village, passed, 4 * LENGTH_S, "an edge")
                    others.tell(edge)
                    states = dlms_meter.at(at_s)
                    dlms.push(push(SERIAL_NUMBER, datetime.fromtimestamp(at_s, UTC), *states))

                def settled() -> bool:
                    state = world.history.state(period)
                    return state.settled and not state.flagged

                live_until(village, settled, SETTLE_TIMEOUT_S, "the settlement")
                for seat in committee.seats:
                    assert sources_of(committee, seat, SUNSPEC) == {"sunspec"}
                    assert sources_of(committee, seat, P1) == {"dsmr"}
                    assert sources_of(committee, seat, DLMS) == {"mqtt"}
                    assert "clock skew" not in committee.log(seat).read_text()

        accepted = reports(village)
        truth, read = village.true_readings(period), accepted[period]
        on_modbus = list(village.roster).index(SUNSPEC) + 1
        assert {r.quality for r in read.values()} == {Quality.MEASURED}
        # Each seat has asked the device at instants of its own.
        assert truth[on_modbus].export_wh > 5 * TOLERANCE_WH
        assert abs(read[on_modbus].export_wh - truth[on_modbus].export_wh) <= TOLERANCE_WH
        assert read == {**truth, on_modbus: read[on_modbus]}
        assert world.history.positions(period)
        # Those before and behind it are settled, too, on what was read of them.
        models = [
            village.expected(other, readings, void=other in void_periods(village))
            for other, readings in accepted.items()
        ]
        assert village.worths() == worths_after(before, models)
