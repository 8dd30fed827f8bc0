# SPDX-License-Identifier: Apache-2.0
"""The time that one call has, however many requests it makes.

What a call asks of its driver.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeVar

from yolov8_triton._errors import translated

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


T = TypeVar("T")


class Rpc(NamedTuple):
    """One request: the server's number, a method as tritonclient names it, and what `_grpc` and `_http` make it of."""

    endpoint: int
    method: str
    arguments: dict[str, Any]


class Pause(NamedTuple):
    """A wait before the next request."""

    seconds: float


class Credential(NamedTuple):
    """A token that is wanted in so many seconds: the answer of ``token``, which may have to be awaited."""

    token: Callable[[], str | Awaitable[str]]
    left_s: float


Call = Generator[Rpc | Pause | Credential, Any, T]


QUEUED_SHARE = 0.75
"""Of the time that is left, how much a request may wait in the server's queues: what is answered late is work for
nothing, and in overload would be all that the server does."""


class Attempt(NamedTuple):
    """One attempt at one server."""

    number: int
    where: str
    deadline: Deadline
    headers: dict[str, str]

    def answer(self, method: str, arguments: Mapping[str, Any]) -> Call[Any]:
        """Make a request of it."""
        left_s = self.deadline.left_s()
        extra: dict[str, Any] = {"client_timeout": left_s, "headers": self.headers}
        if method == "infer":
            extra["timeout"] = round(left_s * QUEUED_SHARE * 1e6)
        with translated(self.where, self.deadline.timeout_s):
            return (yield Rpc(self.number, method, {**arguments, **extra}))
