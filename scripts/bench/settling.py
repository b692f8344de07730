"""Seconds from a period's close to its settlement, by four committee processes on one anvil.

Every node of a market has traded; at the close its meter speaks. Measured is what the committee has
to do then: read, propose, compare, vote and settle, each seat for itself. Once with a profile file,
once with live meters that publish over mosquitto when the period is over. The baseline, in the same
run and on the same state, is one process that has all keys, all readings and nothing to journal.

    python -m scripts.bench.settling --nodes 5000
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from market.devnet import rpc
from market.grid import Grid
from market.history import History
from market.types import MeterReading
from oracle.config import NodeConfig
from oracle.meters.roster import COLUMNS, meter_key
from oracle.meters.store import SampleStore
from scripts.bench.throughput import (
    CAPACITY_WH,
    GRID,
    PERIOD,
    SCHEDULE,
    Run,
    close_and_settle,
    market_on_anvil,
    populate,
    readings,
    relay,
    signed_orders,
)
from tests.brokers import mosquitto
from tests.committee import Committee, Meters, Settings

TARGET_S = 30.0
LONGEST_S = 300.0
LOOK_S = 0.05
POLL_S = NodeConfig.model_fields["poll_s"].default
"""As an operator's nodes do by default."""
IDLE_BLOCK_S = 1.0
"""An empty block comes so often: where none comes, the chain's clock stands still."""
PASSING_S = 20
"""Chain time that passes with it in the periods before the measured one."""
PATIENCE_S = 120
"""How long live seats wait for meters, chain time."""

TOPIC = """
[[meters.live.sources.topics]]
filter = "meters/{meter}/energy"
time = "at"
quantities = [
  { direction = "import", value = "in", unit = "Wh" },
  { direction = "export", value = "out", unit = "Wh" },
]
"""


def name_of(node: int) -> str:
    """Return the id of a node's meter."""
    return f"meter-{node}"


def key_of(node: int) -> bytes:
    """Return what the registry calls it."""
    return meter_key(name_of(node))


@dataclass(frozen=True, slots=True)
class LiveSettings(Settings):
    """What a seat that listens to a broker is told.

    Attributes:
        port: The broker's port.
        topic: The tables of `[[meters.live.sources.topics]]`.
    """

    port: int = 0
    topic: str = field(default=TOPIC)

    def toml(self, rpc_url: str | Sequence[str], deployment: Path, seat: int, journal: Path) -> str:
        """Return a node's configuration file."""
        text = Settings.toml(self, rpc_url, deployment, seat, journal)
        profile = ("profile =", "first_period =", "first_row =")
        lines = [line for line in text.splitlines() if not line.startswith(profile)]
        lines += [
            "[meters.live]",
            f'store = "{journal}.samples"',
            "[[meters.live.sources]]",
            'kind = "mqtt"',
            f'client_id = "seat{seat}"',
            f"port = {self.port}",
        ]
        return "\n".join(lines) + self.topic


@dataclass(slots=True)
class Course:
    """When what had happened, seconds after the close.

    Attributes:
        agreed_s: The report was accepted.
        settled_s: The period was settled.
        transactions: Transactions from the close on.
        mgas: Their gas, in millions.
    """

    agreed_s: float = 0.0
    settled_s: float = 0.0
    transactions: int = 0
    mgas: float = 0.0


def write_files(folder: Path, truth: Sequence[MeterReading]) -> Meters:
    """Write roster and profile of the market's meters."""
    tree, watts = Grid.load(GRID).tree, CAPACITY_WH * 3_600 // SCHEDULE.length_s
    rows = [
        f"{name_of(r.node)},node-{r.node},{tree.buses[(r.node - 1) % len(tree.buses)]},"
        f"prosumer,{watts},{watts}"
        for r in truth
    ]
    roster = folder / "meters.csv"
    roster.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    profile = folder / "profile.csv"
    lines = [f"{name_of(r.node)},0,{r.import_wh},{r.export_wh}" for r in truth]
    head = "meter,row,import_wh,export_wh"
    profile.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return Meters(roster, profile, PERIOD, 0)


