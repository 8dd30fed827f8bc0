# SPDX-License-Identifier: Apache-2.0
"""What a run came to, for a terminal."""

from __future__ import annotations

from yolov8_loadtest.figures import Summary
from yolov8_loadtest.run import Run
from yolov8_loadtest.slo import AT_LEAST
from yolov8_loadtest.table import Cell, plain_table

LATE_MS = 10.0
"""A generator that is later than this, once in a hundred requests, may be the bottleneck itself."""

_CLIENT = ("", "requests", "right", "failed", "dropped", "per s", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms")
_SERVER = ("on the server", "requests", "batch", "queue ms", "input ms", "run ms", "output ms", "total ms")


def summary(run: Run) -> str:
    """Return the tables of a run and its verdict."""
    figures = run.figures
    parts = [f"\n{run.scenario.name} against {run.url} (Triton {run.watch.server})"]
    if len(figures.stages) > 1:
        rows = [
            _row(
                f"{stage.figures.name}: {stage.level:g} {run.scenario.load.kind.value}{' (warm-up)' * stage.warmup}",
                stage.figures,
            )
            for stage in figures.stages
        ]
        parts.append(plain_table(_CLIENT, rows))
    rows = [_row(stream.name, stream) for stream in figures.streams] if len(figures.streams) > 1 else []
    parts.append(plain_table(_CLIENT, [*rows, _row("all, warm-up left out", figures.total)]))
    parts += [_server_table(run), *_failures(run), *_remarks(run), _verdict(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(name: str, part: Summary) -> list[Cell]:
    failed = sum(part.failures.values())
    counts: list[Cell] = [name, part.requests, part.right, failed, part.dropped, part.throughput_per_s]
    return [*counts, part.p50_ms, part.p95_ms, part.p99_ms, part.p999_ms, part.max_ms]


def _server_table(run: Run) -> str:
    rows: list[list[Cell]] = [
        [
            one.model if one.model == one.ensemble else f"  {one.model}",
            one.succeeded,
            one.mean_batch,
            *(
                (None, None, None, None)
                if one.model == one.ensemble
                else (one.queue_ms, one.input_ms, one.infer_ms, one.output_ms)
            ),
            one.total_ms,
        ]
        for one in run.server
    ]
    return plain_table(_SERVER, rows) if rows else ""


def _failures(run: Run) -> list[str]:
    messages = run.recorder.messages
    rows: list[list[Cell]] = [
        [name, count, messages.get(name, "")[:150]] for name, count in run.figures.total.failures.items()
    ]
    return [plain_table(("failure", "requests", "the first one said"), rows)] if rows else []


def _remarks(run: Run) -> list[str]:
    lag_ms = run.figures.total.lag_p99_ms
    if not lag_ms > LATE_MS or run.scenario.load.kind.value == "cameras":
        return []
    return [
        f"The generator sent 1 of 100 requests {lag_ms:.0f} ms or more after they were due: latencies hold, since they "
        "count from then, but part of them is the generator's. More --processes, or another machine, would help."
    ]


def _verdict(run: Run) -> str:
    rows: list[list[Cell]] = [
        [
            check.name,
            f"{'>=' if check.name in AT_LEAST else '<='} {check.limit:g}",
            f"{check.measured:.4g}",
            "kept" if check.kept else "BROKEN",
        ]
        for check in run.checks
    ]
    lines = [plain_table(("limit", "", "measured", ""), rows)] if rows else []
    broken = run.violations
    lines.append("PASSED" if not broken else "\n".join(f"FAILED: {violation}" for violation in broken))
    return "\n\n".join(lines)
