# SPDX-License-Identifier: Apache-2.0
"""The command ``benchmark``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from yolov8_contract.task import Task
from yolov8_loadtest.benchmark.contenders import SUFFIXES, Setting, available_cores, contenders, export_variants
from yolov8_loadtest.benchmark.measurement import Plan, measure
from yolov8_loadtest.benchmark.results import Results, latency_table, promise_table, stage_table, throughput_table
from yolov8_loadtest.connection import Connection
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import plain
from yolov8_loadtest.report.tables import plain_table
from yolov8_loadtest.scenario.scenario import Traffic
from yolov8_loadtest.servers import Endpoint, Source, add_server_arguments, server_for, source_for, started
from yolov8_loadtest.workload.images import image_files, image_folder
from yolov8_loadtest.workload.requests import chosen_model, served_models

IN_FLIGHT = (1, 2, 4, 8)
EXIT_MISSED = 1
SHORT = {"rounds": 2, "seconds": 1.5, "in_flight": [1, 4]}


def add_benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_server_arguments(parser)
    parser.add_argument("--model", default=None, help="the model to ask, if the server has several")
    parser.add_argument("--images", default=None, help="folder with images to send")
    parser.add_argument("--image-count", type=int, default=8, help="how many of them (%(default)s)")
    parser.add_argument("--rivals", type=Path, default=None, help="program with Ultralytics' ways")
    parser.add_argument("--skip-variants", action="store_true", help="leave other exports of the weights out")
    parser.add_argument("--in-flight", type=int, nargs="+", default=list(IN_FLIGHT), help="requests at once")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.5, help="length of a round (%(default)g)")
    parser.add_argument("--short", action="store_true", help="2 rounds of 1.5 s at 1 and 4 in flight")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a promise is missed")
    parser.add_argument("--output", type=Path, default=Path("build/benchmark"), help="folder for the tables")


def benchmark(parsed: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    if parsed.short:
        vars(parsed).update(SHORT)
    if parsed.url:
        with server_for(parsed, [Task.DETECT]) as endpoint:
            return _benchmark(endpoint, [], parsed)
    source = source_for(parsed, [Task.DETECT])
    left_out = _variants(source, parsed)
    with started(source, parsed.work) as endpoint:
        return _benchmark(endpoint, left_out, parsed)


def _variants(source: Source, parsed: argparse.Namespace) -> list[str]:
    """Export what the repository was not named for: one that is there is served as it is."""
    if parsed.skip_variants or not source.weights:
        return []
    calibration = image_folder(parsed.images or (str(source.images) if source.images else None))
    return export_variants(source.weights[0], source.repository, calibration=calibration, cores=available_cores())


def _benchmark(endpoint: Endpoint, left_out: list[str], parsed: argparse.Namespace) -> int:
    images = image_files(endpoint.image_folder(parsed.images), parsed.image_count)
    with Connection(endpoint.url) as connection:
        served = served_models(connection)
    plain_ones = {name: one for name, one in served.items() if not name.endswith(SUFFIXES)}
    model = chosen_model(Traffic(name="benchmark"), parsed.model, plain_ones)
    setting = Setting(
        url=endpoint.url,
        model=model,
        served=served,
        repository=endpoint.repository,
        rivals=parsed.rivals,
        weights=_checkpoint(endpoint.weights[0]) if endpoint.weights else None,
        cores=available_cores(),
    )
    plan = Plan(
        contenders=contenders(setting),
        in_flight=sorted({1, *parsed.in_flight}),  # one at a time is what latency is compared at
        rounds=parsed.rounds,
        seconds=parsed.seconds,
    )
    say(f"{len(plan.contenders)} contenders, {len(images)} images, about {plan.duration_s / 60:.0f} minutes ...")
    results = Results(measure(plan, images, url=endpoint.url, server_pid=endpoint.pid, tell=say))
    return _report(results, plan, images, left_out, parsed)


def _report(results: Results, plan: Plan, images: list[Path], left_out: list[str], parsed: argparse.Namespace) -> int:
    promises = results.promises()
    here = machine()
    text = "\n\n".join(
        [
            f"{len(images)} images in turn, {plan.rounds} interleaved rounds of {plan.seconds:g} s at each number in "
            f"flight; {here['processor']}, {here['cores']} cores.",
            throughput_table(results),
            latency_table(results),
            promise_table(promises),
            stage_table(results),
            *(f"Not the same work: {one}." for one in results.disagreements()),
            *left_out,
        ]
    )
    say(f"\n{text}\n")
    say(plain_table(("", ""), list(here.items())))
    document = {
        "machine": here,
        "images": [path.name for path in images],
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "contenders": {one.key: one.label for one in plan.contenders},
        "left_out": left_out,
        "promises": [
            {"what": one.what, "measured": one.measured, "limit": one.limit, "kept": one.kept} for one in promises
        ],
        "cells": results.to_json(),
    }
    parsed.output.mkdir(parents=True, exist_ok=True)
    (parsed.output / "benchmark.md").write_text(text + "\n", encoding="utf-8")
    (parsed.output / "benchmark.json").write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    say(f"written: {parsed.output / 'benchmark.md'} and .json")
    return EXIT_MISSED if parsed.strict and not all(promise.kept for promise in promises) else 0


def _checkpoint(name: str) -> Path | None:
    """Return the file of a checkpoint, as export looks for it; None where there is none, or it is of another kind."""
    folder = os.environ.get("YOLOV8_WEIGHTS_DIR")
    places = [Path(name), *([Path(folder) / name] if folder else [])]
    return next((path for path in places if path.suffix == ".pt" and path.is_file()), None)
