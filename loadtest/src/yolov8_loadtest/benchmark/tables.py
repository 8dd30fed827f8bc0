# SPDX-License-Identifier: Apache-2.0
"""The tables of a benchmark, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from yolov8_loadtest.benchmark.contender_process import Contender
from yolov8_loadtest.benchmark.contenders import IN_PROCESS, OTHER_CLIENT, OTHER_CLIENT_INT8
from yolov8_loadtest.benchmark.results import PARTS, Promise, Results
from yolov8_loadtest.table import Cell, markdown_table


def throughput_table(results: Results) -> str:
    """Return throughput at each number in flight, and what an image costs at the highest."""
    header = [
        "",
        *(f"img/s, {in_flight} in flight" for in_flight in results.in_flight),
        "CPU s / image",
        "MB / image on the wire",
    ]
    rows: list[list[Cell]] = []
    for one in results.contenders:
        cells = [results.cell(one.key, in_flight) for in_flight in results.in_flight]
        cost = [f"{cells[-1].cpu_s:.3f}", f"{cells[-1].wire_mb:.2f}"]
        rows.append([_name(one), *(figures.throughput for figures in cells), *cost])
    return markdown_table(header, rows)


def latency_table(results: Results) -> str:
    """Return p50 and p99 at each number in flight, in milliseconds."""
    header = ["ms", *(f"{part}, {in_flight} in flight" for in_flight in results.in_flight for part in ("p50", "p99"))]
    rows: list[list[Cell]] = []
    for one in results.contenders:
        cells = [results.cell(one.key, in_flight) for in_flight in results.in_flight]
        rows.append([_name(one), *(value for figures in cells for value in (figures.p50_ms, figures.p99_ms))])
    return markdown_table(header, rows)


def stage_table(results: Results) -> str:
    """Return where the time goes with one request in flight, in milliseconds."""
    rows: list[list[Cell]] = []
    quickest = results.quickest(IN_PROCESS)
    if quickest is not None:
        stages = results.cell(quickest, 1).stages_ms
        rows += [[f"({IN_PROCESS}) {name}", None, None, ms, None, ms] for name, ms in stages.items()]
    for one in results.contenders:
        rows += _served_rows(results, one)
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


def _served_rows(results: Results, contender: Contender) -> list[list[Cell]]:
    """Return a row for each member that a contender made work; none for one that uses no server."""
    if contender.model is None:
        return []
    figures = results.cell(contender.key, 1)
    rows: list[list[Cell]] = []
    inside = 0.0
    for name, counters in sorted(figures.models.items(), key=lambda item: _order(item[0])):
        if name == contender.model:
            continue
        parts = [counters.mean_ms(part) for part in PARTS]
        inside += sum(parts)
        rows.append([f"({contender.letter}) {name.removeprefix(f'{contender.model}_')}", *parts, sum(parts)])
    others = contender.letter in (OTHER_CLIENT, OTHER_CLIENT_INT8)
    what = "the client's own work, transport" if others else "scheduling, transport, client"
    rest = figures.mean_ms - inside
    return [*rows, [f"({contender.letter}) mean less the above: {what}", None, None, None, None, rest]]


def _name(contender: Contender) -> str:
    return f"({contender.letter}) {contender.label}"


def _order(name: str) -> int:
    return next(
        (i for i, part in enumerate(("check", "preprocess", "network", "postprocess")) if name.endswith(part)), 9
    )
