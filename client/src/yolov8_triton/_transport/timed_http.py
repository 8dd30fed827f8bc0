# SPDX-License-Identifier: Apache-2.0
"""An HTTP transport for threads, whose requests end at their deadlines.

httpx limits each read and each write alone. A server that sends a byte now and then would hold a call for ever, so the
stream below gives each of them only the time that is left.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

from yolov8_triton._extras import extra

with extra("http"):
    import httpcore
    import httpx


class Due(threading.local):
    """When the request of this thread ends, by the monotonic clock."""

    at = float("inf")

    def left_s(self, error: type[Exception]) -> float | None:
        """Return the seconds left; None for no limit. Raise ``error`` if none are left."""
        if self.at == float("inf"):
            return None
        left = self.at - time.monotonic()
        if left <= 0:
            raise error
        return left


class TimedTransport(httpx.HTTPTransport):
    """httpx's own transport, on connections that end requests when they are due."""

    def __init__(self, due: Due, *, verify: Any, limits: httpx.Limits) -> None:
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        super().__init__(verify=context, trust_env=False, limits=limits)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(due),
        )


class _Backend(httpcore.SyncBackend):
    def __init__(self, due: Due) -> None:
        self._due = due

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(
            host, port, _shorter(timeout, self._due.left_s(httpcore.ConnectTimeout)), local_address, socket_options
        )
        return _Stream(stream, self._due)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, due: Due) -> None:
        self._stream, self._due = stream, due

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _shorter(timeout, self._due.left_s(httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it. The stream's own method gives the whole time to each piece that the server takes."""
        connection, left = self._stream.get_extra_info("socket"), memoryview(buffer)
        try:
            while left:
                connection.settimeout(_shorter(timeout, self._due.left_s(httpcore.WriteTimeout)))
                left = left[connection.send(left) :]
        except TimeoutError as exc:
            raise httpcore.WriteTimeout from exc
        except OSError as exc:
            raise httpcore.WriteError(str(exc)) from exc

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _shorter(timeout, self._due.left_s(httpcore.ConnectTimeout))
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._due)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _shorter(timeout: float | None, left: float | None) -> float | None:
    return min((limit for limit in (timeout, left) if limit is not None), default=None)
