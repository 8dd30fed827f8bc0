# SPDX-License-Identifier: Apache-2.0
"""Triton's HTTP protocol, as KServe's version 2 with binary tensors: what gRPC's methods are there. No I/O.

A request for inference is a JSON header, whose length a header field gives, and the tensors' bytes behind it; so is
its response. https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from tritonclient.utils import InferenceServerException

from yolov8_contract import signature
from yolov8_triton._connection import Compression
from yolov8_triton._protocol import Tensors

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
