# SPDX-License-Identifier: Apache-2.0
"""Make the requests of calls, from asyncio."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

from tritonclient.utils import InferenceServerException

from yolov8_triton._connection import Connection
from yolov8_triton._grpc_servers import AsyncGrpcServers
from yolov8_triton._process import check_process
from yolov8_triton._steps import Call, Credential, Pause, Rpc, T


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
            from yolov8_triton._http_servers import AsyncHttpServers  # an extra

            return AsyncHttpServers(self._connection)
        return AsyncGrpcServers(self._connection)


def _is_cancelled() -> bool:
    """Tell whether somebody cancelled this task; Python 3.10 doesn't know."""
    task = asyncio.current_task()
    return bool(task is not None and hasattr(task, "cancelling") and task.cancelling())
