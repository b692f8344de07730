"""Hostile traffic all the time: refused, counted, told once; the market settles what is true."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.reasoncodes import ReasonCode
from typer.testing import CliRunner

from market.forecast import DAY_S
from oracle.cli import app
from oracle.meters.sample import MAX_PAYLOAD_BYTES, Kind
from tests.brokers import WAIT_S, mosquitto, publish, publisher
from tests.committee import Clock, Committee, LiveMeters, Settings
from tests.faults.days import (
    assert_as_undisturbed,
    assert_read_once,
    assert_said_once,
    assert_sampled_once,
    await_calm,
    await_heard,
    await_logged,
    await_samples,
    live,
    logged,
)
from tests.live import FIRST_WH, Concentrator, message, mqtt_source, past_schedule, signed
from tests.meter_messages import P256, public_hex
from tests.village import Village
from tests.world import new_world

pytestmark = pytest.mark.faults

SIGNS, VICTIM, VILLAIN = "load-1", "load-2", "load-3"
"""A meter with a registered key, one without, and one whose owner speaks for others."""

HEAD_END = "head-end"
"""The user that publishes for all meters; its password is lost, too, as the villains have it."""

THIEF = ec.derive_private_key(0x7E1F, ec.SECP256R1())

AT_THE_GATE = (Kind.UNREGISTERED, Kind.UNSIGNED, Kind.CLOCK)

PATIENCE_S = 1_500
PAUSE_S = 0.02

ACCESS = f"""pattern write meters/%u/energy
user {HEAD_END}
topic write meters/+/energy
topic write signed/+
""" + "".join(
    f"user seat{seat}\ntopic read meters/+/energy\ntopic read signed/+\n" for seat in range(4)
)


class Villains:
    """Publish all kinds of lies, round and round, and count what the broker took."""

    def __init__(self, village: Village, port: int) -> None:
        self._village, self._port = village, port
        self.taken: Counter[tuple[Kind | None, str]] = Counter()
        """What is to be refused, by what is wrong with it and the meter it is put down to."""
        self.denied: list[ReasonCode] = []
        self.old = SIGNS, FIRST_WH, village.world.market.schedule.epoch_s
        """What the meter did say once: meter, state and instant."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        stop = threading.Event()

        def work() -> None:
            with publisher(self._port, user=HEAD_END) as head:
                for number in itertools.count():
                    for kind, meter, topic, text in self._lies(number):
                        publish(head, topic, text)
                        # These the gate refuses, one register after the other.
                        self.taken[kind, meter] += 2 if kind in AT_THE_GATE else 1
                    self._trespass()
                    if stop.wait(PAUSE_S):
                        return

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(WAIT_S)
            assert not thread.is_alive()

    def _trespass(self) -> None:
        """Publish with one meter's password on the topic of another."""
        with publisher(self._port, user=VILLAIN) as own:
            # This broker hangs up on who tries that.
            own.on_publish = lambda *args: self.denied.append(args[3])
            publish(own, f"meters/{VICTIM}/energy", message(VICTIM, self._at_s(), 10**9, 10**9))

    def _at_s(self) -> int:
        schedule, now_s = self._village.world.market.schedule, int(time.time())
        return schedule.start(self._village.first) + now_s % DAY_S

    def _lies(self, number: int) -> Iterator[tuple[Kind | None, str, str, str | bytes]]:
        """Yield what is wrong, the meter it is put down to, topic and message of each lie."""
        at_s, much = self._at_s(), 10**9 + number
        lie = message(VICTIM, at_s, much, much)
        yield (
            Kind.UNREGISTERED,
            "unknown",
            "meters/stranger-7/energy",
            message("stranger-7", at_s, 1, 1),
        )
        yield Kind.UNAUTHORISED, VICTIM, f"meters/{VILLAIN}/energy", lie
        yield Kind.UNSIGNED, SIGNS, f"meters/{SIGNS}/energy", message(SIGNS, at_s, much, much)
        forged = signed(THIEF, SIGNS, much, at_s, 1_000_000 + number)
        yield Kind.FORGED, SIGNS, f"signed/{SIGNS}", forged
        # What the meter said long ago, under the number it had and under its name again.
        yield None, SIGNS, f"signed/{SIGNS}", signed(P256, *self.old, 0)
        yield Kind.REPLAYED, SIGNS, f"signed/{SIGNS}", signed(P256, SIGNS, much, at_s, 0)
        yield Kind.MALFORMED, VICTIM, f"meters/{VICTIM}/energy", _nonsense(number, lie)
        yield Kind.OVERSIZED, VICTIM, f"meters/{VICTIM}/energy", lie + " " * MAX_PAYLOAD_BYTES
        ahead_s = int(time.time()) + DAY_S
        yield Kind.CLOCK, VICTIM, f"meters/{VICTIM}/energy", message(VICTIM, ahead_s, much, much)


