# SPDX-License-Identifier: Apache-2.0
"""The statistics of a run, from its records: over all, by stream, by stage and by second."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from yolov8_loadtest.results.recorder import Cell, LatencyHistogram, Recorder
from yolov8_loadtest.scenario.load import Load

PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p95_ms": 95.0, "p99_ms": 99.0, "p999_ms": 99.9}
_CURVE_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The statistics of a part of a run; NaN where nothing was measured.

    Attributes:
        name: Name of the part.
        requests: Requests that were due.
        successful: Requests that were answered as expected.
        failures: Number of failed requests by error.
        dropped: Frames that were not sent.
        seconds: The length of the part.
        throughput_per_s: Successful answers a second.
        mean_ms: Mean latency, from the moment that a request was due.
        p50_ms: Median latency; the other percentiles follow.
        max_ms: Highest latency.
        lag_p99_ms: 99th percentile of the generator's own lateness.
    """

    name: str
    requests: int
    successful: int
    failures: dict[str, int]
    dropped: int
    seconds: int
    throughput_per_s: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    lag_p99_ms: float

    @property
    def error_ratio(self) -> float:
        """The share of the requests that failed."""
        return sum(self.failures.values()) / self.requests if self.requests else math.nan

    @property
    def dropped_ratio(self) -> float:
        """The share of the frames that were dropped; 0 without cameras."""
        return self.dropped / (self.dropped + self.requests) if self.requests else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSummary:
    """A stage and its statistics."""

    start_s: int
    level: float
    warmup: bool
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """The statistics of one second of a run.

    Attributes:
        at_s: Its beginning in seconds from the run's start.
        due: Requests that were due in it.
        answered: Successful answers that came in it.
        failed: Requests due in it that failed.
        dropped: Frames captured in it that were not sent.
        p50_ms: Median latency of the requests due in it; the other percentiles follow.
    """

    at_s: int
    due: int
    answered: int
    failed: int
    dropped: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A point of the latency curve: ``percent`` of the answers took at most ``ms``."""

    percent: float
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatistics:
    """All statistics of a run; the total and the curve leave the warm-up out."""

    total: Summary
    streams: list[Summary]
    stages: list[StageSummary]
    seconds: list[Second]
    curve: list[CurvePoint]


K = TypeVar("K")


def run_statistics(recorder: Recorder, load: Load) -> RunStatistics:
    """Return the statistics of the records of a load."""
    cells = list(recorder.cells())
    staged = [(load.stage_at(second), stream, cell) for second, stream, cell in cells]
    measured = {index for index, stage in enumerate(load.stages) if not stage.warmup}
    measured_s = sum(load.stages[index].duration_s for index in measured)
    counting = [(stream, cell) for stage, stream, cell in staged if stage in measured]
    total = _merged(cell for _, cell in counting)
    by_stream = _grouped(counting)
    by_stage = _grouped((stage, cell) for stage, _, cell in staged)
    by_second = _grouped((second, cell) for second, _, cell in cells)
    return RunStatistics(
        total=_summary("all", total, measured_s),
        streams=[_summary(name, cell, measured_s) for name, cell in sorted(by_stream.items())],
        stages=[
            StageSummary(
                start_s=start_s,
                level=stage.level,
                warmup=stage.warmup,
                summary=_summary(f"stage {index + 1}", by_stage.get(index, Cell()), stage.duration_s),
            )
            for index, (start_s, stage) in enumerate(zip(load.starts(), load.stages, strict=True))
        ],
        seconds=[_second(at_s, cell) for at_s, cell in sorted(by_second.items())],
        curve=_curve(total.latency),
    )


def _grouped(cells: Iterable[tuple[K, Cell]]) -> dict[K, Cell]:
    groups: dict[K, Cell] = {}
    for key, cell in cells:
        groups.setdefault(key, Cell()).merge(cell)
    return groups


def _merged(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.merge(cell)
    return total


def _summary(name: str, cell: Cell, seconds: int) -> Summary:
    latency = cell.latency
    percentiles = {key: latency.percentile_ms(percent) for key, percent in PERCENTILES.items()}
    return Summary(
        name=name,
        requests=cell.requests,
        successful=cell.successful,
        failures=dict(cell.failures.most_common()),
        dropped=cell.dropped,
        seconds=seconds,
        throughput_per_s=cell.answered / seconds if seconds else math.nan,
        mean_ms=latency.mean_ms,
        max_ms=latency.max_ms,
        lag_p99_ms=cell.lag.percentile_ms(99),
        **percentiles,
    )


def _second(at_s: int, cell: Cell) -> Second:
    return Second(
        at_s=at_s,
        due=cell.requests,
        answered=cell.answered,
        failed=cell.failures.total(),
        dropped=cell.dropped,
        p50_ms=cell.latency.percentile_ms(50),
        p95_ms=cell.latency.percentile_ms(95),
        p99_ms=cell.latency.percentile_ms(99),
    )


def _curve(latency: LatencyHistogram) -> list[CurvePoint]:
    """Return points at equal distances on a logarithmic scale, on which 90 %, 99 % and 99.9 % are equally far apart."""
    if not len(latency):
        return []
    nines = math.log10(len(latency)) + 0.3
    bins = list(latency.bins())
    points, position = [], 0
    for step in range(_CURVE_POINTS + 1):
        percent = 100 * (1 - 10 ** (-nines * step / _CURVE_POINTS))
        while bins[position].cumulative * 100 < percent - 1e-9 and position < len(bins) - 1:
            position += 1
        points.append(CurvePoint(percent=percent, ms=bins[position].ms))
    return points
