# SPDX-License-Identifier: Apache-2.0
"""Check requests before Triton sees them, without I/O.

A request for inference is not passed on as it came: its JSON is read, checked and written anew, so Triton parses only
JSON that this module wrote.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

MAX_BODY_BYTES = 34 * 1024 * 1024
"""The largest image that models accept (32 MiB), and its protocol overhead. The composition's proxy has the same."""
MAX_JSON_BYTES = 9999
MAX_PARAMETERS = 32
MAX_OUTPUTS = 16
MAX_TEXT = 4096
"""Characters of a parameter; the ids of 1000 classes fit."""

_LENGTH = re.compile(r"[0-9]{1,4}\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_INT64 = 1 << 63
_SEQUENCE = "sequence_"
"""Triton reads parameters with such names as those of a sequence of requests."""


class RefusedError(Exception):
    """A request that must not reach Triton.

    Attributes:
        status: HTTP status of the answer.
        message: What was wrong, and what was expected.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def check_host(host: str | None, *, name: str) -> None:
    """Refuse a request whose Host is a foreign name, which another site may have pointed to this machine.

    Args:
        host: The Host header, with or without a port.
        name: The name or address that the door was told to listen on.

    Raises:
        RefusedError: The host is neither an address, nor ``localhost``, nor ``name``.
    """
    hostname = _hostname(host)
    if hostname in ("localhost", name.lower()) or _is_address(hostname):
        return
    raise RefusedError(
        HTTPStatus.MISDIRECTED_REQUEST,
        f"host {hostname!r} is not this server: open it by its address, as localhost, or start it with "
        "--playground-host and the name",
    )


def check_origin(host: str | None, origin: str | None, fetch_site: str | None) -> None:
    """Refuse a request that a browser sends for the page of another site.

    Raises:
        RefusedError: Origin or Sec-Fetch-Site name another site.
    """
    foreign = origin is not None and _authority(origin) != (host or "").lower()
    if foreign or fetch_site not in (None, "same-origin", "none"):
        raise RefusedError(HTTPStatus.FORBIDDEN, "only the playground's own page may call this server from a browser")


def _hostname(host: str | None) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "") if host else ""
    except ValueError:
        return ""


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_address(hostname: str) -> bool:
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        return False
    return True


def check_length(headers: dict[str, str]) -> int:
    """Return the length of the JSON in a request for inference, from its header fields (names in lower case).

    Raises:
        RefusedError: The body is chunked, compressed, too large, or has no binary tensor.
    """
    if "transfer-encoding" in headers or not headers.get("content-length", "").isdecimal():
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected a body with Content-Length, not one in chunks")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a body without compression: leave Content-Encoding out"
        )
    size = int(headers["content-length"])
    if size > MAX_BODY_BYTES:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"invalid image: the request has {size} bytes, at most {MAX_BODY_BYTES} are allowed",
        )
    length = headers.get("inference-header-content-length", "")
    if not _LENGTH.match(length) or not 0 < int(length) <= min(size, MAX_JSON_BYTES):
        raise _invalid(
            f"expected a binary tensor: Inference-Header-Content-Length from 1 to {MAX_JSON_BYTES}, "
            f"the length of the JSON before the image, got {length[:20]!r}"
        )
    return int(length)


def rewritten(head: bytes, image_size: int) -> bytes:
    """Return the JSON of a request for inference, written anew.

    Args:
        head: The JSON as it came.
        image_size: Bytes that follow it.

    Raises:
        RefusedError: It is anything but a request with the one binary input ``image``.
    """
    try:
        document = json.loads(head)
    except (ValueError, RecursionError) as exc:
        raise _invalid("the header is not JSON: check Inference-Header-Content-Length") from exc
    if not isinstance(document, dict):
        raise _invalid("expected a JSON object")
    if unknown := set(document) - {"id", "inputs", "outputs", "parameters"}:
        raise _invalid(f"expected id, inputs, outputs and parameters, got {_quoted(sorted(unknown)[0])}")
    _check_input(document.get("inputs"), image_size)
    parameters = dict(_parameters(document.get("parameters", {})))
    outputs = list(_outputs(document.get("outputs", [])))
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": [1, image_size],
        "parameters": {"binary_data_size": image_size},
    }
    clean: dict[str, Any] = {"inputs": [tensor], "parameters": parameters}
    if outputs:
        clean["outputs"] = outputs
    if "id" in document:
        clean["id"] = _identifier(document["id"], "id")
    return json.dumps(clean).encode()


def _check_input(inputs: object, size: int) -> None:
    fits = (
        isinstance(inputs, list)
        and len(inputs) == 1
        and isinstance(inputs[0], dict)
        and set(inputs[0]) <= {"name", "datatype", "shape", "parameters"}
        and inputs[0].get("name") == "image"
        and inputs[0].get("datatype") == "UINT8"
        and _equals(inputs[0].get("shape"), [1, size])
        and _equals(inputs[0].get("parameters"), {"binary_data_size": size})
        and size > 0
    )
    if not fits:
        raise _invalid(
            f"expected one input, image, of datatype UINT8 and shape [1, {size}], with the parameter "
            f"binary_data_size {size}: the bytes that follow the JSON"
        )


def _equals(got: object, expected: object) -> bool:
    return repr(got) == repr(expected)  # True == 1 and 1.0 == 1 in Python, and not in JSON


def _parameters(given: object) -> Iterator[tuple[str, bool | int | float | str]]:
    if not isinstance(given, dict) or len(given) > MAX_PARAMETERS:
        raise _invalid(f"parameters: expected an object of at most {MAX_PARAMETERS} numbers, texts and booleans")
    for name, value in given.items():
        if not _NAME.match(name):
            raise _invalid(f"parameters: expected names of letters, digits and _, got {_quoted(name)}")
        if name.startswith(_SEQUENCE) or (name == "binary_data_output" and not isinstance(value, bool)):
            raise _invalid(f"parameter {name}: it is not one of these models', or has another type")
        if not _is_scalar(value):
            raise _invalid(f"parameter {name}: expected a number, a boolean or a text, got {_quoted(value)}")
        yield name, value


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and -_INT64 <= value < _INT64


def _outputs(given: object) -> Iterator[dict[str, Any]]:
    if not isinstance(given, list) or len(given) > MAX_OUTPUTS:
        raise _invalid(f"outputs: expected a list of at most {MAX_OUTPUTS} outputs")
    for output in given:
        if not isinstance(output, dict) or not set(output) <= {"name", "parameters"}:
            raise _invalid(f"outputs: expected objects with a name, got {_quoted(output)}")
        parameters = output.get("parameters", {})
        if repr(parameters) not in ("{}", "{'binary_data': True}", "{'binary_data': False}"):
            raise _invalid("outputs: expected no parameter but binary_data, true or false")
        yield {"name": _identifier(output.get("name"), "outputs"), "parameters": parameters}


def _identifier(value: object, place: str) -> str:
    if not isinstance(value, str) or not _IDENTIFIER.match(value):
        raise _invalid(f"{place}: expected 1 to 64 letters, digits and _.:-, got {_quoted(value)}")
    return value


def _quoted(value: object) -> str:
    return repr(value)[:60]


def _invalid(message: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, f"invalid request: {message}")