def _nonsense(number: int, lie: str) -> str | bytes:
    texts = (
        b"\xff\xfe" + lie.encode(),
        lie[:-1],
        "[" * 5_000,
        json.dumps({"meter": VICTIM, "at": 1, "in": -1, "out": 0}),
        json.dumps({"meter": VICTIM, "at": 1, "in": "many", "out": 0}),
        lie.replace('"in": 1', '"in": NaN, "was": 1'),
        lie.replace('"in": 1', '"in": 1e999, "was": 1'),
        json.dumps({"meter": VICTIM, "in": 1, "out": 0}),
    )
    return texts[number % len(texts)]


def counted(committee: Committee, seat: int) -> Counter[tuple[Kind, str]]:
    """Return what `oracle meters status` says was refused, by kind and meter."""
    command = ["meters", "status", "--config", str(committee.configuration(seat))]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.split("\u2502")] for line in result.output.splitlines()]
    return Counter(
        {(Kind(row[2]), row[3]): int(row[4]) for row in rows if len(row) > 5 and row[1] == "mqtt"}
    )


def test_committee__hostile_meters_and_a_seat_without_password__market_settles_the_truth(
    tmp_path: Path,
) -> None:
    users = {name: name for name in (HEAD_END, VILLAIN, *(f"seat{seat}" for seat in range(4)))}
    with (
        new_world(past_schedule(), accounts=80) as world,
        mosquitto(tmp_path / "broker", users=users, acl=ACCESS) as broker,
    ):
        village = Village(world)
        periods = range(village.first, village.first + 6)
        expelled, dead = periods[2] % 4, (periods[2] + 1) % 4
        before, clock = village.worths(), Clock(world.market)

        def sources(seat: int) -> list[dict[str, object]]:
            password = tmp_path / f"password{seat}"
            password.write_text(f"seat{seat}")
            more = {"username": f"seat{seat}", "password_file": password}
            return [mqtt_source(seat, broker.port, **more)]

        meters = LiveMeters(sources, [{"meter": SIGNS, "key": public_hex(P256)}])
        settings = Settings(village.meters, live=meters, patience_s=PATIENCE_S)
        villains = Villains(village, broker.port)
        with (
            village.committee(tmp_path, settings) as committee,
            Concentrator(village, broker.port, user=HEAD_END, keys={SIGNS: P256}) as honest,
        ):

            def at_edge(period: int) -> None:
                honest.tell(period)
                await_heard(committee, len(honest.told))

            await_logged(clock, committee, committee.seats, "broker connected")
            with villains.at_work():
                for _ in live(village, clock, periods[:2], 1, at_edge):
                    pass
                broker.expel(f"seat{expelled}")
                await_logged(clock, committee, [expelled], "broker refuses")
                for _ in live(village, clock, periods[2:4], 1, at_edge):
                    pass
                broker.admit(f"seat{expelled}", f"seat{expelled}")
                await_logged(clock, committee, [expelled], "resumed=True")
                # A broker keeps nothing for those who may not read; the head end does.
                honest.repeat()
                # From now on there is no quorum without it, nor without what it missed.
                committee.kill(dead)
                for _ in live(village, clock, periods[4:], 1, at_edge):
                    pass
                committee.start(dead)
            told = [*honest.told, (villains.old[0], 1, 1_000 * villains.old[2], villains.old[1])]
            await_samples(clock, committee, len(told))
            taken = Counter({key: n for key, n in villains.taken.items() if key[0]})

            def all_counted(seat: int) -> bool:
                found = counted(committee, seat)
                return all(found[kind, meter] >= n for (kind, meter), n in taken.items() if kind)

            for seat in committee.seats:
                if seat != expelled:  # of what it may not hear it counts nothing
                    clock.until(partial(all_counted, seat), f"counts of seat {seat}", step_s=1)
            await_calm(village, committee, clock)
            # A meter of this kind reports no faults, and nothing is old enough to be pruned.
            assert {kind for kind, _ in taken} == set(Kind) - {Kind.FAULTY, Kind.PRUNED}
            for seat in committee.seats:
                assert committee.is_alive(seat)
                if seat in (expelled, dead):
                    continue
                # What a broker sends again after a cut is counted again; here there was none.
                assert counted(committee, seat) == taken
                for kind, _meter in taken:
                    assert logged(committee, seat, f"sample refused kind={kind} ") == 1
            assert villains.denied
            assert {reason.getName() for reason in villains.denied} == {"Not authorized"}
            assert_as_undisturbed(village, before, periods)
            assert_said_once(village, committee)
            assert_read_once(village, committee, periods)
            assert_sampled_once(committee, told)
