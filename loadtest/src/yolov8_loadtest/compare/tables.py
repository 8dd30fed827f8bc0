# SPDX-License-Identifier: Apache-2.0
"""The comparison as tables in Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from yolov8_loadtest.compare.reading import Row, middle
from yolov8_loadtest.table import Cell, markdown_table

_HEADER = (
    "model", "processes", "in flight", "Locust per s", "perf_analyzer per s", "ratio",
    "Locust p50 ms", "perf_analyzer p50 ms", "ratio", "Locust p99 ms", "perf_analyzer p99 ms",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return medians over the rounds; ratios are medians of each round's."""
    return markdown_table(_HEADER, [_cells(row) for row in rows])


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return all rounds as plain values."""
    return [asdict(row) | {"throughput_ratio": row.throughput_ratio, "p50_ratio": row.p50_ratio} for row in rows]


def capacity(rows: Sequence[Row]) -> str:
    """Say what one process of the generator can drive, and how far off it is, by a model that costs next to nothing."""
    alone = [row for row in rows if row.processes == 1]
    best = max(alone, key=lambda row: middle(row.ours).per_s)
    first = min(alone, key=lambda row: row.in_flight)
    added_ms = middle(first.ours).p50_ms - middle(first.theirs).p50_ms
    return (
        f"One process drives up to {middle(best.ours).per_s:,.0f} requests a second ({best.in_flight} in flight), "
        f"where perf_analyzer drives {middle(best.theirs).per_s:,.0f}. With {first.in_flight} in flight it adds "
        f"{added_ms:.2f} ms to p50: {100 * added_ms / 20:.1f} % of an answer that takes 20 ms."
    )


def _cells(row: Row) -> list[Cell]:
    ours, theirs = middle(row.ours), middle(row.theirs)
    speed: list[Cell] = [ours.per_s, theirs.per_s, f"{row.throughput_ratio:.3f}"]
    times: list[Cell] = [ours.p50_ms, theirs.p50_ms, f"{row.p50_ratio:.3f}", ours.p99_ms, theirs.p99_ms]
    return [row.model, row.processes, row.in_flight, *speed, *times]
