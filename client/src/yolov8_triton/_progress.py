# SPDX-License-Identifier: Apache-2.0
"""A bar with rate and time left, on stderr and for people only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance = Callable[[str], None]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return how many a second there were of late."""
        return Text("" if task.speed is None else f"{task.speed:.1f} a second")


@contextmanager
def progress(total: int | None, unit: str) -> Iterator[Advance]:
    """Show a bar where stderr is a terminal; yield what moves it on by one and writes a note behind it.

    Args:
        total: How many there will be; None: nobody knows, so there is no time left to tell.
        unit: What they are.
    """
    if not sys.stderr.isatty() or total == 1:
        yield lambda _: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        *([] if total is None else [TextColumn("left"), TimeRemainingColumn()]),
        TextColumn("{task.fields[note]}", style="yellow"),
        console=Console(stderr=True),
        transient=True,
        # rich would send stdout through stderr, which must not happen where it goes to a file.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        task = bar.add_task(unit, total=total, note="")
        yield lambda note: bar.update(task, advance=1, note=note)
