"""From sources to disk: everything is durable before its sender hears of it."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable

from oracle import log
from oracle.meters.gate import Gate
from oracle.meters.sample import Delivery, Reject, Sample
from oracle.meters.store import SampleStore

MOST_WAITING = 10_000
"""Deliveries that may wait for the disk before sources are slowed down."""

MOST_AT_ONCE = 2_000
"""Deliveries made durable together."""

RETRY_S = 1.0
"""Pause between two tries to write while the disk does not take anything."""

_POLL_S = 0.2


class Intake:
    """Judges deliveries, commits them in batches and acknowledges them, in a thread of its own."""

    def __init__(self, store: SampleStore, gate: Gate, clock: Callable[[], float]) -> None:
        """Write into a store, which nobody else may use from now on.

        Args:
            store: Where believed samples and counts of refusals go.
            gate: Judges them.
            clock: Tells Unix seconds.
        """
        self._store, self._gate, self._clock = store, gate, clock
        self._waiting: queue.Queue[Delivery] = queue.Queue(MOST_WAITING)
        self._told: set[tuple[str, str, str]] = set()
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._work, name="meter intake", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, unless the disk takes nothing, and end."""
        self._stop.set()
        self._thread.join()

    def put(self, delivery: Delivery) -> None:
        """Take a delivery; waits while too many wait, and drops it unacknowledged after the end."""
        while not self._stop.is_set():
            try:
                return self._waiting.put(delivery, timeout=_POLL_S)
            except queue.Full:
                continue

    def _work(self) -> None:
        while True:
            try:
                batch = [self._waiting.get(timeout=_POLL_S)]
            except queue.Empty:
                if self._stop.is_set():
                    return
                continue
            # What came during the last commit goes into the next: load makes batches larger.
            while len(batch) < MOST_AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get())
            if not self._write(batch):
                return

    def _write(self, batch: list[Delivery]) -> bool:
        """Make a batch durable and acknowledge it; returns whether that was possible at last."""
        samples: list[Sample] = []
        rejects: list[Reject] = []
        for delivery in batch:
            believed, refused = self._gate.judge(delivery)
            samples += believed
            rejects += [self._gate.bounded(reject) for reject in refused]
        failing = False
        while True:
            try:
                added, replayed = self._store.add(samples, rejects, int(self._clock() * 1000))
                break
            except sqlite3.Error as exc:
                tell = log.debug if failing else log.error
                tell("samples cannot be written", problem=exc, waiting=self._waiting.qsize())
                failing = True
                if self._stop.wait(RETRY_S):
                    return False
        if failing:
            log.info("samples are written again", samples=added)
        for delivery in batch:
            if delivery.done is not None:
                delivery.done()
        for reject in (*rejects, *replayed):
            self._tell(reject)
        return True

    def _tell(self, reject: Reject) -> None:
        """Log the first refusal of its kind; the store counts them all."""
        key = (reject.source, reject.kind, reject.meter or "")
        if key not in self._told:
            self._told.add(key)
            log.warning(
                "sample refused", kind=reject.kind, source=reject.source, problem=reject.why
            )
