"""Has live meters speak for a simulated week, and watches the memory of the node that listens.

Every quarter hour each meter publishes its register with QoS 1 over mosquitto; the node takes it
into its store, reckons the period that has ended and journals its readings, as a committee node
does. Memory is compared between the end of the first day and that of the last: what a node needs
is there by then, and what grows on grows for ever.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Annotated

import typer
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from oracle.journal import Journal
from oracle.meters.connect import connect
from oracle.meters.roster import Meter, Role, Roster
from oracle.meters.service import MeterService
from oracle.meters.settings import LiveConfig
from oracle.meters.store import SampleStore
from oracle.readings import OwnReadings
from tests.brokers import mosquitto
from tests.paper import memory_mb

LENGTH_S = 900
EPOCH_S = 1_767_225_600
DAY = 96
WINDOW = 96
"""Periods in which readings may still be corrected."""
STEP_WH = 250
MOST_GROWN_MB = 10.0
"""From the end of the first day on; the allocator alone moves some."""
LONGEST_S = 60.0


def speak(port: int, meters: int, periods: int, turn: Semaphore) -> None:
    """Publish every meter's register, quarter hour by quarter hour, as it is told to."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(500)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for edge in range(periods + 1):
        turn.acquire()
        sent = []
        for meter in range(meters):
            message = json.dumps({"at": EPOCH_S + edge * LENGTH_S, "wh": edge * STEP_WH + meter})
            sent.append(client.publish(f"meters/m{meter}/energy", message, qos=1))
        for info in sent:
            info.wait_for_publish(LONGEST_S)
    client.disconnect()
    client.loop_stop()


def live_config(store: Path, port: int) -> LiveConfig:
    """Return what an operator would write."""
    quantities = [{"direction": "import", "value": "wh", "unit": "Wh"}]
    topic = {"filter": "meters/{meter}/energy", "time": "at", "quantities": quantities}
    source = {"kind": "mqtt", "client_id": "bench", "port": port, "topics": [topic]}
    return LiveConfig.model_validate({"store": store, "sources": [source]})


def listen(folder: Path, port: int, meters: int, days: int, turn: Semaphore) -> list[float]:
    """Live through the days; returns the memory at the end of each, MB."""
    roster = Roster(Meter(f"m{n}", "", 0, Role.CONSUMER, 10_000, 0) for n in range(meters))
    store = folder / "samples.sqlite"
    service = MeterService(live_config(store, port), roster, EPOCH_S, connect)
    service.start()
    came = SampleStore(store)
    now = EPOCH_S
    readings = OwnReadings(Journal(folder / "journal.sqlite"), service, roster, lambda: now)
    memory = []
    for edge in range(days * DAY + 1):
        turn.release()
        give_up = time.monotonic() + LONGEST_S
        while came.last() < (edge + 1) * meters:
            if time.monotonic() > give_up:
                raise SystemExit(f"the readings of quarter hour {edge} do not arrive")
            time.sleep(0.002)
        now, period = EPOCH_S + edge * LENGTH_S, edge - 1
        if period < 0:
            continue
        readings.collect(period)
        if readings.measured(period) != dict.fromkeys(roster, (STEP_WH, 0)):
            raise SystemExit(f"period {period} was not read as it was published")
        readings.forget(before=max(0, period - WINDOW))
        if (period + 1) % DAY == 0:
            memory.append(memory_mb())
    service.stop()
    if came.count() != (days * DAY + 1) * meters:
        raise SystemExit("samples are missing, or there twice")
    return memory


def main(
    meters: Annotated[int, typer.Option(help="Meters.")] = 200,
    days: Annotated[int, typer.Option(min=2, help="Simulated days.")] = 7,
) -> None:
    """Print the memory at the end of each day; fail if it grows after the first."""
    context = multiprocessing.get_context("spawn")
    turn = context.Semaphore(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with mosquitto(folder / "broker") as broker:
            speaker = context.Process(
                target=speak, args=(broker.port, meters, days * DAY, turn), daemon=True
            )
            speaker.start()
            begun = time.monotonic()
            memory = listen(folder, broker.port, meters, days, turn)
            took_s = time.monotonic() - begun
            speaker.join()
    print("| end of day | " + " | ".join(str(day + 1) for day in range(days)) + " |")
    print("|---|" + "---:|" * days)
    print("| memory MB | " + " | ".join(f"{mb:.1f}" for mb in memory) + " |")
    grown_mb = memory[-1] - memory[0]
    print(
        f"\n{meters} meters, {(days * DAY + 1) * meters:,} readings through mosquitto, store and "
        f"journal in {took_s:.0f} s; grown {grown_mb:+.1f} MB since the end of the first day "
        f"(at most {MOST_GROWN_MB:.0f})."
    )
    if grown_mb > MOST_GROWN_MB:
        raise SystemExit("memory grows")


if __name__ == "__main__":
    typer.run(main)
