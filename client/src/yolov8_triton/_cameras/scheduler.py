# SPDX-License-Identifier: Apache-2.0
"""Decide which camera is asked about next, without I/O.

Cameras of one priority take turns: the one that was asked about longest ago is next. So each of them has the same
share, whatever its own rate of frames. Cameras of a higher priority come first, but after `RELIEF` requests in a row
that passed over a waiting camera of a lower one, such a camera has its turn. So a camera whose frame waits is asked
about after at most ``(RELIEF + 1) * number of cameras`` other requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RELIEF = 4
"""Requests in a row that may pass over waiting cameras of lower priorities."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a camera may have.

    Attributes:
        priority: 1 is first; None is last.
        in_flight: Number of requests in flight.
    """

    priority: int | None
    in_flight: int


class Scheduler:
    """The turns of cameras. It is not thread-safe: its owner has the lock."""

    def __init__(self, shares: Mapping[str, Share], *, in_flight: int) -> None:
        """Set the cameras' shares, by name, and the number of requests in flight for all of them together."""
        last = max((share.priority or 0 for share in shares.values()), default=0) + 1
        self._rank = {name: last if share.priority is None else share.priority for name, share in shares.items()}
        self._most = {name: share.in_flight for name, share in shares.items()}
        self._busy = dict.fromkeys(shares, 0)
        self._last_turn = dict.fromkeys(shares, -1)
        self._waiting: dict[str, None] = {}  # in the order in which they began to wait
        self._in_flight = in_flight
        self._turn = 0
        self._passed_over = 0

    def arrived(self, name: str) -> None:
        """Record that a camera has a frame; a newer frame in its place changes nothing."""
        self._waiting[name] = None

    def next(self) -> str | None:
        """Return the camera to ask about now, whose request is then in flight; None if there is none."""
        if sum(self._busy.values()) >= self._in_flight:
            return None
        able = [name for name in self._waiting if self._busy[name] < self._most[name]]
        if not able:
            return None
        first = min(self._rank[name] for name in able)
        lower = [name for name in able if self._rank[name] > first]
        relief = bool(lower) and self._passed_over >= RELIEF
        chosen = min(
            lower if relief else [name for name in able if self._rank[name] == first],
            key=lambda name: self._last_turn[name],
        )
        self._passed_over = 0 if relief or not lower else self._passed_over + 1
        self._turn += 1
        self._last_turn[chosen] = self._turn
        self._busy[chosen] += 1
        del self._waiting[chosen]
        return chosen

    def answered(self, name: str) -> None:
        """Record that a request of a camera is no longer in flight."""
        self._busy[name] -= 1
