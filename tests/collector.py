"""The unmodified smartmeter-datacollector, and a meter's end of the serial line it reads."""

from __future__ import annotations

import os
import subprocess
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.brokers import WAIT_S

PROGRAM = Path(__file__).resolve().parents[1] / ".cache/collector/bin/smartmeter-datacollector"


@dataclass(frozen=True, slots=True)
class Collector:
    """The running program."""

    line: int
    process: subprocess.Popen[bytes]
    log: Path

    def push(self, telegram: bytes) -> None:
        """Send what a meter sends."""
        os.write(self.line, telegram)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@contextmanager
def collector(folder: Path, port: int) -> Iterator[Collector]:
    """Run the program on a pseudo-terminal, connected to a broker on this machine."""
    assert PROGRAM.exists(), f"{PROGRAM} is missing: `make test` installs it"
    ours, theirs = os.openpty()
    tty.setraw(ours)
    config, log = folder / "collector.ini", folder / "collector.log"
    config.write_text(
        f"[reader0]\ntype = lge450\nport = {os.ttyname(theirs)}\n"
        f"[sink0]\ntype = mqtt\nhost = 127.0.0.1\nport = {port}\n"
        "[logging]\ndefault = INFO\n"
    )
    with log.open("wb") as out:
        process = subprocess.Popen([PROGRAM, "-c", str(config)], stdout=out, stderr=out)
    running = Collector(ours, process, log)
    try:
        running.wait_for(lambda: "Connected to MQTT" in log.read_text())
        yield running
    finally:
        process.terminate()
        process.wait(WAIT_S)
        os.close(ours)
        os.close(theirs)
