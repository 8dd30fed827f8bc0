# SPDX-License-Identifier: Apache-2.0
"""The command ``tune``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from yolov8_contract.task import Task
from yolov8_loadtest.benchmark.contenders import available_cores
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import plain
from yolov8_loadtest.report.tables import Cell, markdown_table
from yolov8_loadtest.servers import add_weights_arguments, source_for
from yolov8_loadtest.tune.settings import Outcome, Setting, best, settings, soonest
from yolov8_loadtest.tune.sweep import Sweep, sweep
from yolov8_loadtest.workload.images import image_files, image_folder

DELAYS_US = (0, 2000)
BATCHES = (1, 8)
IN_FLIGHT = (1, 4, 8)
SETUP_S = 8.0
"""What an export takes, or a server to start and stop; about."""


def add_tune_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_weights_arguments(parser)
    parser.add_argument("--images", default=None, help="folder with images to send")
    parser.add_argument("--image-count", type=int, default=8, help="how many of them (%(default)s)")
    parser.add_argument(
        "--instances", type=int, nargs="+", default=None, help="copies to try (1 to all cores, and one more)"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=None, help="threads of each (1 to all cores)")
    parser.add_argument("--queue-delay-us", type=int, nargs="+", default=list(DELAYS_US), help="delays to try")
    parser.add_argument("--max-batch-size", type=int, nargs="+", default=list(BATCHES), help="batches to try")
    parser.add_argument("--in-flight", type=int, nargs="+", default=list(IN_FLIGHT), help="requests at once")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round (%(default)g)")
    parser.add_argument("--output", type=Path, default=Path("build/tune"), help="folder for the tables")


def tune(parsed: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    cores = available_cores()
    powers = [1 << exponent for exponent in range(cores.bit_length())]
    tried = settings(
        cores=cores,
        instances=parsed.instances or sorted({*powers, cores + 1}),
        threads=parsed.threads or powers,
        queue_delay_us=parsed.queue_delay_us,
        max_batch_size=parsed.max_batch_size,
    )
    if not tried:
        raise LoadTestError(f"nothing to try: all settings need more than {cores + 1} threads, on {cores} cores")
    source = source_for(parsed, [Task.DETECT])
    folder = image_folder(parsed.images or (str(source.images) if source.images else None))
    with TemporaryDirectory() as work:
        plan = Sweep(
            weights=source.weights[0],
            export_options=parsed.passed_on,
            images=image_files(folder, parsed.image_count),
            in_flight=parsed.in_flight,
            rounds=parsed.rounds,
            seconds=parsed.seconds,
            work=Path(work),
        )
        each_s = SETUP_S + plan.rounds * (SETUP_S + len(plan.in_flight) * (plan.seconds + 1))
        say(f"{len(tried)} settings, about {len(tried) * each_s / 60:.0f} minutes ...")
        outcomes = sweep(plan, tried)
    return _report(outcomes, parsed)


def _report(outcomes: Mapping[Setting, Outcome], parsed: argparse.Namespace) -> int:
    here = machine()
    chosen, quickest = best(outcomes), soonest(outcomes)
    text = "\n\n".join(
        [
            f"{parsed.rounds} rounds of {parsed.seconds:g} s of each; {here['processor']}, {here['cores']} cores.",
            _table(outcomes, sorted(parsed.in_flight)),
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
    parsed.output.mkdir(parents=True, exist_ok=True)
    (parsed.output / "tune.md").write_text(text + "\n", encoding="utf-8")
    (parsed.output / "tune.json").write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    say(f"written: {parsed.output / 'tune.md'} and .json")
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
