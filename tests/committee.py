"""A committee of node processes, and the clock of the private chain they work on.

Starts, kills and restarts `python -m oracle run`, one process per seat, and moves a devnet's time
on so that a day takes a minute.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from eth_account.signers.local import LocalAccount

from market.deployment import Market
from market.devnet import rpc
from market.history import History

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
LOOK_S = 0.01
LONGEST_IDLE_S = 2.0
KEY_VARIABLE = "SUBGRID_SEAT_KEY"

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class CommitteeError(Exception):
    """A node did not do what was awaited; the message says where its log is."""


@dataclass(frozen=True, slots=True)
class Meters:
    """The meters every node reads, see `oracle.config.MetersConfig`."""

    roster: Path
    profile: Path
    first_period: int = 0
    first_row: int = 0


@dataclass(frozen=True, slots=True)
class LiveMeters:
    """Meters every node hears itself, see `oracle.meters.settings.LiveConfig`.

    Attributes:
        sources: Returns the tables of a seat's sources.
        meter: What is known of some meters.
        more: Further keys of the table.
    """

    sources: Callable[[int], Sequence[Mapping[str, object]]]
    meter: Sequence[Mapping[str, object]] = ()
    more: Mapping[str, object] = field(default_factory=dict)

    def toml(self, seat: int, journal: Path) -> list[str]:
        """Return the lines of a node's table."""
        return [
            "[meters.live]",
            f"store = {_toml(samples_of(journal))}",
            f"sources = {_toml(self.sources(seat))}",
            f"meter = {_toml(self.meter)}",
            *(f"{key} = {_toml(value)}" for key, value in self.more.items()),
        ]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told besides chain, seat and key; a seat may have its own.

    Attributes:
        meters: What it reads.
        live: What it hears instead of the profile.
        prices: The `[prices]` table.
        grid: The grid file, in a market with a feeder.
        faults: The tables of `[[simulate.faults]]`.
        patience_s: Chain time to wait for silent meters.
        poll_s: Pause between two looks at the chain.
        rpc_timeout_s: Longest wait for an endpoint's answer.
        confirmations: Blocks that must stand on a fact.
        queries: The `[queries]` table.
        clock_skew_s: Skew of chain time to raise an alarm at.
        monitor: Where to answer machines; port 0 for any.
        log_level: Least important lines to log.
    """

    meters: Meters
    live: LiveMeters | None = None
    prices: Mapping[str, object] = field(default_factory=lambda: {"source": "benchmark"})
    grid: Path | None = None
    faults: Sequence[Mapping[str, object]] = ()
    patience_s: int = 0
    poll_s: float = 0.02
    rpc_timeout_s: float = 10.0
    confirmations: int = 0
    queries: Mapping[str, object] = field(default_factory=dict)
    clock_skew_s: int = 0
    monitor: str | None = None
    log_level: str = "info"

    def toml(self, rpc_url: str | Sequence[str], deployment: Path, seat: int, journal: Path) -> str:
        """Return a node's configuration file."""
        lines = [
            f"rpc_url = {_toml(rpc_url)}",
            f"deployment = {_toml(deployment)}",
            f"seat = {seat}",
            f"journal = {_toml(journal)}",
            f"confirmations = {self.confirmations}",
            f"poll_s = {self.poll_s}",
            f"rpc_timeout_s = {self.rpc_timeout_s}",
            # These chains' time is made up.
            f"clock_skew_s = {self.clock_skew_s}",
            "[key]",
            f"env = {_toml(KEY_VARIABLE)}",
            "[meters]",
            f"roster = {_toml(self.meters.roster)}",
            *self._meters(seat, journal),
            "[prices]",
            *(f"{key} = {_toml(value)}" for key, value in self.prices.items()),
            "[report]",
            f"patience_s = {self.patience_s}",
            "[queries]",
            *(f"{key} = {_toml(value)}" for key, value in self.queries.items()),
        ]
        if self.grid is not None:
            lines += ["[grid]", f"file = {_toml(self.grid)}"]
        if self.monitor is not None:
            lines += ["[monitor]", f"listen = {_toml(self.monitor)}"]
        for fault in self.faults:
            lines.append("[[simulate.faults]]")
            lines += [f"{key} = {_toml(value)}" for key, value in fault.items()]
        return "\n".join(lines) + "\n"

    def _meters(self, seat: int, journal: Path) -> list[str]:
        if self.live is not None:
            return self.live.toml(seat, journal)
        return [
            f"profile = {_toml(self.meters.profile)}",
            f"first_period = {self.meters.first_period}",
            f"first_row = {self.meters.first_row}",
        ]


