# SPDX-License-Identifier: Apache-2.0
"""Lines on the terminal while a run is under way."""

from __future__ import annotations

import math

from yolov8_loadtest.results.recorder import LatencyHistogram, Recorder

WINDOW_S = 5


def progress_line(recorder: Recorder, at_s: int, users: int) -> str:
    """Return a line about the last seconds of a run."""
    recent = [cell for second, _, cell in recorder.cells(at_s - WINDOW_S) if second < at_s]
    latency = LatencyHistogram.merged(cell.latency for cell in recent)
    failed = sum(cell.failures.total() for cell in recent)
    dropped = sum(cell.dropped for cell in recent)
    parts = [
        f"{at_s // 60:02d}:{at_s % 60:02d}",
        f"{users} users",
        f"{sum(cell.answered for cell in recent) / WINDOW_S:.1f}/s",
        f"p50 {_whole(latency.percentile_ms(50))} ms",
        f"p95 {_whole(latency.percentile_ms(95))} ms",
        f"{failed} failed",
    ]
    return "   ".join([*parts, f"{dropped} frames dropped"] if dropped else parts)


def _whole(value_ms: float) -> str:
    """Return whole milliseconds, or a dash where no request of these seconds has its answer yet."""
    return "-" if math.isnan(value_ms) else f"{value_ms:.0f}"


def say(text: str) -> None:
    """Print a line on the terminal at once."""
    print(text, flush=True)  # noqa: T201  (it is what the command line is for)
