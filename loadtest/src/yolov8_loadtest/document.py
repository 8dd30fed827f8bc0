# SPDX-License-Identifier: Apache-2.0
"""Everything that a run showed as one JSON document, and as tables in CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from yolov8_loadtest import __version__
from yolov8_loadtest.figures import Summary
from yolov8_loadtest.machine import machine
from yolov8_loadtest.run import Run
from yolov8_loadtest.server_figures import moments


def document(run: Run) -> dict[str, Any]:
    """Return what a run showed as plain values; what could not be measured is None."""
    watch = run.watch
    result: dict[str, Any] = plain(
        {
            "yolov8_loadtest": __version__,
            "scenario": run.scenario.name,
            "about": run.scenario.about,
            "started": datetime.fromtimestamp(run.started_epoch_s, UTC).isoformat(timespec="seconds"),
            "url": run.url,
            "server": watch.server,
            "machine": machine(),
            "generators": run.generators,
            "passed": not run.violations,
            "violations": run.violations,
            "checks": [check._asdict() for check in run.checks],
            "measured": run.measured,
            "load": run.scenario.load,
            **asdict(run.figures),
            "failure_messages": run.recorder.messages,
            "models": run.server,
            "moments": moments(watch.samples, watch.members),
            "metrics": watch.metrics,
            "growth": [
                asdict(one) | {"memory_ratio": one.memory_ratio, "descriptors": one.descriptors} for one in run.growth
            ],
            "resources": watch.resources,
            "scenario_file": run.scenario.text,
        }
    )
    return result


def seconds_csv(run: Run) -> str:
    """Return the figures by second."""
    return _csv([asdict(second) for second in run.figures.seconds])


def summary_csv(run: Run) -> str:
    """Return the figures of all, of each stream and of each stage."""
    figures = run.figures
    return _csv(
        [_row(part) for part in (figures.total, *figures.streams, *(stage.figures for stage in figures.stages))]
    )


def _row(part: Summary) -> dict[str, Any]:
    failures = " ".join(f"{name}:{count}" for name, count in part.failures.items())
    return asdict(part) | {"failures": failures, "error_ratio": part.error_ratio}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    content = io.StringIO()
    if rows:
        writer = csv.DictWriter(content, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in row.items()} for row in rows)
    return content.getvalue()


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, NaN as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return _rounded(value)


def _rounded(value: Any) -> Any:
    """A microsecond is what was measured; NaN is no JSON."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