class Committee:
    """Node processes, one per seat.

    In a `with` statement all start, and all that still run are stopped in the end:

        with Committee(folder, url, deployment, seats, Settings(meters)) as committee:
            committee.kill(2)
            committee.start(2)
    """

    def __init__(
        self,
        folder: Path,
        rpc_url: str | Sequence[str],
        deployment: Path,
        keys: Sequence[LocalAccount],
        settings: Settings,
        own: Mapping[int, Settings] | None = None,
    ) -> None:
        """Describe a committee; entering the `with` block starts it.

        Args:
            folder: Where configurations, journals and logs go.
            rpc_url: The chain's endpoints, or one per seat by the placeholder `{seat}`.
            deployment: The market's deployment file.
            keys: The accounts of the seats, in order.
            settings: What every node is told.
            own: What single seats are told instead.
        """
        self.folder = folder.resolve()
        self._rpc_url, self._deployment = rpc_url, deployment.resolve()
        self._keys, self._settings, self._own = keys, settings, dict(own or {})
        self._running: dict[int, subprocess.Popen[str]] = {}

    @property
    def seats(self) -> range:
        """All seats."""
        return range(len(self._keys))

    def configuration(self, seat: int) -> Path:
        """Return a node's configuration file."""
        return self.folder / f"seat{seat}.toml"

    def journal(self, seat: int) -> Path:
        """Return a node's journal."""
        return self.folder / f"seat{seat}.sqlite"

    def samples(self, seat: int) -> Path:
        """Return the store of a node's live meters."""
        return samples_of(self.journal(seat))

    def log(self, seat: int) -> Path:
        """Return a node's log; restarts append to it."""
        return self.folder / f"seat{seat}.log"

    def is_alive(self, seat: int) -> bool:
        """Return whether a node's process runs."""
        return seat in self._running and self._running[seat].poll() is None

    def start(self, *seats: int) -> None:
        """Start nodes (all if none is named) and wait until they have caught up with the chain.

        Raises:
            CommitteeError: If one ends or does not get ready in time.
        """
        started = [(seat, self.launch(seat)) for seat in seats or self.seats]
        for seat, _ in started:
            self.await_ready(seat)

    def pid(self, seat: int) -> int:
        """Return the id of a node's process."""
        return self._running[seat].pid

    def kill(self, seat: int) -> None:
        """End a node's process at once, as a power cut would."""
        process = self._running.pop(seat)
        process.kill()
        process.wait()

    def stop(self, *seats: int) -> None:
        """Ask nodes (all that run if none is named) to stop, and wait for it."""
        leaving = [self._running.pop(seat) for seat in seats or tuple(self._running)]
        for process in leaving:
            process.send_signal(signal.SIGTERM)
        for process in leaving:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        """Start all nodes."""
        try:
            self.start()
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
        """Stop all nodes."""
        self.stop()

    def launch(self, seat: int) -> subprocess.Popen[str]:
        """Start a node without waiting until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self._own.get(seat, self._settings)
        urls = [self._rpc_url] if isinstance(self._rpc_url, str) else self._rpc_url
        text = settings.toml(
            [url.format(seat=seat) for url in urls], self._deployment, seat, self.journal(seat)
        )
        self.configuration(seat).write_text(text, encoding="utf-8")
        config = ["--config", str(self.configuration(seat)), "--log-level", settings.log_level]
        with self.log(seat).open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "oracle", "run", *config],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, KEY_VARIABLE: self._keys[seat].key.hex()},
                cwd=Path(__file__).resolve().parent.parent,
                # Ctrl-C is for the parent, which then stops the nodes in its own time.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self._running[seat] = process
        return process

    def await_ready(self, seat: int) -> None:
        """Wait until a launched node has caught up with the chain.

        Raises:
            CommitteeError: If it ends or does not get ready in time.
        """
        lines: queue.Queue[str] = queue.Queue()
        process = self._running[seat]
        assert process.stdout is not None
        threading.Thread(target=_first_line, args=(process.stdout, lines), daemon=True).start()
        try:
            line = lines.get(timeout=READY_TIMEOUT_S)
        except queue.Empty:
            line = ""
        if not line.startswith("ready"):
            tail = "\n".join(self.log(seat).read_text(encoding="utf-8").splitlines()[-5:])
            raise CommitteeError(f"seat {seat} did not get ready; see {self.log(seat)}:\n{tail}")


class Clock:
    """Moves a private chain's time on while others work on it.

    Wherever something is awaited, time stands still as long as blocks come in, and takes a step
    when the chain has been idle, so that whoever waits for his turn gets it.
    """

    def __init__(
        self,
        market: Market,
        *,
        idle_s: float = 0.25,
        step_s: int | None = None,
        on_look: Callable[[int], None] = lambda _block: None,
    ) -> None:
        """Drive a market's chain.

        Args:
            market: The market, on a devnet.
            idle_s: Real time without a block after which chain time takes a step; the longer the
                more steps have brought nothing, so that slow nodes are not outrun.
            step_s: The step; by default what the next seat's turn is away: a committee round for a
                report, the fourth part of one for everything else.
            on_look: Called with the block number at every look while something is awaited.
        """
        self._market, self._url = market, market.chain.url
        self._history = History(market)
        self._idle_s, self._on_look = idle_s, on_look
        round_s = market.schedule.round_length_s
        self._report_step_s = step_s or round_s
        self._step_s = step_s or max(1, round_s // 4)

    def now(self) -> int:
        """Return the chain's time."""
        return self._market.chain.now()

    def warp(self, instant_s: int) -> None:
        """Mine a block at an instant; nothing if it has passed."""
        if instant_s > self.now():
            rpc(self._url, "evm_setNextBlockTimestamp", [instant_s])
            rpc(self._url, "evm_mine")

    def until(
        self,
        condition: Callable[[], bool],
        what: str,
        timeout_s: float = 60.0,
        step_s: int | None = None,
    ) -> None:
        """Wait until something is so, moving chain time on whenever the chain is idle.

        Args:
            condition: What is awaited; asked after every block.
            what: How to call it if it does not come.
            timeout_s: Real time after which to give up.
            step_s: How far to move chain time on; the clock's usual step if not given.

        Raises:
            CommitteeError: If it does not come in time.
        """
        give_up = time.monotonic() + timeout_s
        for _ in self._blocks(step_s or self._step_s):
            if condition():
                return
            if time.monotonic() > give_up:
                raise CommitteeError(f"{what} did not happen within {timeout_s:.0f} s")

    def await_cleared(self, period: int) -> None:
        """Pass a period's gate and wait until its positions are fixed."""
        self.warp(self._market.schedule.gate(period))
        self.until(lambda: self._history.state(period).cleared, f"clearing of period {period}")

    def await_settled(self, period: int, version: int = 1) -> None:
        """Pass a period's close and wait until it is settled on a report version or a later one."""
        self.warp(self._market.schedule.close(period))

        def settled() -> bool:
            state = self._history.state(period)
            return state.settled and state.version >= version

        what = f"settlement of period {period} on report {version}"
        self.until(settled, what, step_s=self._report_step_s)

    def await_final(self, period: int) -> None:
        """Pass a period's window end and wait until it is final; only flagged ones become it."""
        self.warp(self._market.schedule.window_end(period))
        self.until(lambda: self._history.state(period).final, f"end of period {period}")

    def live(self, periods: Sequence[int]) -> Iterator[int]:
        """Live through consecutive periods, yielding each once it is settled."""
        for period in periods:
            self.await_cleared(period)
            self.await_settled(period)
            yield period

    def _blocks(self, step_s: int) -> Iterator[int]:
        """Yield at once and then after every block, making one when none comes."""
        last, since, idle_s = -1, time.monotonic(), self._idle_s
        while True:
            number = self._market.chain.block_number()
            self._on_look(number)
            if number != last:
                last, since = number, time.monotonic()
                yield number
            elif time.monotonic() - since > idle_s:
                self.warp(self.now() + step_s)
                idle_s = min(1.5 * idle_s, LONGEST_IDLE_S)
            else:
                time.sleep(LOOK_S)


def samples_of(journal: Path) -> Path:
    """Return where the samples of live meters go, beside a journal."""
    return journal.with_suffix(".samples")


@contextmanager
def paused(process_id: int) -> Iterator[None]:
    """Freeze a process, as an overloaded machine would, and let it go on in the end."""
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


def _die_with_parent() -> None:
    """Have the kernel end this process with its parent: a killed test leaves nothing behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _first_line(stream: IO[str], lines: queue.Queue[str]) -> None:
    lines.put(stream.readline())


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
