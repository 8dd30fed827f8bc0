# SPDX-License-Identifier: Apache-2.0
"""The command ``compare``, and its tables in Markdown and JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from yolov8_contract.task import Task
from yolov8_loadtest.command_line import ModelToAsk, Numbers, numbers_option
from yolov8_loadtest.compare.measurement import NAME, Plan, measure, write_tiny_model
from yolov8_loadtest.compare.perf_analyzer import Row, find_perf_analyzer, middle
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import plain
from yolov8_loadtest.report.tables import Cell, markdown_table
from yolov8_loadtest.scenario.scenario import Traffic
from yolov8_loadtest.servers import ServerArguments, local_server, server_for
from yolov8_loadtest.workload.images import image_files
from yolov8_loadtest.workload.requests import chosen_model, served_models
from yolov8_triton.low_level import Connection

_HEADER = (
    "model", "processes", "in flight", "Locust per s", "perf_analyzer per s", "ratio",
    "Locust p50 ms", "perf_analyzer p50 ms", "ratio", "Locust p99 ms", "perf_analyzer p99 ms",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return a table with medians over the rounds; ratios are medians of the rounds' ratios."""
    return markdown_table(_HEADER, [_cells(row) for row in rows])


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return all rounds as plain values."""
    return [asdict(row) | {"throughput_ratio": row.throughput_ratio, "p50_ratio": row.p50_ratio} for row in rows]


def capacity(rows: Sequence[Row]) -> str:
    """Describe the highest rate of one generator process, and the latency that it adds, from the tiny model's rows."""
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


IN_FLIGHT = Numbers((1, 4, 8))
PROCESSES = Numbers((1, 2))
LIMIT = 0.10
LEAST_MS = 20.0
"""The threshold is checked where an answer takes at least this long; for faster models the table only informs."""
EXIT_MISSED = 1


@dataclass(frozen=True, kw_only=True)
class CompareArguments:
    """The options of ``compare``."""

    perf_analyzer: Annotated[
        str | None, typer.Option(metavar="PROGRAM", help="perf_analyzer; by default $PERF_ANALYZER, or what is on PATH")
    ] = None
    model: ModelToAsk = None
    images: Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder with images; the first one is sent")] = (
        None
    )
    in_flight: Annotated[Numbers, numbers_option("Requests in flight, one number after the other")] = IN_FLIGHT
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each tool, in turn")] = 3
    seconds: Annotated[int, typer.Option(min=1, help="Seconds of a round")] = 10
    processes: Annotated[Numbers, numbers_option("Locust processes that ask the tiny model")] = PROCESSES
    skip_tiny: Annotated[bool, typer.Option("--skip-tiny", help="Leave the model out that does next to nothing")] = (
        False
    )
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if the tools differ by more than 10 %")] = False
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the tables")] = Path("build/compare")


def compare(server: ServerArguments, arguments: CompareArguments) -> int:
    """Compare the load generator with perf_analyzer, print and write the table; return the exit code.

    Raises:
        LoadTestError: It could not be run.
    """
    program = find_perf_analyzer(arguments.perf_analyzer)
    with TemporaryDirectory() as folder:
        plan = Plan(
            program=program,
            images=Path(folder) / "images",
            in_flight=arguments.in_flight,
            processes=[1],
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            work=Path(folder),
        )
        plan.images.mkdir()
        with server_for(server, [Task.DETECT]) as endpoint:
            shutil.copy(image_files(endpoint.image_folder(arguments.images), 1)[0], plan.images)
            with Connection(endpoint.url) as connection:
                model = chosen_model(Traffic(name="compare"), arguments.model, served_models(connection))
            rows = measure(plan, endpoint.url, model)
        tiny = [] if arguments.skip_tiny else _measure_tiny(replace(plan, processes=arguments.processes))
    return _report(rows, tiny, arguments)


def _measure_tiny(plan: Plan) -> list[Row]:
    write_tiny_model(plan.work / "repository")
    with local_server(plan.work / "repository", plan.work / "tritonserver.log") as endpoint:
        return measure(plan, endpoint.url, NAME)


def _report(rows: Sequence[Row], tiny: Sequence[Row], arguments: CompareArguments) -> int:
    judged = [row for row in rows if middle(row.theirs).p50_ms >= LEAST_MS]
    misses = [miss for row in judged for miss in row.misses(LIMIT)]
    here = machine()
    how = f"{arguments.rounds} interleaved rounds of {arguments.seconds} s; {here['processor']}, {here['cores']} cores."
    text = "\n\n".join([how, table([*rows, *tiny]), *([capacity(tiny)] if tiny else [])])
    document = {
        "machine": here,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "rows": to_json([*rows, *tiny]),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "compare.md").write_text(text + "\n", encoding="utf-8")
    (arguments.output / "compare.json").write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    say(f"\n{text}\n\nwritten: {arguments.output / 'compare.md'} and .json")
    say("\n".join(misses) or f"{len(judged)} rows of at least {LEAST_MS:g} ms are within {LIMIT:.0%}")
    return EXIT_MISSED if arguments.strict and misses else 0
