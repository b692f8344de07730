"""Tells the audience what happens: phases with their times, and a live bar for the long ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

Advance = Callable[[int, str], None]
"""Told how many more are done, and what to say beside the bar."""


class Show:
    """Prints one line per finished phase, and what goes on while it lasts.

    Attributes:
        console: Where to.
        times: Seconds by phase, in order.
    """

    def __init__(self, console: Console) -> None:
        """Show on a console; where it is no terminal, only finished phases are printed."""
        self.console = console
        self.times: dict[str, float] = {}
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @contextmanager
    def phase(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """Show a phase while it lasts.

        Args:
            title: What happens.
            total: Number of steps, if they are counted.

        Yields:
            What to call as the steps get done.
        """
        began = time.monotonic()
        columns = [SpinnerColumn(style="cyan"), TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(bar_width=30), MofNCompleteColumn()]
        columns.append(TextColumn("[dim]{task.fields[note]}"))
        note = ""

        def advance(steps: int, text: str = "") -> None:
            nonlocal note
            note = text or note
            progress.update(task, advance=steps, note=note)

        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as progress:
            task = progress.add_task(title, total=total, note="")
            yield advance
        self.times[title] = time.monotonic() - began
        line = Text.assemble(
            ("\u2713 ", "green"), f"{title:<43}", (f"{self.times[title]:6.1f} s", "dim")
        )
        if note:
            line.append(f"   {note}", "dim")
        self.console.print(line, no_wrap=True, overflow="ellipsis")
