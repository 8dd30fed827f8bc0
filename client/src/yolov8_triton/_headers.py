# SPDX-License-Identifier: Apache-2.0
"""Headers of requests: bearer tokens, and the trace context of programs that use OpenTelemetry."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Mapping

Token = str | Callable[[], str]
AsyncToken = str | Callable[[], str | Awaitable[str]]

HEADER = "authorization"


def bearer(token: object) -> str:
    """Return the header's value for a token.

    Raises:
        ValueError: The token is invalid. The message does not show it, since messages go into logs.
    """
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"token: expected printable ASCII without blanks, got {type(token).__name__} that isn't")
    return f"Bearer {token}"


def checked(given: object) -> dict[str, str]:
    """Return a caller's headers with names in lower case, which gRPC demands.

    Raises:
        ValueError: They are no names and texts that can be sent. The message shows no value, since those may be keys.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"headers: expected names and values, got {type(given).__name__}")
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _SET_BY_TRANSPORT:
            raise ValueError(f"headers: {name!r} is not the name of a header that a caller can set")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ValueError(f"headers: {name!r}: expected printable ASCII, got {type(value).__name__} that isn't")
    return {name.lower(): value for name, value in given.items()}


_NAME = re.compile(r"(?!.*-bin$)[0-9a-z_.-]+", re.IGNORECASE | re.ASCII)
"""gRPC's rule; names that end in -bin have bytes."""
_VALUE = re.compile(r"[ -~]*")
_SET_BY_TRANSPORT = ("content-length", "transfer-encoding")

_NOTHING: dict[str, str] = {}


def headers() -> dict[str, str]:
    """Return the current span as headers: ``traceparent`` and those that the program's propagators add."""
    if "opentelemetry.trace" not in sys.modules:  # without the package nobody can have started a span
        return _NOTHING
    from opentelemetry import propagate, trace

    if not trace.get_current_span().get_span_context().is_valid:
        return _NOTHING
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {name.lower(): value for name, value in carrier.items()}
