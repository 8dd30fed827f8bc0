# SPDX-License-Identifier: Apache-2.0
"""The choice among several servers, and the retries of calls."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

AVOIDED_S = 2.0
"""How long a failed server is avoided; then one call finds out whether it is back."""
EXPIRIES = 3
"""Number of deadlines that expire at a server without an answer in between, after which it counts as failed.

A single one may be due to the call: its deadline may be short, or its image large."""


class Endpoints:
    """The servers, asked in turn; those that failed recently are avoided. Thread-safe.

    Attributes:
        urls: Addresses of the servers; methods name a server by its index here.
    """

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.urls = tuple(urls)
        self._clock = clock
        self._turn = 0
        self._avoided_until: dict[int, float] = {}
        self._expiries: dict[int, int] = {}
        self._changing = threading.Lock()

    def pick(self, tried: Collection[int] = ()) -> int:
        """Return the next server to ask; servers not in ``tried`` come first, then those that have not failed."""
        if len(self.urls) == 1:
            return 0
        with self._changing:
            now, count = self._clock(), len(self.urls)
            in_turn = [(self._turn + step) % count for step in range(count)]
            chosen = min(in_turn, key=lambda number: (number in tried, self._avoided_s(number, now)))
            self._turn = (chosen + 1) % count
            if chosen in self._avoided_until:  # this call finds out, and all others avoid the server meanwhile
                self._avoided_until[chosen] = now + AVOIDED_S
            return chosen

    def failed(self, number: int) -> None:
        """Avoid a server from now on."""
        with self._changing:
            self._avoided_until[number] = self._clock() + AVOIDED_S

    def expired(self, number: int) -> None:
        """Record that a server let a deadline expire; avoid it from now on after several in a row."""
        with self._changing:
            self._expiries[number] = self._expiries.get(number, 0) + 1
            if self._expiries[number] >= EXPIRIES:
                self._avoided_until[number] = self._clock() + AVOIDED_S

    def answered(self, number: int) -> None:
        """Record that a server answered."""
        if number in self._avoided_until or number in self._expiries:  # rarely true, so few answers take the lock
            with self._changing:
                self._avoided_until.pop(number, None)
                self._expiries.pop(number, None)

    def _avoided_s(self, number: int, now: float) -> float:
        return max(self._avoided_until.get(number, now) - now, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The retries of a client where a server is dead or draining; an overloaded one is passed over for another.

    A call tries each address once, pauses, and tries them again, all within its deadline. All calls of a client share
    one budget of retries, so that a client in trouble does not multiply its load.

    Attributes:
        attempts: Attempts of a call at each address; 1 means no retry at the same address.
        first_pause_s: Upper limit of the first pause; each further limit is twice as high.
        longest_pause_s: Upper limit of all pauses; each pause is drawn from the upper half of its range.
        budget: Retries that the client begins with, and saves up at most.
        budget_per_answer: Retries that each answer adds: with 0.1, every tenth request may be a retry.
        budget_per_s: Retries that each second adds, for a client that asks rarely.

    Raises:
        ValueError: One of them is negative, or ``attempts`` below 1.
    """

    attempts: int = 5
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0
    budget: float = 100.0
    budget_per_answer: float = 0.1
    budget_per_s: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts: expected 1 or more, got {self.attempts!r}")
        for name in ("first_pause_s", "longest_pause_s", "budget", "budget_per_answer", "budget_per_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)!r}")

    def pause_s(self, rounds: int) -> float:
        """Return the pause in seconds after a number of rounds."""
        longest = min(self.first_pause_s * 2 ** (rounds - 1), self.longest_pause_s)
        return random.uniform(longest / 2, longest)


class RetryBudget:
    """The retries that a client has left. Thread-safe."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._left = policy.budget
        self._as_of = time.monotonic()
        self._changing = threading.Lock()

    def earn(self) -> None:
        """Add the share of a retry that an answer earns."""
        with self._changing:
            self._left = min(self._left + self._policy.budget_per_answer, self._policy.budget)

    def spend(self) -> bool:
        """Take one retry; tell whether one was left."""
        with self._changing:
            now = time.monotonic()
            earned = (now - self._as_of) * self._policy.budget_per_s
            self._left, self._as_of = min(self._left + earned, self._policy.budget), now
            if self._left < 1:
                return False
            self._left -= 1
            return True
