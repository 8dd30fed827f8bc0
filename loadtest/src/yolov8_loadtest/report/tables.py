# SPDX-License-Identifier: Apache-2.0
"""The tables of a run, for the terminal, for Markdown and for the report."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from yolov8_loadtest.monitor.server import ModelStatistics
from yolov8_loadtest.results.run import Run
from yolov8_loadtest.results.statistics import Summary
from yolov8_loadtest.scenario.load import Kind
from yolov8_loadtest.scenario.slo import AT_LEAST, figure

Cell = str | float | int | None

_ANY_WIDTH = 10_000  # with the terminal's own width, rich would cut failure messages and wrap tables in log files


def cell_text(value: Cell) -> str:
    """Return a value with three to four significant digits; a dash for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else value


def plain_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table for a terminal, as wide as it has to be: texts to the left, numbers to the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, name in enumerate(header):
        numeric = _is_numeric([row[column] for row in rows])
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell_text(value)) for value in row))
    text = io.StringIO()
    Console(file=text, width=_ANY_WIDTH).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table in Markdown."""
    marks = ["---:" if _is_numeric([row[column] for row in rows]) else "---" for column in range(len(header))]
    lines = [list(header), marks, *([cell_text(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_numeric(values: Sequence[Cell]) -> bool:
    return any(isinstance(value, int | float) for value in values)


LATE_MS = 10.0
"""Where the generator's p99 lateness is above this, the generator itself may be the bottleneck."""
MESSAGE_LENGTH = 150
FEWEST = {"p95_ms": 20, "p99_ms": 100, "p999_ms": 1000}
"""The fewest answers of which one lies above the percentile."""
FEW = "*"

CLIENT_HEADER = (
    "", "requests", "successful", "failed", "dropped", "per s", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms",
)  # fmt: skip
SERVER_HEADER = ("model", "requests", "mean batch", "queue ms", "input ms", "run ms", "output ms", "total ms")
LIMIT_HEADER = ("limit", "", "measured", "")
GROWTH_HEADER = ("process", "MB before", "MB after", "growth %", "files before", "files after")
METRICS_HEADER = ("counter", "grew by")

Rows = list[list[Cell]]


def summary(run: Run) -> str:
    """Return the tables of a run and its verdict."""
    tables = [
        (CLIENT_HEADER, stage_rows(run)),
        (CLIENT_HEADER, [*stream_rows(run), _row("all, warm-up left out", run.statistics.total)]),
        (SERVER_HEADER, server_rows(run)),
        (("failure", "requests", "the first one said"), failure_rows(run)),
        (GROWTH_HEADER, growth_rows(run)),
        (LIMIT_HEADER, limit_rows(run)),
    ]
    parts = [f"\n{run.scenario.name} against {run.url} (Triton {run.watch.server})"]
    parts += [plain_table(header, rows) for header, rows in tables if rows]
    parts += [*remarks(run), "\n".join(f"FAILED: {one}" for one in run.violations) or "PASSED"]
    return "\n\n".join(parts) + "\n"


def stage_rows(run: Run) -> Rows:
    """Return a row for each stage, if there are several."""
    stages, unit = run.statistics.stages, run.scenario.load.kind.value.replace("rate_per_s", "per s")
    if len(stages) == 1:
        return []
    names = [f"{stage.summary.name}: {stage.level:g} {unit}{' (warm-up)' * stage.warmup}" for stage in stages]
    return [_row(name, stage.summary) for name, stage in zip(names, stages, strict=True)]


def stream_rows(run: Run) -> Rows:
    """Return a row for each kind of traffic, if there are several."""
    streams = run.statistics.streams
    return [_row(stream.name, stream) for stream in streams] if len(streams) > 1 else []


def server_rows(run: Run) -> Rows:
    """Return a row for each ensemble and, indented, for its composing models."""
    return [_server_row(one) for one in run.server]


def failure_rows(run: Run) -> Rows:
    """Return a row for each kind of failure, with the message of the first one."""
    messages = run.recorder.messages
    failures = run.statistics.total.failures.items()
    return [[name, count, messages.get(name, "")[:MESSAGE_LENGTH]] for name, count in failures]


def limit_rows(run: Run) -> Rows:
    """Return a row for each limit of the SLO."""
    return [
        [
            check.name,
            f"{'>=' if check.name in AT_LEAST else '<='} {check.limit:g}",
            figure(check.measured),
            "pass" if check.kept else "FAIL",
        ]
        for check in run.checks
    ]


def growth_rows(run: Run) -> Rows:
    """Return a row for each process, if the SLO limits growth."""
    slo = run.scenario.slo
    if slo.memory_growth_ratio is None and slo.descriptor_growth is None:
        return []
    return [
        [
            one.process,
            one.memory_before_mb,
            one.memory_after_mb,
            100 * one.memory_ratio,
            one.descriptors_before,
            one.descriptors_after,
        ]
        for one in run.growth
    ]


def metrics_rows(run: Run) -> Rows:
    """Return a row for each counter that only the metrics port has."""
    return [[name, round(value)] for name, value in sorted((run.watch.metrics or {}).items())]


def remarks(run: Run) -> list[str]:
    """Return the reasons, if any, why the statistics need care."""
    found = []
    lag_ms = run.statistics.total.lag_p99_ms
    if lag_ms > LATE_MS and run.scenario.load.kind is Kind.OPEN:
        found.append(
            f"The generator sent 1 of 100 requests {lag_ms:.0f} ms or more after they were due. Latencies hold, since "
            "they count from then, but part of them is the generator's: more --processes or another machine would help."
        )
    parts = [run.statistics.total, *run.statistics.streams, *(stage.summary for stage in run.statistics.stages)]
    if any(0 < part.successful < FEWEST["p999_ms"] for part in parts):
        found.append(
            f"{FEW} marks a percentile of too few answers, about the slowest one: p95 needs {FEWEST['p95_ms']}, "
            f"p99 {FEWEST['p99_ms']} and p99.9 {FEWEST['p999_ms']:,}."
        )
    return found


def _row(name: str, part: Summary) -> list[Cell]:
    failed = sum(part.failures.values())
    counts: Sequence[Cell] = [name, part.requests, part.successful, failed, part.dropped, part.throughput_per_s]
    return [*counts, part.p50_ms, *(_percentile(part, key) for key in FEWEST), part.max_ms]


def _percentile(part: Summary, key: str) -> Cell:
    """Return a percentile, marked if too few answers make it the slowest one."""
    value: float = getattr(part, key)
    return f"{cell_text(value)} {FEW}" if 0 < part.successful < FEWEST[key] else value


def _server_row(one: ModelStatistics) -> list[Cell]:
    if one.model == one.ensemble:
        return [one.model, one.succeeded, None, None, None, None, None, one.total_ms]
    parts: Sequence[Cell] = [one.queue_ms, one.input_ms, one.infer_ms, one.output_ms, one.total_ms]
    return [f"  {one.model}", one.succeeded, one.mean_batch, *parts]
