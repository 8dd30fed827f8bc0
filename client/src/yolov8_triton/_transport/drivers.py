# SPDX-License-Identifier: Apache-2.0
"""The drivers make the requests of calls, blocking or from asyncio.

A client belongs to the process in which it connected.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from tritonclient.utils import InferenceServerException

from yolov8_triton._transport.connection import Connection
from yolov8_triton._transport.grpc import AsyncGrpcServers, GrpcServers
from yolov8_triton._transport.steps import Call, Credential, Pause, Rpc, T


def check_process(connected_in: int, where: str) -> None:
    """Raise in a forked child: it has neither the connections nor gRPC's threads.

    Raises:
        RuntimeError: This process is a forked child of the one that has the connections.
    """
    if os.getpid() != connected_in:
        raise RuntimeError(
            f"{where}: this client made its connections in process {connected_in}, and was then forked into "
            f"{os.getpid()}: create a client in each process, after the fork"
        )


class Servers(Protocol):
    """The servers that requests are made of."""

    def ask(self, rpc: Rpc) -> Any:
        """Make one request.

        Raises:
            InferenceServerException: The server did not answer, or answered with an error.
        """

    def close(self) -> Any:
        """Close the connections."""


class AsyncServers(Protocol):
    """The servers that requests are made of."""

    def ask(self, rpc: Rpc) -> Awaitable[Any]:
        """Make one request.

        Raises:
            InferenceServerException: The server did not answer, or answered with an error.
        """

    def close(self) -> list[Awaitable[None]]:
        """Close the connections; return what has to be awaited."""


S = TypeVar("S")


class _Driver(Generic[S]):
    """The state of both drivers: the servers, once they are connected, and the process that connected.

    Args:
        connection: The addresses of the servers and the settings of the connections.
        where: Model and addresses, for messages.
    """

    _closed: threading.Event | asyncio.Event

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection = connection
        self._where = where
        self._servers: S | None = None
        self._process = 0

    def check(self) -> None:
        """Raise where no requests can be made: in a forked child, or after the client was closed."""
        if self._servers is not None:
            check_process(self._process, self._where)
        if self._closed.is_set():
            raise RuntimeError(f"this client is closed: {self._where}")

    def _is_open_here(self) -> bool:
        """Tell whether this process has connections to close; a forked child has none."""
        return self._servers is not None and self._process == os.getpid()


class Driver(_Driver[Servers]):
    """Makes requests; the first one connects. Thread-safe."""

    def __init__(self, connection: Connection, where: str) -> None:
        super().__init__(connection, where)
        self._connecting = threading.Lock()
        self._closed: threading.Event = threading.Event()

    def run(self, call: Call[T]) -> T:
        """Make the requests of a call; return its result."""
        self.check()
        try:
            step = next(call)
            while True:
                try:
                    answer = self._take(step)
                except InferenceServerException as exc:  # noqa: PERF203  (a request costs far more)
                    step = call.throw(exc)
                else:
                    step = call.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def close(self, leaving: Call[None]) -> None:
        """Run a last call if there were others, and close the connections; later calls do nothing."""
        if self._is_open_here() and not self._closed.is_set():
            self.run(leaving)
        with self._connecting:
            self._closed.set()
            servers, self._servers = self._servers, None
        if servers is not None and self._process == os.getpid():  # a forked child has no connections to close
            servers.close()

    def _take(self, step: Rpc | Pause | Credential) -> Any:
        if isinstance(step, Rpc):
            try:
                return (self._servers or self._connected()).ask(step)
            except InferenceServerException:
                raise
            except Exception:
                self.check()  # the error of a connection that was closed meanwhile depends on its protocol
                raise
        if isinstance(step, Pause):
            self._closed.wait(step.seconds)
            return None
        return step.token()

    def _connected(self) -> Servers:
        servers = self._servers
        if servers is None:
            with self._connecting:
                self.check()
                if self._servers is None:
                    self._process = os.getpid()
                    self._servers = self._connect()
                return self._servers
        return servers

    def _connect(self) -> Servers:
        if self._connection.http:
            from yolov8_triton._transport.http import HttpServers  # an extra

            return HttpServers(self._connection)
        return GrpcServers(self._connection)


class AsyncDriver(_Driver[AsyncServers]):
    """Makes requests; the first one connects, and binds the client to its event loop."""

    def __init__(self, connection: Connection, where: str) -> None:
        super().__init__(connection, where)
        self._closed: asyncio.Event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Raise where no requests can be made, as in another event loop than that of the first call."""
        super().check()
        if self._is_elsewhere():
            raise RuntimeError(
                f"{self._where}: this client belongs to the event loop of its first call, and this is another one: "
                "create a client in each, inside the function that asyncio.run() runs"
            )

    def _is_elsewhere(self) -> bool:
        return self._loop is not None and self._loop is not asyncio.get_running_loop()

    async def run(self, call: Call[T]) -> T:
        """Make the requests of a call; return its result."""
        self.check()
        try:
            step = next(call)
            while True:
                try:
                    answer = await self._take(step)
                except InferenceServerException as exc:  # noqa: PERF203  (a request costs far more)
                    step = call.throw(exc)
                else:
                    step = call.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def close(self, leaving: Call[None]) -> None:
        """Run a last call if there were others, and close the connections; later calls do nothing."""
        if self._is_elsewhere():  # the loop that could close them has ended
            self._closed.set()
            self._servers = None
            return
        if self._is_open_here() and not self._closed.is_set():
            await self.run(leaving)
        self._closed.set()
        servers, self._servers = self._servers, None
        if servers is not None and self._process == os.getpid():  # a forked child has no connections to close
            for ending in servers.close():
                await ending

    async def _take(self, step: Rpc | Pause | Credential) -> Any:
        if isinstance(step, Rpc):
            try:
                return await (self._servers or self._connected()).ask(step)
            except InferenceServerException:
                raise
            except asyncio.CancelledError:  # cancelled by the caller, or by gRPC, whose channel was closed
                if not _is_cancelled():
                    self.check()
                raise
            except Exception:
                self.check()  # the error of a connection that was closed meanwhile depends on its protocol
                raise
        if isinstance(step, Pause):
            with suppress(asyncio.TimeoutError):  # the builtin one from Python 3.11 on
                await asyncio.wait_for(self._closed.wait(), step.seconds)
            return None
        token = step.token()
        if not inspect.isawaitable(token):
            return token
        try:
            return await asyncio.wait_for(token, step.left_s)
        except asyncio.TimeoutError as exc:
            raise InferenceServerException("no token in time", status="StatusCode.DEADLINE_EXCEEDED") from exc

    def _connected(self) -> AsyncServers:
        self.check()
        if self._servers is None:
            self._process = os.getpid()
            self._loop = asyncio.get_running_loop()
            self._servers = self._connect()
        return self._servers

    def _connect(self) -> AsyncServers:
        if self._connection.http:
            from yolov8_triton._transport.http import AsyncHttpServers  # an extra

            return AsyncHttpServers(self._connection)
        return AsyncGrpcServers(self._connection)


def _is_cancelled() -> bool:
    """Tell whether this task was cancelled; Python 3.10 can't tell."""
    task = asyncio.current_task()
    return bool(task is not None and hasattr(task, "cancelling") and task.cancelling())
