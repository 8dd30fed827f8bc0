# SPDX-License-Identifier: Apache-2.0
"""The command ``benchmark``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from yolov8_contract.task import Task
from yolov8_loadtest.benchmark.contenders import available_cores, contenders
from yolov8_loadtest.benchmark.measurement import Plan, measure
from yolov8_loadtest.benchmark.results import Results
from yolov8_loadtest.benchmark.tables import main_table, promise_table, stage_table
from yolov8_loadtest.connection import Connection
from yolov8_loadtest.document import plain
from yolov8_loadtest.images import image_files, image_folder
from yolov8_loadtest.local_server import default_weights
from yolov8_loadtest.machine import machine
from yolov8_loadtest.payloads import chosen_model, served_models
from yolov8_loadtest.progress import say
from yolov8_loadtest.server_choice import add_server_arguments, server_for
from yolov8_loadtest.table import plain_table
from yolov8_loadtest.traffic import Traffic

IN_FLIGHT = (1, 2, 4, 8)
EXIT_MISSED = 1


def add_benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_server_arguments(parser)
    parser.add_argument("--model", default=None, help="the model to ask, if the server has several")
    parser.add_argument("--images", default=None, help="folder with images to send")
    parser.add_argument("--image-count", type=int, default=8, help="how many of them (%(default)s)")
    parser.add_argument("--rivals", type=Path, default=None, help="program with Ultralytics' ways")
    parser.add_argument("--in-flight", type=int, nargs="+", default=list(IN_FLIGHT), help="requests at once")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round (%(default)g)")
    parser.add_argument("--over-other", type=float, default=1.15, help="promised ratio to Ultralytics' client")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a promise is missed")
    parser.add_argument("--output", type=Path, default=Path("build/benchmark"), help="folder for the tables")


def benchmark(parsed: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    images = image_files(image_folder(parsed.images), parsed.image_count)
    parsed.weights = parsed.weights or default_weights([Task.DETECT])
    with server_for(parsed, [Task.DETECT]) as endpoint:
        with Connection(endpoint.url) as connection:
            model = chosen_model(Traffic(name="benchmark"), parsed.model, served_models(connection))
        plan = Plan(
            contenders=contenders(
                url=endpoint.url,
                model=model,
                repository=None
                if parsed.url and not parsed.repository
                else parsed.repository or parsed.work / "repository",
                rivals=parsed.rivals,
                weights=_checkpoint(parsed.weights[0]),
                cores=available_cores(),
            ),
            in_flight=sorted({1, *parsed.in_flight}),  # one at a time is what latency is compared at
            rounds=parsed.rounds,
            seconds=parsed.seconds,
        )
        say(f"{len(plan.contenders)} contenders, {len(images)} images, about {plan.duration_s / 60:.0f} minutes ...")
        results = Results(measure(plan, images, url=endpoint.url, server_pid=endpoint.pid, tell=say), model=model)
    return _report(results, plan, images, parsed)


def _report(results: Results, plan: Plan, images: list[Path], parsed: argparse.Namespace) -> int:
    promises = results.promises(over_other=parsed.over_other)
    here = machine()
    text = "\n\n".join(
        [
            f"{results.model}, {len(images)} images in turn, {plan.rounds} interleaved rounds of {plan.seconds:g} s "
            f"at each number in flight; {here['processor']}, {here['cores']} cores.",
            main_table(results),
            promise_table(promises),
            stage_table(results),
            *(f"Not the same work: {one}." for one in results.disagreements()),
        ]
    )
    say(f"\n{text}\n")
    say(plain_table(("", ""), list(here.items())))
    parsed.output.mkdir(parents=True, exist_ok=True)
    document = {
        "model": results.model,
        "machine": here,
        "images": [path.name for path in images],
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "contenders": {one.key: one.label for one in plan.contenders},
        "promises": [
            {"what": one.what, "measured": one.measured, "limit": one.limit, "kept": one.kept} for one in promises
        ],
        "cells": results.to_json(),
    }
    for name, content in (
        ("benchmark.md", text + "\n"),
        ("benchmark.json", json.dumps(plain(document), indent=1) + "\n"),
    ):
        (parsed.output / name).write_text(content, encoding="utf-8")
        say(f"written: {parsed.output / name}")
    return EXIT_MISSED if parsed.strict and not all(promise.kept for promise in promises) else 0


def _checkpoint(name: str) -> Path | None:
    """Return the file of a checkpoint, as export looks for it; None where there is none, or it is of another kind."""
    folder = os.environ.get("YOLOV8_WEIGHTS_DIR")
    places = [Path(name), *([Path(folder) / name] if folder else [])]
    return next((path for path in places if path.suffix == ".pt" and path.is_file()), None)
