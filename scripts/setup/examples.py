"""Example files of the parsers' own libraries, for the tests: fetched, never part of Subgrid."""

from __future__ import annotations

import hashlib

from scripts.setup.base import Project, Stamp, run, say

SOURCES = (
    "nemreader==0.9.2 "
    "--hash=sha256:ad275fb8d37383a0d87667e0c6f1595ee3869303d0408a403183eb1a837897cf",
)
"""Source archives by package; those of the other libraries hold no examples."""


def fetch_examples(project: Project) -> None:
    """Fetch the archives into `.cache/examples`, once.

    Raises:
        SetupFailed: If one cannot be fetched, or is another one than is known.
    """
    folder = project.root / ".cache" / "examples"
    stamp = Stamp(folder / ".fetched", hashlib.sha256("\n".join(SOURCES).encode()).hexdigest())
    if stamp.is_set():
        return
    say("  - example files of meter formats into .cache/examples")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "sources.txt"
    wanted.write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
    pip = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    names = ",".join(source.partition("==")[0] for source in SOURCES)
    run(
        [project.python, *pip, "--no-binary", names, "--dest", folder, "--requirement", wanted],
        cwd=project.root,
        advice="Check the network and run the same command again.",
    )
    stamp.set()
