# SPDX-License-Identifier: Apache-2.0
"""Headers of requests: bearer tokens, and the trace context of programs that use OpenTelemetry."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

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
