# SPDX-License-Identifier: Apache-2.0
"""Make the requests of calls, blocking."""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol

from tritonclient.utils import InferenceServerException

from yolov8_triton._connection import Connection
from yolov8_triton._grpc_servers import GrpcServers
from yolov8_triton._process import check_process
from yolov8_triton._steps import Call, Credential, Pause, Rpc, T


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
            from yolov8_triton._http_servers import HttpServers  # an extra

            return HttpServers(self._connection)
        return GrpcServers(self._connection)
