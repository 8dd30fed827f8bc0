# SPDX-License-Identifier: Apache-2.0
"""The tables of a benchmark, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from yolov8_loadtest.benchmark.contenders import IN_PROCESS, OTHER_CLIENT, OVER_GRPC, SHARED_MEMORY
from yolov8_loadtest.benchmark.results import PARTS, Promise, Results
from yolov8_loadtest.table import Cell, markdown_table


def main_table(results: Results) -> str:
    """Return throughput at each number in flight, latency at one, and what an image costs."""
    busiest = results.in_flight[-1]
    header = [
        "",
        *(f"img/s, {in_flight} in flight" for in_flight in results.in_flight),
        "p50 ms, 1 in flight",
        "p99 ms, 1 in flight",
        f"p50 ms, {busiest} in flight",
        "CPU s / image",
        "MB / image on the wire",
    ]
    rows: list[list[Cell]] = []
    for one in results.contenders:
        cells = [results.cell(one.key, in_flight) for in_flight in results.in_flight]
        rows.append(
            [
                f"({one.letter}) {one.label}",
                *(figures.throughput for figures in cells),
                cells[0].p50_ms,
                cells[0].p99_ms,
                cells[-1].p50_ms,
                f"{cells[-1].cpu_s:.3f}",
                f"{cells[-1].wire_mb:.2f}",
            ]
        )
    return markdown_table(header, rows)


def stage_table(results: Results) -> str:
    """Return where the time goes with one request in flight, in milliseconds."""
    rows: list[list[Cell]] = []
    quickest = results.quickest(IN_PROCESS)
    if quickest is not None:
        stages = results.cell(quickest, 1).stages_ms
        rows += [[f"({IN_PROCESS}) {name}", None, None, ms, None, ms] for name, ms in stages.items()]
    for letter in (OVER_GRPC, SHARED_MEMORY, OTHER_CLIENT):
        if results.best(letter) is not None:
            rows += _served_rows(results, letter)
    return markdown_table(("one in flight, means in ms", "queue", "input", "run", "output", "all"), rows)


def promise_table(promises: Sequence[Promise]) -> str:
    """Return the promised ratios."""
    rows: list[list[Cell]] = [
        [
            one.what,
            f"{one.measured:.3f}",
            f"{'at least' if one.at_least else 'at most'} {one.limit:g}",
            "kept" if one.kept else "MISSED",
        ]
        for one in promises
    ]
    return markdown_table(("ratio, in this run", "measured", "promised", ""), rows)


def _served_rows(results: Results, letter: str) -> list[list[Cell]]:
    figures = results.cell(letter, 1)
    rows: list[list[Cell]] = []
    inside = 0.0
    for name, counters in sorted(figures.models.items(), key=lambda item: _order(item[0])):
        if name == results.model:
            continue
        parts = [counters.mean_ms(part) for part in PARTS]
        inside += sum(parts)
        member = name.removeprefix(f"{results.model}_")
        rows.append([f"({letter}) {member}", *parts, sum(parts)])
    rest = figures.mean_ms - inside
    what = "scheduling, transport, client" if letter != OTHER_CLIENT else "the client's own work, transport"
    return [*rows, [f"({letter}) mean less the above: {what}", None, None, None, None, rest]]


def _order(name: str) -> int:
    return next(
        (i for i, part in enumerate(("check", "preprocess", "network", "postprocess")) if name.endswith(part)), 9
    )
