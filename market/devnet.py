"""A private chain for the demo and the tests: finds anvil and runs it on a port of its own.

Nothing else in ``market`` needs anvil; against any other chain the package speaks JSON-RPC only.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

ANVIL_VARIABLE = "SUBGRID_ANVIL"
"""Environment variable that names the anvil to use before any other."""

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
RPC_TIMEOUT_S = 30.0

MNEMONIC = "test test test test test test test test test test test junk"
"""Seed of anvil's well-known accounts; worthless outside a private chain."""

_LISTENING = re.compile(r"Listening on (\S+:\d+)")
_ROOT = Path(__file__).resolve().parent.parent
_POLL_S = 0.01
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
# The chain is on this machine: a proxy in the environment is not for it.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_CPU_NAMES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class DevnetError(Exception):
    """The private chain cannot be had."""


class AnvilMissing(DevnetError):
    """No anvil was found; the message names every place that was looked at."""


class AnvilFailed(DevnetError):
    """Anvil did not start; the message carries what it printed."""


def npm_anvil(root: Path = _ROOT) -> Path:
    """Return where npm puts this platform's native anvil, whether or not it is there.

    Args:
        root: Folder that holds ``node_modules``.
    """
    system = platform.system().lower()
    cpu = _CPU_NAMES.get(platform.machine().lower(), platform.machine().lower())
    return root / "node_modules" / "@foundry-rs" / f"anvil-{system}-{cpu}" / "bin" / "anvil"


def find_anvil(
    environment: Mapping[str, str] = os.environ,
    root: Path = _ROOT,
) -> Path:
    """Find anvil: ``$SUBGRID_ANVIL``, else the PATH, else what npm has installed.

    Args:
        environment: Variables to read ``SUBGRID_ANVIL`` and ``PATH`` from.
        root: Folder that holds ``node_modules``.

    Returns:
        The executable. Starting it directly avoids npm's wrapper, which needs node.

    Raises:
        AnvilMissing: If it is in none of these places, or ``SUBGRID_ANVIL`` names no executable.
    """
    named = environment.get(ANVIL_VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise AnvilMissing(
                f"{ANVIL_VARIABLE}={named} is not an executable file. "
                "Correct the variable, or unset it to search the PATH."
            )
        return Path(named)
    on_path = shutil.which("anvil", path=environment.get("PATH", ""))
    if on_path:
        return Path(on_path)
    from_npm = npm_anvil(root)
    if os.access(from_npm, os.X_OK):
        return from_npm
    raise AnvilMissing(
        f"No anvil: {ANVIL_VARIABLE} is not set, the PATH has none, and {from_npm} does not exist. "
        "Run `make demo` once with a network to install it, or put anvil on the PATH."
    )


class Anvil:
    """A chain in a child process, to be used in a ``with`` statement.

    It listens on a free port that the kernel picks, holds every transaction to 2^24 gas as public
    chains do, and on Linux dies with the process that started it, however that one ends.

    Example:
        ```
        with Anvil(accounts=20) as chain:
            web3 = Web3(Web3.HTTPProvider(chain.url))
        ```
    """

    def __init__(
        self,
        *,
        accounts: int = 10,
        block_time_s: float | None = None,
        genesis_timestamp: int | None = None,
        chain_id: int = 31337,
        state: Path | None = None,
        port: int = 0,
        options: tuple[str, ...] = (),
        executable: Path | None = None,
    ) -> None:
        """Describe the chain; entering the ``with`` block starts it.

        Args:
            accounts: Number of funded accounts, derived from ``MNEMONIC``.
            block_time_s: Seconds between blocks; None mines a block per transaction.
            genesis_timestamp: Time of the first block in seconds since 1970 UTC; None is now.
            chain_id: The chain's id.
            state: File to load the chain from if it exists, and to save it to on a clean stop.
            port: Port to listen on; 0 lets the kernel pick a free one.
            options: Further command-line options of anvil.
            executable: The anvil to run; None searches as ``find_anvil`` does.
        """
        self._executable = executable
        self._arguments = ["--host", "127.0.0.1", "--port", str(port)]
        self._arguments += ["--accounts", str(accounts), "--mnemonic", MNEMONIC]
        self._arguments += ["--chain-id", str(chain_id), "--enable-tx-gas-limit"]
        self._genesis_timestamp, self._state = genesis_timestamp, state
        if block_time_s is not None:
            self._arguments += ["--block-time", str(block_time_s)]
        if state is not None:
            self._arguments += ["--state", str(state)]
        self._arguments += options
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Address of the JSON-RPC server.

        Raises:
            AnvilFailed: If the chain is not running.
        """
        if self._url is None:
            raise AnvilFailed("The chain is not running; use it inside its `with` block.")
        return self._url

    @property
    def pid(self) -> int:
        """Process id of the chain.

        Raises:
            AnvilFailed: If the chain is not running.
        """
        if self._process is None:
            raise AnvilFailed("The chain is not running; use it inside its `with` block.")
        return self._process.pid

    def start(self) -> None:
        """Start the chain and wait until it answers.

        On Linux the kernel ends the chain when the thread that called this ends.

        Raises:
            AnvilMissing: If there is no anvil.
            AnvilFailed: If it ends at once or does not answer in time.
        """
        executable = self._executable or find_anvil()
        arguments = [*self._arguments, *self._clock()]
        with tempfile.TemporaryFile("w+") as output:
            try:
                self._process = subprocess.Popen(
                    [str(executable), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C is for the parent, which then stops the chain in its own time.
                    start_new_session=True,
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                )
            except OSError as error:
                raise AnvilFailed(f"{executable} does not start: {error}") from error
            self._finalizer = weakref.finalize(self, _end, self._process)
            try:
                self._url = f"http://{_await_address(self._process, output)}"
                # Logging every call would fill the disk on a long run.
                rpc(self._url, "anvil_setLoggingEnabled", [False])
            except BaseException:
                self.stop()
                raise

    def _clock(self) -> list[str]:
        """Return the option that sets the chain's clock; one that goes on never goes back."""
        start_s = self._genesis_timestamp
        if self._state is not None and self._state.exists():
            last_s = _mend(self._state)
            # Without a start of its own the clock is the machine's, which may be far ahead.
            start_s = last_s if start_s is not None else max(last_s, int(time.time()))
        return [] if start_s is None else ["--timestamp", str(start_s)]

    def stop(self) -> None:
        """End the chain, saving its state if it has a state file; does nothing if it has ended."""
        self._url = None
        if self._process is not None:
            self._finalizer()
            self._process = None

    def __enter__(self) -> Self:
        """Start the chain and wait until it answers."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the chain."""
        self.stop()


def rpc(url: str, method: str, params: list[Any] | None = None) -> Any:  # noqa: ANN401
    """Call one JSON-RPC method.

    Args:
        url: Address of the server.
        method: Name of the method.
        params: Its parameters.

    Returns:
        The ``result`` of the answer.

    Raises:
        DevnetError: If the server does not answer, or answers with an error.
    """
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or []}
    request = urllib.request.Request(
        url, json.dumps(call).encode(), {"Content-Type": "application/json"}
    )
    try:
        with _DIRECT.open(request, timeout=RPC_TIMEOUT_S) as response:
            answer = json.load(response)
    except (OSError, ValueError) as error:
        raise DevnetError(f"{url} does not answer {method}: {error}") from error
    if "error" in answer:
        raise DevnetError(f"{url} refuses {method}: {answer['error'].get('message')}")
    return answer["result"]


