# SPDX-License-Identifier: Apache-2.0
"""Which of several servers is asked next.

How often a call is tried, and what all calls together may try again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What a client does where a server is dead or draining. Nothing else is ever tried again.

    A call goes to each address once, then pauses, then goes round again, all within its deadline. All calls of a
    client share one budget, so that a client in trouble doesn't ask many times what it asked before.

    Attributes:
        attempts: How often a call may be tried at each address; 1 with one address tries nothing twice.
        first_pause_s: The longest that the first pause may be; each further one may be twice as long.
        longest_pause_s: The longest that any pause may be; each is drawn from the upper half of what it may be.
        budget: How many retries the client has saved up at most, and begins with.
        budget_per_answer: What each answer adds to it: 0.1 lets every tenth request be a retry, in the long run.
        budget_per_s: What each second adds to it, for a client that asks rarely.

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
        """Return how long to pause after so many rounds."""
        longest = min(self.first_pause_s * 2 ** (rounds - 1), self.longest_pause_s)
        return random.uniform(longest / 2, longest)


class RetryBudget:
    """The retries that a client may still make. Thread-safe."""

    def __init__(self, policy: RetryPolicy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._left = policy.budget
        self._as_of = clock()
        self._changing = threading.Lock()

    def earn(self) -> None:
        """Add what an answer is worth."""
        with self._changing:
            self._left = min(self._left + self._policy.budget_per_answer, self._policy.budget)

    def spend(self) -> bool:
        """Take one retry; tell whether there was one."""
        with self._changing:
            now = self._clock()
            earned = (now - self._as_of) * self._policy.budget_per_s
            self._left, self._as_of = min(self._left + earned, self._policy.budget), now
            if self._left < 1:
                return False
            self._left -= 1
            return True
