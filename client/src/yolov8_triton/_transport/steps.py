# SPDX-License-Identifier: Apache-2.0
"""The steps of a call: what it asks of its driver, and the time that it has for all of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from numbers import Real
from typing import Any, NamedTuple, TypeVar

from yolov8_triton._errors import translated
from yolov8_triton._transport.requests import AnyRequest, Request

_SHORTEST_S = 0.001
"""Instead of zero, which gRPC refuses in another way than a deadline that passes."""


_LONGEST_S = 1e6
"""Eleven days, in place of any longer time and of infinity: sockets take at most 2^31 milliseconds."""


class Deadline:
    """The point in time at which a call ends."""

    def __init__(self, timeout_s: float) -> None:
        given: object = timeout_s
        if isinstance(given, bool) or not isinstance(given, Real) or not timeout_s > 0:
            raise ValueError(f"timeout_s: expected seconds above 0, got {timeout_s!r}")
        self.timeout_s: float = float(min(timeout_s, _LONGEST_S))
        self._at = time.monotonic() + self.timeout_s

    def spent_s(self) -> float:
        """Return the seconds since the call began."""
        return time.monotonic() - self._at + self.timeout_s

    def left_s(self) -> float:
        """Return the seconds left, at least a millisecond."""
        return max(self._at - time.monotonic(), _SHORTEST_S)


A = TypeVar("A")
T = TypeVar("T")


class Rpc(NamedTuple):
    """A request to one server of a client.

    Attributes:
        endpoint: Index of the server.
        request: The request.
        timeout_s: Time that it may take.
        headers: Metadata (gRPC) or header fields (HTTP).
    """

    endpoint: int
    request: AnyRequest
    timeout_s: float
    headers: dict[str, str]

    @property
    def queue_timeout_us(self) -> int:
        """Time that an inference may wait in the server's queues, in microseconds."""
        return round(self.timeout_s * QUEUED_SHARE * 1e6)


class Pause(NamedTuple):
    """A wait before the next request."""

    seconds: float


class Credential(NamedTuple):
    """A call of ``token``, whose result may have to be awaited, for at most ``left_s`` seconds."""

    token: Callable[[], str | Awaitable[str]]
    left_s: float


Call = Generator[Rpc | Pause | Credential, Any, T]
"""A call of the client: it yields requests, is sent their answers, and returns its result."""

QUEUED_SHARE = 0.75
"""Share of a request's remaining time that it may wait in the server's queues.

An answer that comes after the deadline is wasted work; in overload the server would do nothing else.
"""


class Attempt(NamedTuple):
    """One attempt of a call at one server."""

    number: int
    where: str
    deadline: Deadline
    headers: dict[str, str]

    def answer(self, request: Request[A]) -> Call[A]:
        """Make a request of the server and return its answer."""
        assert isinstance(request, AnyRequest)  # the base class has no other subclasses
        with translated(self.where, self.deadline.timeout_s):
            answer: A = yield Rpc(self.number, request, self.deadline.left_s(), self.headers)
        return answer
