# SPDX-License-Identifier: Apache-2.0
"""Triton's HTTP protocol, as KServe's version 2 with binary tensors: what gRPC's methods are there. No I/O.

A request for inference is a JSON header, whose length a header field gives, and the tensors' bytes behind it; so is
its response. https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

Servers that are asked over HTTP: httpx pools their connections, for threads and for asyncio alike.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from tritonclient.utils import InferenceServerException

from yolov8_contract import signature
from yolov8_triton._extras import extra
from yolov8_triton._protocol import Tensors
from yolov8_triton._transport.connection import Compression, Connection
from yolov8_triton._transport.steps import Rpc

LENGTH = "inference-header-content-length"
_RESTRICTED_GRPC = "triton-grpc-protocol-"
"""What stands in front of a restricted server's key over gRPC, and doesn't over HTTP."""

_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED", 413: "INVALID_ARGUMENT", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_QUOTED = 200
"""So much of an answer that isn't Triton's goes into the message."""


class Request(NamedTuple):
    """One HTTP request; ``path`` is relative to the server's address."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


def request(method: str, arguments: Mapping[str, Any], compression: Compression | None) -> Request:
    """Return the request that is a gRPC method's like."""
    headers = {name.removeprefix(_RESTRICTED_GRPC): value for name, value in arguments["headers"].items()}
    if method == "get_model_repository_index":
        return Request("POST", "v2/repository/index", headers, b"")
    model = f"v2/models/{quote(arguments['model_name'], safe='')}"
    if method == "get_model_config":
        return Request("GET", f"{model}/config", headers, b"")
    if method == "is_model_ready":
        return Request("GET", f"{model}/ready", headers, b"")
    parameters = {**arguments["parameters"], "timeout": arguments["timeout"]}
    return _infer(f"{model}/infer", headers, arguments["image"], parameters, compression)


def answer(method: str, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """Return what the gRPC method would.

    Args:
        method: Which was asked.
        status: HTTP's.
        headers: The response's; their names in lower case, or a mapping that doesn't care.
        content: Its body, not compressed any more.

    Raises:
        InferenceServerException: It is an error; its status is gRPC's for the like.
    """
    if method == "is_model_ready" and status == 400:
        return False
    if status != 200:
        raise _refusal(status, content)
    if method == "is_model_ready":
        return True
    if method == "infer":
        return _tensors(headers, content)
    return _document(method, content)


def failure(status: str, text: str) -> InferenceServerException:
    """Return an error with the name of a gRPC status."""
    return InferenceServerException(text, status=f"StatusCode.{status}")


def _infer(
    path: str, headers: dict[str, str], image: bytes, parameters: Mapping[str, Any], compression: Compression | None
) -> Request:
    tensor = {
        "name": signature.IMAGE.name,
        "shape": [1, len(image)],
        "datatype": signature.IMAGE.dtype.value,
        "parameters": {"binary_data_size": len(image)},
    }
    document = {"inputs": [tensor], "parameters": {**parameters, "binary_data_output": True}}
    head = json.dumps(document).encode()
    content = head + image
    headers |= {LENGTH: str(len(head)), "content-type": "application/octet-stream"}
    if compression is not None:
        headers |= {"content-encoding": compression, "accept-encoding": compression}
        content = gzip.compress(content, _LEVEL) if compression == "gzip" else zlib.compress(content, _LEVEL)
    return Request("POST", path, headers, content)


_LEVEL = 6
"""zlib's own choice; gzip's in Python is 9, which takes several times as long for next to nothing."""


def _tensors(headers: Mapping[str, str], content: bytes) -> Tensors:
    try:
        length = int(headers.get(LENGTH, len(content)))
        outputs, begin = {}, length
        for output in json.loads(content[:length])["outputs"]:
            end = begin + output["parameters"]["binary_data_size"]
            outputs[output["name"]] = output["datatype"], tuple(output["shape"]), content[begin:end]
            begin = end
    except (KeyError, TypeError, ValueError) as exc:
        raise failure("UNIMPLEMENTED", f"no answer of Triton's: {exc!r}") from exc
    return outputs


def _document(method: str, content: bytes) -> dict[str, Any]:
    """Return a JSON answer in the form that gRPC's has."""
    name = "models" if method == "get_model_repository_index" else "config"
    try:
        return {name: json.loads(content)}
    except ValueError as exc:
        raise failure("UNIMPLEMENTED", f"no answer of Triton's: {_excerpt(content)}") from exc


def _refusal(status: int, content: bytes) -> InferenceServerException:
    name = _STATUSES.get(status, "UNKNOWN")
    try:
        return failure(name, str(json.loads(content)["error"]))
    except (KeyError, TypeError, ValueError):  # Triton's errors are JSON: this is a proxy's, or another server's
        name = "UNIMPLEMENTED" if name == "NOT_FOUND" else name
        return failure(name, f"HTTP status {status}: {_excerpt(content)}")


def _excerpt(content: bytes) -> str:
    return repr(content[:_QUOTED].decode("utf-8", "replace"))


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
                    raise failure("DEADLINE_EXCEEDED", "")
        return answer(rpc.method, response.status_code, response.headers, b"".join(pieces))

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
                raise failure("DEADLINE_EXCEEDED", "") from exc
        return answer(rpc.method, response.status_code, response.headers, response.content)

    def close(self) -> list[Awaitable[None]]:
        """Close the connections; return what there is to await."""
        return [self._client.aclose()]


def _settings(connection: Connection) -> dict[str, Any]:
    # The environment's proxies are not asked: neither does gRPC's client ask them for addresses of this kind.
    verify = True if connection.secrets is None else connection.secrets.context
    return {"verify": verify, "limits": _LIMITS, "trust_env": False, "headers": {"accept-encoding": "identity"}}


def _arguments(rpc: Rpc, connection: Connection) -> dict[str, Any]:
    message = request(rpc.method, rpc.arguments, connection.compression)
    left_s = rpc.arguments["client_timeout"]
    return {
        "method": message.method,
        "url": f"{connection.urls[rpc.endpoint]}/{message.path}",
        "headers": message.headers,
        "content": message.content,
        "timeout": httpx.Timeout(left_s, connect=min(left_s, _CONNECT_S)),
    }


@contextmanager
def _translated() -> Iterator[None]:
    """Turn httpx's errors into those that tritonclient's gRPC would raise."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
        raise failure("UNAVAILABLE", f"no connection within {_CONNECT_S:g} s") from exc
    except httpx.TimeoutException as exc:
        raise failure("DEADLINE_EXCEEDED", "") from exc
    except (httpx.TransportError, httpx.DecodingError) as exc:
        raise failure("UNAVAILABLE", f"{type(exc).__name__}: {exc}") from exc
