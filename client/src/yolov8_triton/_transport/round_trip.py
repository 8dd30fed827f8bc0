# SPDX-License-Identifier: Apache-2.0
"""Measure a call whose caller asked for its timings, and report them as spans of OpenTelemetry."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from yolov8_triton import _protocol
from yolov8_triton._protocol import Tensors
from yolov8_triton._results.outcome import R
from yolov8_triton._results.timings import Timings
from yolov8_triton._transport.steps import Deadline

_SPAN = "yolov8."
_OUTSIDE = ("client",)
"""Parts before and after the request, which get no span."""


class RoundTrip:
    """The time between a request and its answer; it begins when this object is made."""

    def __init__(self) -> None:
        self._sent_ns = time.time_ns()
        self._began = time.perf_counter()
        self._ms = 0.0

    def end(self) -> None:
        """Take the time: the answer is here."""
        self._ms = (time.perf_counter() - self._began) * 1000

    def timed(self, result: R, answer: Tensors, deadline: Deadline) -> R:
        """Return a result with its timings; the current span, if it is recorded, gets a child for each part.

        Raises:
            ContractError: The answer has no times, or impossible ones.
        """
        times = _protocol.times(answer)
        timings = Timings.of(
            times, total_ms=deadline.spent_s() * 1000, round_trip_ms=self._ms, sent_ms=self._sent_ns / 1e6
        )
        _record(timings, self._sent_ns)
        return replace(result, timings=timings)


def _record(timings: Timings, sent_ns: int) -> None:
    """Add a child for each part to the current span of OpenTelemetry, by this machine's clock."""
    if "opentelemetry.trace" not in sys.modules:  # without the package nobody can have started a span
        return
    from opentelemetry import trace

    if not trace.get_current_span().is_recording():
        return
    tracer, at = trace.get_tracer("yolov8_triton"), float(sent_ns)
    for name, ms in timings.parts():
        if name not in _OUTSIDE:
            span = tracer.start_span(_SPAN + name, start_time=int(at))
            at += ms * 1e6
            span.end(end_time=int(at))
