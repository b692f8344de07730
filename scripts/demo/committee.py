"""The oracle's committee: one process per seat, configured, started, watched and stopped."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from eth_account.signers.local import LocalAccount

from scripts.demo.errors import DemoError

KEY_VARIABLE = "SUBGRID_SEAT_KEY"
STOP_TIMEOUT_S = 5.0
POLL_S = 0.05

_ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

_CONFIG = """\
rpc_url = "{url}"
deployment = "{deployment}"
seat = {seat}
journal = "seat-{seat}.sqlite"
# The devnet mines a block for each transaction and never takes one back.
confirmations = 0
poll_s = {poll_s}
# The demo turns the chain's time as it likes.
clock_skew_s = 0

[key]
env = "{key}"

[meters]
roster = "meters.csv"
{meters}
[prices]
source = "csv"
file = "prices.csv"

[report]
patience_s = 0

[grid]
file = "grid.json"
"""


class Committee:
    """Four processes that know nothing of the demo: they see the chain and hear their meters.

    Use it in a `with` statement; leaving it ends every process. On Linux they also end with the
    process that started them, however that one ends.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        deployment: Path,
        seats: Sequence[LocalAccount],
        meters: Callable[[int], str],
    ) -> None:
        """Describe the committee.

        Args:
            folder: Where `meters.csv`, `prices.csv` and `grid.json` lie, and where configurations,
                journals and logs go.
            url: The chain's endpoint.
            deployment: The market's deployment file.
            seats: The accounts, one process each.
            meters: What the configuration of a seat says of where its readings come from.
        """
        self._folder = folder
        self._url = url
        self._deployment = deployment.resolve()
        self._seats = seats
        self._meters = meters
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        """Process ids by seat."""
        return [process.pid for process in self._processes]

    def __enter__(self) -> Self:
        """Start all processes."""
        try:
            for seat, account in enumerate(self._seats):
                self._processes.append(self._start(seat, account))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        self.stop()

    def check(self) -> None:
        """Notice a process that ended.

        Raises:
            DemoError: With the last line of its log.
        """
        for seat, process in enumerate(self._processes):
            if process.poll() is not None:
                log = self._folder / f"seat-{seat}.log"
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                said = f"ends with: {lines[-1]}" if lines else "is empty; is the disk full?"
                raise DemoError(
                    f"the oracle process of seat {seat} ended with status {process.returncode}; "
                    f"its log {log} {said}"
                )

    def stop(self) -> None:
        """End every process, gently first."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, seat: int, account: LocalAccount) -> subprocess.Popen[bytes]:
        config = self._folder / f"seat-{seat}.toml"
        text = _CONFIG.format(
            url=self._url,
            deployment=self._deployment,
            seat=seat,
            poll_s=POLL_S,
            key=KEY_VARIABLE,
            meters=self._meters(seat),
        )
        config.write_text(text, encoding="utf-8")
        with (self._folder / f"seat-{seat}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "oracle", "run", "--config", str(config)],
                cwd=_ROOT,
                # The key goes through the environment, so that it stands in no file.
                env={**os.environ, KEY_VARIABLE: bytes(account.key).hex()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the demo, which then stops the committee in its own time.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
