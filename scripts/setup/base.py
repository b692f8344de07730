"""What all steps of the set-up share: folders, stamps, child processes, a probe of the network."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

PROBE_TIMEOUT_S = 5.0
"""How long a try at the network may take."""

_SHOWN_LINES = 15


class SetupFailed(Exception):
    """The set-up cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Project:
    """The folders that the set-up reads and fills.

    Attributes:
        root: The checkout.
    """

    root: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The interpreter of the virtual environment."""
        return self.venv / "bin" / "python"

    @property
    def node_modules(self) -> Path:
        """What npm installs."""
        return self.root / "node_modules"

    def digest(self, *names: str) -> str:
        """Hash files of the checkout, and its place: virtual environments cannot be moved."""
        digest = hashlib.sha256(str(self.root).encode())
        for name in names:
            digest.update((self.root / name).read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Stamp:
    """A file that says which state of its inputs a finished step has worked on.

    Attributes:
        path: The file, inside the folder that the step fills, so that both vanish together.
        key: Hash of the inputs.
    """

    path: Path
    key: str

    def is_set(self) -> bool:
        """Tell whether the step has finished for these inputs."""
        return self.path.exists() and self.path.read_text() == self.key

    def set(self) -> None:
        """Note that the step has finished."""
        self.path.write_text(self.key)


def say(text: str) -> None:
    """Tell the user what happens, at once even when the output is a pipe."""
    print(text, flush=True)


def run(command: list[str | Path], *, cwd: Path, advice: str) -> None:
    """Run a command to its end.

    Raises:
        SetupFailed: With the command, its last output and the advice if it does not succeed.
    """
    words = [str(word) for word in command]
    try:
        result = subprocess.run(
            words,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise SetupFailed(f"{words[0]} does not start: {error}. {advice}") from error
    if result.returncode != 0:
        tail = "\n".join(result.stdout.strip().splitlines()[-_SHOWN_LINES:])
        raise SetupFailed(f"`{' '.join(words)}` failed:\n{tail}\n{advice}")


def answer_of(command: list[str | Path]) -> str | None:
    """Return what a command prints, or None if it does not succeed."""
    try:
        result = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def reachable(url: str, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Tell within the time limit whether a server, or the proxy in front of it, takes connections.

    Args:
        url: Address of the server.
        timeout_s: Limit in seconds for everything, the name look-up included.
    """
    target = urlsplit(url)
    if target.scheme == "file":
        return Path(target.path).exists()
    proxy = getproxies().get(target.scheme)
    if proxy and target.hostname and not proxy_bypass(target.hostname):
        target = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = (target.hostname or "", target.port or (443 if target.scheme == "https" else 80))
    answered = threading.Event()

    def connect() -> None:
        try:
            create_connection(address, timeout=timeout_s).close()
        except OSError:
            return
        answered.set()

    # In a thread, because the look-up of a name takes no time limit.
    probe = threading.Thread(target=connect, daemon=True)
    probe.start()
    probe.join(timeout_s)
    return answered.is_set()
