# SPDX-License-Identifier: Apache-2.0
"""The command ``tune``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from yolov8_contract.task import Task
from yolov8_loadtest.benchmark.contenders import available_cores
from yolov8_loadtest.command_line import Numbers, numbers_option
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import plain
from yolov8_loadtest.report.tables import Cell, markdown_table
from yolov8_loadtest.servers import WeightsArguments, source_for
from yolov8_loadtest.tune.settings import Outcome, Setting, best, settings, soonest
from yolov8_loadtest.tune.sweep import Sweep, sweep
from yolov8_loadtest.workload.images import image_files, image_folder

DELAYS_US = Numbers((0, 2000))
BATCHES = Numbers((1, 8))
IN_FLIGHT = Numbers((1, 4, 8))
SETUP_S = 8.0
"""Rough time of an export, or of a server's start and stop."""


@dataclass(frozen=True, kw_only=True)
class TuneArguments:
    """The settings to try, and how each is measured."""

    images: Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder with images to send")] = None
    image_count: Annotated[int, typer.Option(min=1, help="Images to send in turn")] = 8
    instances: Annotated[
        Numbers | None,
        numbers_option("Numbers of model instances to try", show_default="1 to all cores, and one more"),
    ] = None
    threads: Annotated[
        Numbers | None, numbers_option("Threads of each instance to try", show_default="1 to all cores")
    ] = None
    queue_delay_us: Annotated[Numbers, numbers_option("Queue delays to try, in microseconds")] = DELAYS_US
    max_batch_size: Annotated[Numbers, numbers_option("Batch sizes to try")] = BATCHES
    in_flight: Annotated[Numbers, numbers_option("Requests in flight, one number after the other")] = IN_FLIGHT
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each setting")] = 2
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of a round")] = 3.0
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the tables")] = Path("build/tune")


def tune(weights: WeightsArguments, arguments: TuneArguments, passed_on: Sequence[str] = ()) -> int:
    """Try settings, print and write the table; return the exit code.

    Raises:
        LoadTestError: It could not be run.
    """
    cores = available_cores()
    powers = [1 << exponent for exponent in range(cores.bit_length())]
    tried = settings(
        cores=cores,
        instances=arguments.instances or sorted({*powers, cores + 1}),
        threads=arguments.threads or powers,
        queue_delay_us=arguments.queue_delay_us,
        max_batch_size=arguments.max_batch_size,
    )
    if not tried:
        raise LoadTestError(f"nothing to try: all settings need more than {cores + 1} threads, on {cores} cores")
    source = source_for(weights, [Task.DETECT])
    folder = image_folder(arguments.images or (str(source.images) if source.images else None))
    with TemporaryDirectory() as work:
        plan = Sweep(
            weights=source.weights[0],
            export_options=passed_on,
            images=image_files(folder, arguments.image_count),
            in_flight=arguments.in_flight,
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            work=Path(work),
        )
        each_s = SETUP_S + plan.rounds * (SETUP_S + len(plan.in_flight) * (plan.seconds + 1))
        say(f"{len(tried)} settings, about {len(tried) * each_s / 60:.0f} minutes ...")
        outcomes = sweep(plan, tried)
    return _report(outcomes, arguments)


def _report(outcomes: Mapping[Setting, Outcome], arguments: TuneArguments) -> int:
    here = machine()
    chosen, quickest = best(outcomes), soonest(outcomes)
    text = "\n\n".join(
        [
            f"{arguments.rounds} rounds of {arguments.seconds:g} s each; {here['processor']}, {here['cores']} cores.",
            _table(outcomes, sorted(arguments.in_flight)),
            f"Most images a second, and of those that reach 97 % of it the quickest:\n\n    {' '.join(chosen.flags())}",
            f"A single request is answered soonest with:\n\n    {' '.join(quickest.flags())}",
        ]
    )
    say(f"\n{text}\n")
    document = {
        "machine": here,
        "best": chosen.flags(),
        "soonest": quickest.flags(),
        "settings": [asdict(setting) | asdict(outcome) for setting, outcome in outcomes.items()],
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "tune.md").write_text(text + "\n", encoding="utf-8")
    (arguments.output / "tune.json").write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    say(f"written: {arguments.output / 'tune.md'} and .json")
    return 0


def _table(outcomes: Mapping[Setting, Outcome], in_flight: Sequence[int]) -> str:
    header = [
        "instances", "threads", "delay us", "batch", *(f"img/s, {n} in flight" for n in in_flight),
        f"p50 ms, {in_flight[0]}", f"p99 ms, {in_flight[-1]}", "CPU s / image", "MB",
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            *(setting.instances, setting.threads, setting.queue_delay_us, setting.max_batch_size),
            *(outcome.throughput[n] for n in in_flight),
            outcome.p50_ms[in_flight[0]],
            outcome.p99_ms[in_flight[-1]],
            f"{outcome.cpu_s:.3f}",
            round(outcome.memory_mb),
        ]
        for setting, outcome in sorted(outcomes.items(), key=lambda item: -item[1].highest)
    ]
    return markdown_table(header, rows)
