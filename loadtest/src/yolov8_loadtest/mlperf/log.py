# SPDX-License-Identifier: Apache-2.0
"""Read LoadGen's own log of a run: its verdict and its figures.

``mlperf_log_detail.txt`` has a line of JSON for each event, after ``:::MLLOG``. The verdict is LoadGen's, and not
computed here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolov8_loadtest.errors import LoadTestError

DETAIL, ACCURACY = "mlperf_log_detail.txt", "mlperf_log_accuracy.json"
_MARK = ":::MLLOG "
_NS_A_MS = 1e6
_FIGURES = {
    "result_samples_per_second": "samples_per_s",
    "result_completed_samples_per_sec": "samples_per_s",
}
_LATENCIES = {
    "result_50.00_percentile_latency_ns": "p50_ms",
    "result_90.00_percentile_latency_ns": "p90_ms",
    "result_99.00_percentile_latency_ns": "p99_ms",
    "result_50.00_percentile_per_query_latency_ns": "p50_ms",
    "result_90.00_percentile_per_query_latency_ns": "p90_ms",
    "result_99.00_percentile_per_query_latency_ns": "p99_ms",
    "early_stopping_latency_ss": "early_stopping_ms",
    "early_stopping_latency_ms": "early_stopping_ms",
}
_CONDITIONS = {
    "result_min_duration_met": "the least length of the run",
    "result_min_queries_met": "the fewest queries",
    "early_stopping_met": "early stopping",
    "result_perf_constraints_met": "the latency limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What LoadGen says of a run.

    Attributes:
        valid: Whether the run counts by LoadGen's rules.
        missed: The conditions that it did not meet.
        queries: Number of queries.
        figures: ``samples_per_s``, ``p50_ms``, ``p90_ms``, ``p99_ms`` and ``early_stopping_ms``, as far as the
            scenario has them. ``early_stopping_ms`` is LoadGen's bound of the percentile at 99 % confidence.
    """

    valid: bool
    missed: tuple[str, ...]
    queries: int
    figures: dict[str, float]


def read_verdict(folder: Path) -> Verdict:
    """Read the log of a run from the folder that LoadGen wrote it into.

    Raises:
        LoadTestError: The log is missing or has no verdict, for example because LoadGen ended early.
    """
    events = _events(folder / DETAIL)
    if "result_validity" not in events:
        raise LoadTestError(f"{folder / DETAIL}: LoadGen wrote no verdict; it did not end its run")
    figures = {name: float(events[key]) for key, name in _FIGURES.items() if key in events}
    figures |= {name: float(events[key]) / _NS_A_MS for key, name in _LATENCIES.items() if key in events}
    return Verdict(
        valid=events["result_validity"] == "VALID",
        missed=tuple(text for key, text in _CONDITIONS.items() if events.get(key) is False),
        queries=int(events.get("result_query_count", 0)),
        figures=figures,
    )


def _events(path: Path) -> dict[str, Any]:
    """Return the last value of each event."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise LoadTestError(f"{path}: can't be read: {exc.strerror}; LoadGen did not run") from exc
    found = (json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK))
    return {event["key"]: event["value"] for event in found}
