"""smartmeter-datacollector, the program that reads DLMS/COSEM meters, in a place of its own.

It is under the GPL and is run beside Subgrid, never imported.
"""

from __future__ import annotations

import hashlib

from scripts.setup.base import Project, Stamp, run, say

PACKAGES = (
    "smartmeter-datacollector==2.0.0",
    "aiomqtt==2.5.1",
    "aioserial==1.3.1",
    "gurux-dlms==1.0.203",
    "paho-mqtt==2.2.0",
    "pyserial==3.5",
)


def install_collector(project: Project) -> None:
    """Install the program into `.cache/collector`, once.

    Raises:
        SetupFailed: If it cannot be installed.
    """
    folder = project.root / ".cache" / "collector"
    key = hashlib.sha256("\n".join(PACKAGES).encode()).hexdigest()
    stamp = Stamp(folder / ".installed", key)
    if stamp.is_set():
        return
    say("  - smartmeter-datacollector into .cache/collector")
    advice = "Check the network and run the same command again."
    python = folder / "bin" / "python"
    pip = ("-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check")
    run(
        [project.python, "-m", "venv", "--clear", "--without-pip", folder],
        cwd=project.root,
        advice=advice,
    )
    run([project.python, *pip, "--no-deps", *PACKAGES], cwd=project.root, advice=advice)
    stamp.set()
