# SPDX-License-Identifier: Apache-2.0
"""Triton's HTTP protocol (KServe's version 2 with binary tensors), and servers that are reached by it.

A request for inference, like its response, is a JSON header followed by the bytes of the tensors; a header field gives
the length of the JSON. httpx pools the connections, for threads and for asyncio.
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import quote

from tritonclient.utils import InferenceServerException

from yolov8_contract import signature
from yolov8_triton._extras import extra
from yolov8_triton._protocol import Tensors
from yolov8_triton._transport.connection import Compression, Connection
from yolov8_triton._transport.requests import (
    AnyRequest,
    GetConfig,
    GetIndex,
    GetReady,
    GetServer,
    GetStatistics,
    Infer,
    LoadModel,
    UnloadModel,
)
from yolov8_triton._transport.steps import Rpc

LENGTH = "inference-header-content-length"
_RESTRICTED_GRPC = "triton-grpc-protocol-"
"""Prefix that the key of a restricted server has over gRPC, and does not have over HTTP."""

_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED", 413: "INVALID_ARGUMENT", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_QUOTED = 200
_MOST_LETTERS = 2000
"""Bytes of a foreign answer that an error message quotes."""


class Message(NamedTuple):
    """An HTTP request; ``path`` is relative to the server's address."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


def message_of(rpc: Rpc, compression: Compression | None) -> Message:
    """Return the HTTP request for a request; shared memory goes with gRPC alone."""
    headers = {name.removeprefix(_RESTRICTED_GRPC): value for name, value in rpc.headers.items()}
    match rpc.request:
        case Infer(model, bytes(image), parameters):
            return _infer(
                _path(model, "infer"), headers, image, {**parameters, "timeout": rpc.queue_timeout_us}, compression
            )
        case GetConfig(model):
            return Message("GET", _path(model, "config"), headers, b"")
        case GetReady(model):
            return Message("GET", _path(model, "ready"), headers, b"")
        case GetIndex():
            return Message("POST", "v2/repository/index", headers, b"")
        case GetServer():
            return Message("GET", "v2", headers, b"")
        case GetStatistics(model):
            return Message("GET", _path(model, "stats"), headers, b"")
        case LoadModel(model, config):
            return _control(model, "load", headers, {} if config is None else {"parameters": {"config": config}})
        case UnloadModel(model):
            return _control(model, "unload", headers, {})
        case _:
            raise AssertionError(f"{rpc.request} goes over gRPC alone")


def answer(request: AnyRequest, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """Return the answer to a request.

    Args:
        request: The request.
        status: HTTP status of the response.
        headers: Header fields of the response, found by names in lower case.
        content: Body of the response, decompressed.

    Raises:
        InferenceServerException: It is an error; its status is the gRPC status that corresponds.
    """
    if isinstance(request, GetReady) and status in (200, 400):
        return status == 200
    if status != 200:
        raise _refusal(status, content)
    if isinstance(request, Infer):
        return _tensors(headers, content)
    if isinstance(request, LoadModel | UnloadModel):
        return None
    document = _parsed(content, list if isinstance(request, GetIndex) else dict)
    return {_WRAPPED[type(request)]: document} if type(request) in _WRAPPED else document


def _path(model: str, action: str) -> str:
    return f"v2/models/{quote(model, safe='')}/{action}"


def _control(model: str, action: str, headers: dict[str, str], document: Mapping[str, Any]) -> Message:
    path = f"v2/repository/models/{quote(model, safe='')}/{action}"
    return Message("POST", path, headers, json.dumps(document).encode())


def failure(status: str, text: str) -> InferenceServerException:
    """Return tritonclient's exception with the name of a gRPC status."""
    return InferenceServerException(text, status=f"StatusCode.{status}")


def _infer(
    path: str, headers: dict[str, str], image: bytes, parameters: Mapping[str, Any], compression: Compression | None
) -> Message:
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
    return Message("POST", path, headers, content)


_LEVEL = 6
"""zlib's default; Python's default for gzip, 9, takes several times as long and saves almost nothing."""


def _tensors(headers: Mapping[str, str], content: bytes) -> Tensors:
    try:
        begin = length = int(headers.get(LENGTH, len(content)))
        found: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
        if not 0 <= length <= len(content):
            raise ValueError(f"a header of {length} bytes in {len(content)}")
        for output in json.loads(content[:length])["outputs"]:
            name, datatype, shape = output["name"], output["datatype"], output["shape"]
            size = output["parameters"]["binary_data_size"]
            if not (isinstance(name, str) and isinstance(datatype, str) and _are_lengths([*shape, size])):
                raise ValueError(f"output {name!r} has datatype {datatype!r}, shape {shape!r} and {size!r} bytes")
            if name in found:
                raise ValueError(f"output {name!r} is there twice")
            found[name] = datatype, tuple(shape), content[begin : begin + size]
            begin += size
        if begin != len(content):
            raise ValueError(f"outputs of {begin - length} bytes, got {len(content) - length}")
    except _MALFORMED as exc:
        raise failure("UNIMPLEMENTED", f"not an answer of Triton: {_cut(exc)}") from exc
    return found


def _are_lengths(values: list[object]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 63 for value in values)  # True is no length


_MALFORMED = (KeyError, TypeError, ValueError, RecursionError)
"""What reading a foreign answer raises."""


def _cut(exc: BaseException) -> str:
    return repr(exc)[:_QUOTED]


_WRAPPED = {GetConfig: "config", GetIndex: "models"}
"""The name of the document in gRPC's answer, where HTTP's answer is the document itself."""


def _parsed(content: bytes, kind: type[list[Any] | dict[str, Any]]) -> Any:
    """Return a JSON answer."""
    with suppress(*_MALFORMED):
        document = json.loads(content)
        if isinstance(document, kind):
            return document
    raise failure("UNIMPLEMENTED", f"not an answer of Triton: {_excerpt(content)}")


def _refusal(status: int, content: bytes) -> InferenceServerException:
    name = _STATUSES.get(status, "UNKNOWN")
    try:
        return failure(name, str(json.loads(content)["error"])[:_MOST_LETTERS])
    except _MALFORMED:  # Triton's errors are JSON: this is a proxy's, or another server's
        name = "UNIMPLEMENTED" if name == "NOT_FOUND" else name
        return failure(name, f"HTTP status {status}: {_excerpt(content)}")


def _excerpt(content: bytes) -> str:
    return repr(content[:_QUOTED].decode("utf-8", "replace"))


with extra("http"):
    import httpx

    from yolov8_triton._transport.timed_http import Due, TimedTransport

_CONNECT_S = 3.0
"""Limit for connecting: a host that does not answer must leave the call time for another server."""
MAX_ANSWER_BYTES = 512 * 1024 * 1024
"""The largest body of an answer; 300 objects with masks have less than a megabyte."""
_PIECES_CHECKED, _LARGE_PIECE = 64, 1024 * 1024
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64)


