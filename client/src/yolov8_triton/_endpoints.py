# SPDX-License-Identifier: Apache-2.0
"""Which of several servers is asked next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

AVOIDED_S = 2.0
"""How long a server that failed is left alone; then one call finds out whether it is back."""
EXPIRIES = 3
"""So many deadlines that expire at a server, with no answer between them, are a failure. One alone may be the call's:
its deadline may be short, its image large."""


class Endpoints:
    """Servers that are asked in turn, those that failed of late apart. Thread-safe.

    Attributes:
        urls: Their addresses; methods name a server by its number in this list.
    """

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.urls = tuple(urls)
        self._clock = clock
        self._turn = 0
        self._avoided_until: dict[int, float] = {}
        self._expiries: dict[int, int] = {}
        self._changing = threading.Lock()

    def pick(self, tried: Collection[int] = ()) -> int:
        """Return the server to ask: the next one, rather one that is not in ``tried``, rather one that is well."""
        if len(self.urls) == 1:
            return 0
        with self._changing:
            now, count = self._clock(), len(self.urls)
            in_turn = [(self._turn + step) % count for step in range(count)]
            chosen = min(in_turn, key=lambda number: (number in tried, self._avoided_s(number, now)))
            self._turn = (chosen + 1) % count
            if chosen in self._avoided_until:  # this call finds out, and all others stay away meanwhile
                self._avoided_until[chosen] = now + AVOIDED_S
            return chosen

    def failed(self, number: int) -> None:
        """Avoid a server from now on."""
        with self._changing:
            self._avoided_until[number] = self._clock() + AVOIDED_S

    def expired(self, number: int) -> None:
        """Note that a server let a deadline expire; avoid it from now on if it did nothing else of late."""
        with self._changing:
            self._expiries[number] = self._expiries.get(number, 0) + 1
            if self._expiries[number] >= EXPIRIES:
                self._avoided_until[number] = self._clock() + AVOIDED_S

    def answered(self, number: int) -> None:
        """Take a server for well."""
        if number in self._avoided_until or number in self._expiries:  # hardly ever: so no answer waits for the lock
            with self._changing:
                self._avoided_until.pop(number, None)
                self._expiries.pop(number, None)

    def _avoided_s(self, number: int, now: float) -> float:
        return max(self._avoided_until.get(number, now) - now, 0.0)
