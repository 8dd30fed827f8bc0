# SPDX-License-Identifier: Apache-2.0
"""Servers that are asked over HTTP: httpx pools their connections, for threads and for asyncio alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from yolov8_triton import _http
from yolov8_triton._connection import Connection
from yolov8_triton._extras import extra
from yolov8_triton._steps import Rpc

with extra("http"):
    import httpx

_CONNECT_S = 3.0
"""How long a connection may take: a host that answers nothing must leave a call the time to ask another one."""
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64)


class HttpServers:
    """Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = httpx.Client(**_settings(connection))

    def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        begin, left_s = time.monotonic(), rpc.arguments["client_timeout"]
        with (
            _translated(),
            self._client.stream(**_arguments(rpc, self._connection)) as response,
        ):
            pieces = []
            for piece in response.iter_bytes():
                pieces.append(piece)
                if time.monotonic() - begin > left_s:  # httpx has no time limit for all of them together
                    raise _http.failure("DEADLINE_EXCEEDED", "")
        return _http.answer(rpc.method, response.status_code, response.headers, b"".join(pieces))

    def close(self) -> None:
        """Close the connections; requests under way end with their answers or at their deadlines."""
        self._client.close()


class AsyncHttpServers:
    """For one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = httpx.AsyncClient(**_settings(connection))

    async def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        request = self._client.request(**_arguments(rpc, self._connection))
        with _translated():
            try:
                response = await asyncio.wait_for(request, rpc.arguments["client_timeout"])
            except asyncio.TimeoutError as exc:  # the builtin one from Python 3.11 on
                raise _http.failure("DEADLINE_EXCEEDED", "") from exc
        return _http.answer(rpc.method, response.status_code, response.headers, response.content)

    def close(self) -> list[Awaitable[None]]:
        """Close the connections; return what there is to await."""
        return [self._client.aclose()]


def _settings(connection: Connection) -> dict[str, Any]:
    # The environment's proxies are not asked: neither does gRPC's client ask them for addresses of this kind.
    verify = True if connection.secrets is None else connection.secrets.context
    return {"verify": verify, "limits": _LIMITS, "trust_env": False, "headers": {"accept-encoding": "identity"}}


def _arguments(rpc: Rpc, connection: Connection) -> dict[str, Any]:
    request = _http.request(rpc.method, rpc.arguments, connection.compression)
    left_s = rpc.arguments["client_timeout"]
    return {
        "method": request.method,
        "url": f"{connection.urls[rpc.endpoint]}/{request.path}",
        "headers": request.headers,
        "content": request.content,
        "timeout": httpx.Timeout(left_s, connect=min(left_s, _CONNECT_S)),
    }


@contextmanager
def _translated() -> Iterator[None]:
    """Turn httpx's errors into those that tritonclient's gRPC would raise."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
        raise _http.failure("UNAVAILABLE", f"no connection within {_CONNECT_S:g} s") from exc
    except httpx.TimeoutException as exc:
        raise _http.failure("DEADLINE_EXCEEDED", "") from exc
    except (httpx.TransportError, httpx.DecodingError) as exc:
        raise _http.failure("UNAVAILABLE", f"{type(exc).__name__}: {exc}") from exc