def speak(port: int, at_s: int, registers: Mapping[str, tuple[int, int]]) -> None:
    """Have every meter publish its two registers once, with QoS 1."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(500)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [
        client.publish(
            f"meters/{meter}/energy", json.dumps({"at": at_s, "in": taken, "out": fed}), qos=1
        )
        for meter, (taken, fed) in registers.items()
    ]
    for info in sent:
        info.wait_for_publish(LONGEST_S)
    client.disconnect()
    client.loop_stop()


def await_cleared(run: Run) -> None:
    """Live until the period is cleared and those before it, of which nothing was read, settled."""
    history = History(run.market)
    first = int(run.market.chain.read(run.market.master.functions.firstPeriod()))
    gates = [(SCHEDULE.gate(period), period, False) for period in range(first, PERIOD + 1)]
    closes = [(SCHEDULE.close(period), period, True) for period in range(first, PERIOD)]
    for instant_s, period, closes_it in sorted(gates + closes):
        run.warp(max(instant_s, run.market.chain.now() + 1))
        give_up, last_block = time.monotonic() + LONGEST_S, time.monotonic()
        while True:
            state = history.state(period)
            if state.settled if closes_it else state.cleared:
                break
            if time.monotonic() > give_up:
                raise SystemExit(f"the committee does not go on with period {period}")
            # Nobody waits in real time for meters that say nothing of these periods.
            last_block = heartbeat(run, last_block, PASSING_S)
            time.sleep(LOOK_S)


def heartbeat(run: Run, last_block: float, passing_s: int = 0) -> float:
    """Mine an empty block if it is time for one; returns when the last one was."""
    if time.monotonic() - last_block < IDLE_BLOCK_S:
        return last_block
    run.warp(run.market.chain.now() + max(1, passing_s))
    return time.monotonic()


def follow(run: Run, since: float, course: Course) -> None:
    """Note when the report is accepted and when the period is settled."""
    history = History(run.market)
    first, last_block = run.market.chain.block_number(), time.monotonic()
    while not course.settled_s:
        last_block = heartbeat(run, last_block)
        state, passed_s = history.state(PERIOD), time.monotonic() - since
        if not course.agreed_s and history.latest_version(PERIOD):
            course.agreed_s = passed_s
        if state.settled:
            course.settled_s = passed_s
        if passed_s > LONGEST_S:
            raise SystemExit(f"the period is not settled {LONGEST_S:.0f} s after its close")
        time.sleep(LOOK_S)
    for number in range(first + 1, run.market.chain.block_number() + 1):
        block = rpc(run.url, "eth_getBlockByNumber", [hex(number), False])
        course.mgas += int(block["gasUsed"], 16) / 1e6
        course.transactions += len(block["transactions"])


def from_file(run: Run, folder: Path, meters: Meters) -> Course:
    """Close a period whose energies stand in a profile file."""
    deployment = folder.parent / "deployment.json"
    settings = Settings(meters, grid=GRID, poll_s=POLL_S)
    with Committee(folder, run.url, deployment, run.seats, settings):
        await_cleared(run)
        course, since = Course(), time.monotonic()
        run.warp(SCHEDULE.close(PERIOD))
        follow(run, since, course)
    return course


def from_broker(run: Run, folder: Path, meters: Meters, truth: Sequence[MeterReading]) -> Course:
    """Close a period whose meters publish at its close."""
    deployment = folder.parent / "deployment.json"
    context = multiprocessing.get_context("spawn")
    before = {name_of(r.node): (90_000 + r.node, 7 * r.node) for r in truth}
    after = {
        name_of(r.node): (90_000 + r.node + r.import_wh, 7 * r.node + r.export_wh) for r in truth
    }
    with mosquitto(folder / "broker") as broker:
        settings = LiveSettings(
            meters, grid=GRID, poll_s=POLL_S, patience_s=PATIENCE_S, port=broker.port
        )
        with Committee(folder, run.url, deployment, run.seats, settings) as committee:
            speak(broker.port, SCHEDULE.start(PERIOD), before)
            stores = [Path(f"{committee.journal(seat)}.samples") for seat in committee.seats]
            await_cleared(run)
            while any(SampleStore(store).count() < 2 * len(truth) for store in stores):
                time.sleep(LOOK_S)
            course, since = Course(), time.monotonic()
            run.warp(SCHEDULE.close(PERIOD))
            meter = context.Process(target=speak, args=(broker.port, SCHEDULE.close(PERIOD), after))
            meter.start()
            follow(run, since, course)
            meter.join()
    return course


@contextmanager
def undone(run: Run) -> Iterator[None]:
    """Take back what happens inside."""
    snapshot = rpc(run.url, "evm_snapshot")
    yield
    rpc(run.url, "evm_revert", [snapshot])


def alone(run: Run, nodes: int) -> Course:
    """Close a period whose positions are fixed, with one process that has all keys."""
    course, since = Course(), time.monotonic()
    close_and_settle(run, nodes)
    course.settled_s = time.monotonic() - since
    course.agreed_s = course.settled_s - run.phases["settle"].seconds
    for phase in run.phases.values():
        course.mgas += phase.gas / 1e6
        course.transactions += phase.transactions
    return course


def main(
    nodes: Annotated[int, typer.Option(help="Nodes, each with a meter and a trade.")] = 5_000,
) -> None:
    """Measure a period from closed to settled; fail above the target."""
    truth = readings(nodes)
    with market_on_anvil() as run, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run.market.deployment.save(folder / "deployment.json")
        meters = write_files(folder, truth)
        relay(run, signed_orders(run, populate(run, nodes, key_of)))
        courses = {}
        with undone(run):
            courses["profile file"] = from_file(run, folder / "file", meters)
            settled = History(run.market).state(PERIOD)
            if History(run.market).readings(PERIOD, settled.version) != truth:
                raise SystemExit("the committee settled other readings than were written")
        with undone(run):
            courses["live, mosquitto"] = from_broker(run, folder / "live", meters, truth)
            if History(run.market).readings(PERIOD, 1) != truth:
                raise SystemExit("the committee settled other readings than were published")
        with undone(run):
            with Committee(
                folder / "last",
                run.url,
                folder / "deployment.json",
                run.seats,
                Settings(meters, grid=GRID),
            ):
                await_cleared(run)
            run.warp(SCHEDULE.close(PERIOD))
            courses["one process alone (baseline)"] = alone(run, nodes)
    print("| committee of four | report accepted, s | settled, s | transactions | Mgas |")
    print("|---|---:|---:|---:|---:|")
    for name, course in courses.items():
        print(
            f"| {name} | {course.agreed_s:.1f} | {course.settled_s:.1f} | {course.transactions} "
            f"| {course.mgas:.1f} |"
        )
    slowest = max(courses["profile file"].settled_s, courses["live, mosquitto"].settled_s)
    print(f"\n{nodes:,} nodes, from the period's close; target {TARGET_S:.0f} s on 2 cores.")
    if slowest > TARGET_S:
        raise SystemExit(f"above {TARGET_S:.0f} s")


if __name__ == "__main__":
    typer.run(main)
