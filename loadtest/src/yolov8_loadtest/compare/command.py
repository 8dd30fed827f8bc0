# SPDX-License-Identifier: Apache-2.0
"""The comparison as tables in Markdown and as JSON.

The command ``compare``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from yolov8_contract.task import Task
from yolov8_loadtest.compare.measurement import NAME, Plan, measure, write_tiny_model
from yolov8_loadtest.compare.perf_analyzer import Row, find_perf_analyzer, middle
from yolov8_loadtest.connection import Connection
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import plain
from yolov8_loadtest.report.tables import Cell, markdown_table
from yolov8_loadtest.scenario.scenario import Traffic
from yolov8_loadtest.servers import add_server_arguments, local_server, server_for
from yolov8_loadtest.workload.images import image_files
from yolov8_loadtest.workload.requests import chosen_model, served_models

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


IN_FLIGHT = (1, 4, 8)
LIMIT = 0.10
LEAST_MS = 20.0
"""Where an answer takes less, the table says what the generator adds, and nothing is promised."""
EXIT_MISSED = 1


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_server_arguments(parser)
    parser.add_argument("--perf-analyzer", default=None, help="the program ($PERF_ANALYZER, or what is on PATH)")
    parser.add_argument("--model", default=None, help="the model to ask, if the server has several")
    parser.add_argument("--images", default=None, help="folder with images; the first one is sent")
    parser.add_argument("--in-flight", type=int, nargs="+", default=list(IN_FLIGHT), help="requests at once")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each tool, in turn (%(default)s)")
    parser.add_argument("--seconds", type=int, default=10, help="length of a round (%(default)s)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="of Locust, with the tiny model")
    parser.add_argument("--skip-tiny", action="store_true", help="leave the model that does next to nothing out")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if the tools differ by more than 10 %%")
    parser.add_argument("--output", type=Path, default=Path("build/compare"), help="folder for the tables")


def compare(parsed: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    program = find_perf_analyzer(parsed.perf_analyzer)
    with TemporaryDirectory() as folder:
        plan = Plan(
            program=program,
            images=Path(folder) / "images",
            in_flight=parsed.in_flight,
            processes=[1],
            rounds=parsed.rounds,
            seconds=parsed.seconds,
            work=Path(folder),
        )
        plan.images.mkdir()
        with server_for(parsed, [Task.DETECT]) as endpoint:
            shutil.copy(image_files(endpoint.image_folder(parsed.images), 1)[0], plan.images)
            with Connection(endpoint.url) as connection:
                model = chosen_model(Traffic(name="compare"), parsed.model, served_models(connection))
            rows = measure(plan, endpoint.url, model)
        tiny = [] if parsed.skip_tiny else _measure_tiny(replace(plan, processes=parsed.processes))
    return _report(rows, tiny, parsed)


def _measure_tiny(plan: Plan) -> list[Row]:
    write_tiny_model(plan.work / "repository")
    with local_server(plan.work / "repository", plan.work / "tritonserver.log") as endpoint:
        return measure(plan, endpoint.url, NAME)


def _report(rows: Sequence[Row], tiny: Sequence[Row], parsed: argparse.Namespace) -> int:
    judged = [row for row in rows if middle(row.theirs).p50_ms >= LEAST_MS]
    misses = [miss for row in judged for miss in row.misses(LIMIT)]
    here = machine()
    how = f"{parsed.rounds} interleaved rounds of {parsed.seconds} s; {here['processor']}, {here['cores']} cores."
    text = "\n\n".join([how, table([*rows, *tiny]), *([capacity(tiny)] if tiny else [])])
    document = {"machine": here, "rounds": parsed.rounds, "seconds": parsed.seconds, "rows": to_json([*rows, *tiny])}
    parsed.output.mkdir(parents=True, exist_ok=True)
    (parsed.output / "compare.md").write_text(text + "\n", encoding="utf-8")
    (parsed.output / "compare.json").write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    say(f"\n{text}\n\nwritten: {parsed.output / 'compare.md'} and .json")
    say("\n".join(misses) or f"{len(judged)} rows of at least {LEAST_MS:g} ms are within {LIMIT:.0%}")
    return EXIT_MISSED if parsed.strict and misses else 0
