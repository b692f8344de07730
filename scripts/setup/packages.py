"""The virtual environment and the Python packages in it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from scripts.setup.base import Project, SetupFailed, Stamp, answer_of, reachable, run, say

PIP_WHEELS = Path("/usr/share/python-wheels")
"""Where Debian keeps a wheel of pip for its own tools."""

OLDEST_PYTHON = (3, 11)
FIRST_UNSUPPORTED_PYTHON = (3, 13)

# Never the interpreter inside .venv, which may be replaced while this runs.
_BASE_PYTHON = sys.executable if sys.prefix == sys.base_prefix else os.path.realpath(sys.executable)

_INDEX_OF_PIP = """
from pip._internal.commands import create_command
options, _ = create_command("install").parse_args([])
print("" if options.no_index else options.index_url)
"""


def check_interpreter() -> None:
    """Refuse an interpreter that the pinned packages do not support.

    Raises:
        SetupFailed: If it is older than 3.11 or newer than 3.12.
    """
    if not OLDEST_PYTHON <= sys.version_info[:2] < FIRST_UNSUPPORTED_PYTHON:
        raise SetupFailed(
            f"Subgrid needs Python 3.11 or 3.12, this is {platform.python_version()} "
            f"({sys.executable}). Install one and name it: make PYTHON=/path/to/python3.12 ..."
        )


def packages_stamp(project: Project, *extras: str) -> Stamp:
    """Return the stamp of the project installed with the given extras."""
    return Stamp(
        project.venv / "-".join([".subgrid", *extras]),
        project.digest("pyproject.toml", "constraints.txt"),
    )


def install_packages(project: Project, *extras: str, what: str) -> None:
    """Install the project and the named extras into the virtual environment, making it if need be.

    Args:
        project: Where to install.
        extras: Names from ``[project.optional-dependencies]``.
        what: What the packages are, in the user's words.

    Raises:
        SetupFailed: If no virtual environment can be made, the package index cannot be reached, or
            pip fails.
    """
    unfinished = project.venv / ".subgrid-unfinished"
    _ensure_venv(project, unfinished)
    stamp = packages_stamp(project, *extras)
    if stamp.is_set():
        return
    say(f"  - {what} into .venv")
    index = answer_of([project.python, "-c", _INDEX_OF_PIP])
    if index and not reachable(index):
        raise SetupFailed(
            f"The Python package index ({index}) cannot be reached, to install {what}. "
            "Connect to the network, or set PIP_INDEX_URL to an index that can be reached."
        )
    unfinished.touch()
    run(
        [
            *(project.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--constraint", "constraints.txt"),
            # The checkout itself goes on the path, so that scripts and tests can be imported too.
            *("--config-settings", "editable_mode=compat"),
            *("--editable", f".[{','.join(extras)}]" if extras else "."),
        ],
        cwd=project.root,
        advice="Check the network and run the same command again.",
    )
    unfinished.unlink()
    stamp.set()


def _ensure_venv(project: Project, unfinished: Path) -> None:
    """Make the virtual environment, anew if a former run was stopped while filling it."""
    if _has_pip(project) and not unfinished.exists():
        return
    say(f"  - a virtual environment in .venv, with Python {platform.python_version()}")
    for make in (_venv_alone, _venv_and_outer_pip, _venv_and_pip_wheel, _virtualenv):
        shutil.rmtree(project.venv, ignore_errors=True)
        make(project)
        if _has_pip(project):
            return
    shutil.rmtree(project.venv, ignore_errors=True)
    raise SetupFailed(
        f"{_BASE_PYTHON} cannot make a virtual environment: it has neither ensurepip nor pip. "
        "Install the package that brings it (on Debian and Ubuntu: "
        f"apt install python3.{sys.version_info[1]}-venv), or name another Python: "
        "make PYTHON=/path/to/python3.12 ..."
    )


def _has_pip(project: Project) -> bool:
    return answer_of([project.python, "-m", "pip", "--version"]) is not None


def _venv_alone(project: Project) -> None:
    if importlib.util.find_spec("ensurepip") is not None:
        answer_of([_BASE_PYTHON, "-m", "venv", project.venv])


def _venv_and_outer_pip(project: Project) -> None:
    if importlib.util.find_spec("pip") is not None:
        answer_of([_BASE_PYTHON, "-m", "venv", "--without-pip", project.venv])
        answer_of([_BASE_PYTHON, "-m", "pip", "--python", project.python, "install", "pip"])


def _venv_and_pip_wheel(project: Project) -> None:
    """Let the wheel of pip install itself."""
    wheels = sorted(PIP_WHEELS.glob("pip-*.whl"))
    if wheels:
        answer_of([_BASE_PYTHON, "-m", "venv", "--without-pip", project.venv])
        answer_of([project.python, wheels[-1] / "pip", "install", "--no-index", wheels[-1]])


def _virtualenv(project: Project) -> None:
    if importlib.util.find_spec("virtualenv") is not None:
        answer_of([_BASE_PYTHON, "-m", "virtualenv", "--quiet", project.venv])
