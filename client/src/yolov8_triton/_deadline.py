# SPDX-License-Identifier: Apache-2.0
"""The time that one call has, however many requests it makes."""

from __future__ import annotations

import time

_SHORTEST_S = 0.001
"""gRPC takes a timeout of zero for one that has passed before the call; so little gives the same error."""


class Deadline:
    """A point in time that a call ends at."""

    def __init__(self, timeout_s: float) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s: expected seconds above 0, got {timeout_s!r}")
        self.timeout_s = timeout_s
        self._at = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Return how many seconds are left, hardly any where none are."""
        return max(self._at - time.monotonic(), _SHORTEST_S)
