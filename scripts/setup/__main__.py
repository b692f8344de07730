"""Command line of the set-up: ``python -m scripts.setup demo`` or ``... test``."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.setup.base import Project, SetupFailed, run, say
from scripts.setup.collector import install_collector
from scripts.setup.examples import fetch_examples
from scripts.setup.npm import install_npm_packages
from scripts.setup.packages import check_interpreter, install_packages, packages_stamp

ROOT = Path(__file__).resolve().parent.parent.parent

DEMO_EXTRAS = ("meters",)
TEST_EXTRAS = ("dev", *DEMO_EXTRAS)


def set_up_demo(project: Project) -> None:
    """Install what running Subgrid needs: its packages and anvil.

    Raises:
        SetupFailed: If something can be neither found nor installed.
    """
    if not packages_stamp(project, *TEST_EXTRAS).is_set():
        what = "Subgrid's Python packages (web3, pandas, matplotlib, paho-mqtt, ...)"
        install_packages(project, *DEMO_EXTRAS, what=what)
    _ensure_anvil(project)


def set_up_test(project: Project) -> None:
    """Install what building and testing Subgrid needs.

    Raises:
        SetupFailed: If something can be neither found nor installed.
    """
    _need_mosquitto()
    install_packages(
        project, *TEST_EXTRAS, what="Subgrid's Python packages and tools (ape, pytest, ...)"
    )
    install_collector(project)
    fetch_examples(project)
    install_npm_packages(project, build_tools=True, what="anvil, solc and OpenZeppelin's contracts")
    _ensure_anvil(project)
    if not any((project.root / ".cache" / "solc").glob("solc-*")):
        say("  - the Solidity compiler into .cache/solc")
        run([project.python, "-m", "scripts.solc"], cwd=project.root, advice="")


def _need_mosquitto() -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if not (os.environ.get("SUBGRID_MOSQUITTO") or shutil.which("mosquitto", path=path)):
        raise SetupFailed(
            "The tests run the broker mosquitto, which is not there. Install it (on Debian and "
            "Ubuntu: apt install mosquitto), or name its program in SUBGRID_MOSQUITTO."
        )


def _ensure_anvil(project: Project) -> None:
    if os.environ.get("SUBGRID_ANVIL") or _foreign_anvil(project):
        return
    install_npm_packages(project, build_tools=False, what="anvil (a private chain)")
    binary = next(project.node_modules.glob("@foundry-rs/anvil-*/bin/anvil"), None)
    if binary is None:
        raise SetupFailed(
            f"npm has no anvil for {platform.system()} on {platform.machine()}. "
            "Put one on the PATH, or name it in SUBGRID_ANVIL."
        )
    link = project.venv / "bin" / "anvil"
    if not link.exists():
        link.unlink(missing_ok=True)
        # ape looks for anvil on the PATH only.
        link.symlink_to(binary)


def _foreign_anvil(project: Project) -> bool:
    found = shutil.which("anvil")
    return found is not None and not Path(found).resolve().is_relative_to(project.root)


@contextlib.contextmanager
def _alone(project: Project) -> Iterator[None]:
    """Let one set-up of a checkout wait for another; the lock goes with the process."""
    path = project.root / ".cache" / "setup.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.setup", description="Install what a make target needs, once."
    )
    parser.add_argument("target", choices=["demo", "test"], help="what the set-up is for")
    target = parser.parse_args().target
    project = Project(ROOT)
    try:
        check_interpreter()
        say(f"Setting up for `make {target}`:")
        with _alone(project):
            set_up_demo(project) if target == "demo" else set_up_test(project)
    except SetupFailed as error:
        print(f"Set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on.", file=sys.stderr)
        return 130
    say("Set-up is complete.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