class HttpServers:
    """Servers that are asked from threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._due = Due()
        settings = _settings(connection)
        transport = TimedTransport(self._due, verify=settings["verify"], limits=settings["limits"])
        self._client = httpx.Client(**settings, transport=transport)

    def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        self._due.at = time.monotonic() + rpc.timeout_s
        pieces: list[bytes] = []
        with _translated(), self._client.stream(**_arguments(rpc, self._connection)) as response:
            _check_encoding(response)
            for piece in response.iter_bytes():
                _add(pieces, piece)
        return answer(rpc.request, response.status_code, response.headers, b"".join(pieces))

    def close(self) -> None:
        """Close the connections; requests in flight end with their answers or at their deadlines."""
        self._client.close()


class AsyncHttpServers:
    """Servers that are asked from one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = httpx.AsyncClient(**_settings(connection))

    async def ask(self, rpc: Rpc) -> Any:
        """Make one request."""
        with _translated():
            try:
                response, content = await asyncio.wait_for(self._whole(rpc), rpc.timeout_s)
            except asyncio.TimeoutError as exc:  # the builtin one from Python 3.11 on
                raise failure("DEADLINE_EXCEEDED", "") from exc
        return answer(rpc.request, response.status_code, response.headers, content)

    def close(self) -> list[Awaitable[None]]:
        """Close the connections; return what has to be awaited."""
        return [self._client.aclose()]

    async def _whole(self, rpc: Rpc) -> tuple[httpx.Response, bytes]:
        pieces: list[bytes] = []
        async with self._client.stream(**_arguments(rpc, self._connection)) as response:
            _check_encoding(response)
            async for piece in response.aiter_bytes():
                _add(pieces, piece)
        return response, b"".join(pieces)


def _check_encoding(response: httpx.Response) -> None:
    """Refuse nested compression, of which a kilobyte may hold a terabyte."""
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "deflate"):
        raise failure("UNIMPLEMENTED", f"not an answer of Triton: encoding {response.headers['content-encoding']!r}")


def _add(pieces: list[bytes], piece: bytes) -> None:
    """Keep a piece of a body, or refuse a body that has no end."""
    pieces.append(piece)
    if len(pieces) % _PIECES_CHECKED == 0 or len(piece) > _LARGE_PIECE:
        total = sum(map(len, pieces))
        if total > MAX_ANSWER_BYTES:
            raise failure("UNIMPLEMENTED", f"not an answer of Triton: it has more than {MAX_ANSWER_BYTES} bytes")


def _settings(connection: Connection) -> dict[str, Any]:
    # Proxies of the environment are ignored, as gRPC ignores them for such addresses.
    verify = True if connection.secrets is None else connection.secrets.context
    return {"verify": verify, "limits": _LIMITS, "trust_env": False, "headers": {"accept-encoding": "identity"}}


def _arguments(rpc: Rpc, connection: Connection) -> dict[str, Any]:
    message = message_of(rpc, connection.compression)
    return {
        "method": message.method,
        "url": f"{connection.urls[rpc.endpoint]}/{message.path}",
        "headers": message.headers,
        "content": message.content,
        "timeout": httpx.Timeout(rpc.timeout_s, connect=min(rpc.timeout_s, _CONNECT_S)),
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
