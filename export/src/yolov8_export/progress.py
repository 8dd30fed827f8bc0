# SPDX-License-Identifier: AGPL-3.0-or-later
"""Show the steps of an export, and measure their durations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """The steps of an export, shown on a console; without a console, they are only measured.

    Attributes:
        seconds: The duration of each finished step by its title, in order.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._console = console or Console(quiet=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step while it runs: a spinner on a terminal, elsewhere one line when it is done."""
        start = time.perf_counter()
        if self._console.is_terminal:
            with self._console.status(f"{title} ..."):
                yield
        else:
            yield
        self.seconds[title] = time.perf_counter() - start
        self.note(f"{title}: {self.seconds[title]:.1f} s")

    def note(self, text: str) -> None:
        """Show a line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
