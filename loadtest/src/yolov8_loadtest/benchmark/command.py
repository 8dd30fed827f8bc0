# SPDX-License-Identifier: Apache-2.0
"""The command ``benchmark``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from yolov8_contract.task import Task
from yolov8_loadtest.benchmark.contenders import (
    SUFFIXES,
    Setting,
    available_cores,
    contenders,
    export_for_other_clients,
    export_variants,
)
from yolov8_loadtest.benchmark.measurement import Plan, measure
from yolov8_loadtest.benchmark.results import Results, latency_table, stage_table, threshold_table, throughput_table
from yolov8_loadtest.command_line import ImageArguments, Numbers, numbers_option
from yolov8_loadtest.report.machine import machine
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.report.report import plain
from yolov8_loadtest.report.tables import plain_table
from yolov8_loadtest.scenario.scenario import Traffic
from yolov8_loadtest.servers import Endpoint, ServedRepository, ServerArguments, server_for, source_for, started
from yolov8_loadtest.workload.images import image_files, image_folder
from yolov8_loadtest.workload.requests import chosen_model, served_models
from yolov8_triton.low_level import Connection

IN_FLIGHT = Numbers((1, 2, 4, 8))
EXIT_MISSED = 1


@dataclass(frozen=True, kw_only=True)
class BenchmarkArguments(ImageArguments):
    """What is compared, and for how long."""

    baselines: Annotated[
        Path | None, typer.Option(metavar="PROGRAM", help="Program that runs Ultralytics' own ways of serving")
    ] = None
    skip_variants: Annotated[bool, typer.Option("--skip-variants", help="Leave other exports of the weights out")] = (
        False
    )
    in_flight: Annotated[Numbers, numbers_option("Requests in flight, one number after the other")] = IN_FLIGHT
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each contender")] = 4
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of a round")] = 2.5
    short: Annotated[bool, typer.Option("--short", help="Take 2 rounds of 1.5 s with 1 and 4 requests in flight")] = (
        False
    )
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a threshold is missed")] = False
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the tables")] = Path("build/benchmark")


def benchmark(server: ServerArguments, arguments: BenchmarkArguments) -> int:
    """Run the benchmark, print and write its tables; return the exit code.

    Raises:
        LoadTestError: It could not be run.
    """
    if arguments.short:
        arguments = replace(arguments, rounds=2, seconds=1.5, in_flight=Numbers((1, 4)))
    if server.url:
        with server_for(server, [Task.DETECT]) as endpoint:
            return _benchmark(endpoint, [], arguments)
    source = source_for(server, [Task.DETECT])
    left_out = _variants(source, arguments)
    with started(source, server.work) as endpoint:
        return _benchmark(endpoint, left_out, arguments)


def _variants(source: ServedRepository, arguments: BenchmarkArguments) -> list[str]:
    """Export the variants of the model beside it, unless the user named the repository."""
    if not source.weights:
        return []
    weights = source.weights[0]
    left_out = [] if arguments.baselines is None else export_for_other_clients(weights, source.repository)
    if arguments.skip_variants:
        return left_out
    calibration = image_folder(arguments.images or (str(source.images) if source.images else None))
    more = export_variants(weights, source.repository, calibration=calibration, cores=available_cores())
    return [*left_out, *more]


def _benchmark(endpoint: Endpoint, left_out: list[str], arguments: BenchmarkArguments) -> int:
    images = image_files(endpoint.image_folder(arguments.images), arguments.image_count)
    with Connection(endpoint.url) as connection:
        served = served_models(connection)
    plain_ones = {name: one for name, one in served.items() if not name.endswith(SUFFIXES)}
    model = chosen_model(Traffic(name="benchmark"), arguments.model, plain_ones)
    setting = Setting(
        url=endpoint.url,
        model=model,
        served=served,
        repository=endpoint.repository,
        baselines=arguments.baselines,
        weights=_checkpoint(endpoint.weights[0]) if endpoint.weights else None,
        cores=available_cores(),
    )
    plan = Plan(
        contenders=contenders(setting),
        in_flight=sorted({1, *arguments.in_flight}),  # latency is compared with one request in flight
        rounds=arguments.rounds,
        seconds=arguments.seconds,
    )
    say(f"{len(plan.contenders)} contenders, {len(images)} images, about {plan.duration_s / 60:.0f} minutes ...")
    results = Results(measure(plan, images, url=endpoint.url, server_pid=endpoint.pid, tell=say))
    return _report(results, plan, images, left_out, arguments)


def _report(
    results: Results, plan: Plan, images: list[Path], left_out: list[str], arguments: BenchmarkArguments
) -> int:
    thresholds = results.thresholds()
    here = machine()
    text = "\n\n".join(
        [
            f"{len(images)} images in turn, {plan.rounds} interleaved rounds of {plan.seconds:g} s at each number in "
            f"flight; {here['processor']}, {here['cores']} cores.",
            throughput_table(results),
            latency_table(results),
            threshold_table(thresholds),
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
        "thresholds": [
            {"what": one.what, "measured": one.measured, "limit": one.limit, "passed": one.passed} for one in thresholds
        ],
        "cells": results.to_json(),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "benchmark.md").write_text(text + "\n", encoding="utf-8")
    (arguments.output / "benchmark.json").write_text(json.dumps(plain(document), indent=1) + "\n", encoding="utf-8")
    say(f"written: {arguments.output / 'benchmark.md'} and .json")
    return EXIT_MISSED if arguments.strict and not all(one.passed for one in thresholds) else 0


def _checkpoint(name: str) -> Path | None:
    """Return the file of a ``.pt`` checkpoint, looked up as export does; None where it does not exist."""
    folder = os.environ.get("YOLOV8_WEIGHTS_DIR")
    places = [Path(name), *([Path(folder) / name] if folder else [])]
    return next((path for path in places if path.suffix == ".pt" and path.is_file()), None)
