# SPDX-License-Identifier: Apache-2.0
"""A client belongs to the process that it connected in.

Make the requests of calls, blocking.

Make the requests of calls, from asyncio.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

from tritonclient.utils import InferenceServerException

from yolov8_triton._transport.connection import Connection
from yolov8_triton._transport.grpc import AsyncGrpcServers, GrpcServers
from yolov8_triton._transport.steps import Call, Credential, Pause, Rpc, T


def check_process(connected_in: int, where: str) -> None:
    """Raise in any other process: a fork copies no connection, and gRPC's threads are not there.

    Raises:
        RuntimeError: This process is a forked child of the one that has the connections.
    """
    if os.getpid() != connected_in:
        raise RuntimeError(
            f"{where}: this client made its connections in process {connected_in}, and was then forked into "
            f"{os.getpid()}: create a client in each process, after the fork"
        )


class Servers(Protocol):
    """What requests go through."""

    def ask(self, rpc: Rpc) -> Any:
        """Make one request.

        Raises:
            InferenceServerException: It has no answer.
        """

    def close(self) -> Any:
        """Close the connections."""


class Driver:
    """Makes requests, over connections that are made when the first one is. Thread-safe.

    Args:
        connection: How the servers are reached.
        where: Model and addresses, for messages.
    """

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection = connection
        self._where = where
        self._servers: Servers | None = None
        self._process = 0
        self._connecting = threading.Lock()
        self._closed = threading.Event()

    def check(self) -> None:
        """Raise unless requests can be made: in the process that has the connections, before they are closed."""
        if self._servers is not None:
            check_process(self._process, self._where)
        if self._closed.is_set():
            raise RuntimeError(f"this client is closed: {self._where}")

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
        """Run one last call, if there was any, and close the connections, once."""
        if self._servers is not None and self._process == os.getpid() and not self._closed.is_set():
            self.run(leaving)
        with self._connecting:
            self._closed.set()
            servers, self._servers = self._servers, None
        if servers is not None and self._process == os.getpid():  # a forked child has none to close
            servers.close()

    def _take(self, step: Rpc | Pause | Credential) -> Any:
        if isinstance(step, Rpc):
            try:
                return (self._servers or self._connected()).ask(step)
            except InferenceServerException:
                raise
            except Exception:
                self.check()  # what a connection says that was closed meanwhile depends on its protocol
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


class AsyncServers(Protocol):
    """What requests go through."""

    def ask(self, rpc: Rpc) -> Awaitable[Any]:
        """Make one request.

        Raises:
            InferenceServerException: It has no answer.
        """

    def close(self) -> list[Awaitable[None]]:
        """Close the connections; return what there is to await."""


class AsyncDriver:
    """Makes requests, over connections that are made when the first one is, and belong to its event loop.

    Args:
        connection: How the servers are reached.
        where: Model and addresses, for messages.
    """

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection = connection
        self._where = where
        self._servers: AsyncServers | None = None
        self._process = 0
        self._closed = asyncio.Event()

    def check(self) -> None:
        """Raise unless requests can be made: in the process that has the connections, before they are closed."""
        if self._servers is not None:
            check_process(self._process, self._where)
        if self._closed.is_set():
            raise RuntimeError(f"this client is closed: {self._where}")

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
        """Run one last call, if there was any, and close the connections, once."""
        if self._servers is not None and self._process == os.getpid() and not self._closed.is_set():
            await self.run(leaving)
        self._closed.set()
        servers, self._servers = self._servers, None
        if servers is not None and self._process == os.getpid():  # a forked child has none to close
            for ending in servers.close():
                await ending

    async def _take(self, step: Rpc | Pause | Credential) -> Any:
        if isinstance(step, Rpc):
            try:
                return await (self._servers or self._connected()).ask(step)
            except InferenceServerException:
                raise
            except asyncio.CancelledError:  # by whoever waits for the call, or by gRPC, whose channel was closed
                if not _is_cancelled():
                    self.check()
                raise
            except Exception:
                self.check()  # what a connection says that was closed meanwhile depends on its protocol
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
            self._servers = self._connect()
        return self._servers

    def _connect(self) -> AsyncServers:
        if self._connection.http:
            from yolov8_triton._transport.http import AsyncHttpServers  # an extra

            return AsyncHttpServers(self._connection)
        return AsyncGrpcServers(self._connection)


def _is_cancelled() -> bool:
    """Tell whether somebody cancelled this task; Python 3.10 doesn't know."""
    task = asyncio.current_task()
    return bool(task is not None and hasattr(task, "cancelling") and task.cancelling())
