# SPDX-License-Identifier: Apache-2.0
"""Let a server's trace go on where the caller's is, where the program uses OpenTelemetry."""

from __future__ import annotations

import sys

_NOTHING: dict[str, str] = {}


def headers() -> dict[str, str]:
    """Return the current span as headers, ``traceparent`` and what else the program's propagators add."""
    if "opentelemetry.trace" not in sys.modules:  # nobody can have started a span
        return _NOTHING
    from opentelemetry import propagate, trace

    if not trace.get_current_span().get_span_context().is_valid:
        return _NOTHING
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {name.lower(): value for name, value in carrier.items()}