def _mend(state: Path) -> int:
    """Make a saved chain fit to be loaded; return the time of its last block.

    An anvil that loads a chain saves the genesis it would have had itself beside the chain's own,
    and the next one takes either of them for block 0.

    Raises:
        AnvilFailed: If there is no chain in the file.
    """
    try:
        saved = json.loads(state.read_bytes())
        first = [block for block in saved["blocks"] if int(block["header"]["number"], 16) == 0]
        # The others are as late as the block after which the chain was loaded.
        own = min(first, key=lambda block: int(block["header"]["timestamp"], 16))
        last_s = int(saved["block"]["timestamp"], 16)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise AnvilFailed(f"{state} holds no chain; remove it: {error!r}") from error
    if len(first) > 1:
        saved["blocks"] = [block for block in saved["blocks"] if block not in first or block is own]
        whole = state.with_name(f"{state.name}.new")
        whole.write_text(json.dumps(saved))
        whole.replace(state)
    return last_s


def _await_address(process: subprocess.Popen[bytes], output: IO[str]) -> str:
    """Wait until anvil prints the address it listens on; it prints none before it does."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        ended = process.poll() is not None
        # Read through a second offset: the child writes at the shared one.
        text = os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace")
        if found := _LISTENING.search(text):
            return found.group(1)
        if ended:
            raise AnvilFailed(
                f"Anvil ended with status {process.returncode}: {text.strip() or 'no output'}. "
                f"An anvil older than 1.7 lacks options that this one needs; {ANVIL_VARIABLE} "
                "names another."
            )
        if time.monotonic() > deadline:
            raise AnvilFailed(
                f"Anvil did not listen within {START_TIMEOUT_S:.0f} s; it printed: {text.strip()}"
            )
        time.sleep(_POLL_S)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
