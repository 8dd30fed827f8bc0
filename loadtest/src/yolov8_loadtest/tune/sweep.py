# SPDX-License-Identifier: Apache-2.0
"""Export, serve and measure each setting, several times over."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolov8_loadtest.benchmark.contenders import OVER_GRPC
from yolov8_loadtest.benchmark.measurement import Cell, Contender, Plan, cell, measure
from yolov8_loadtest.monitor.processes import server_usage
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.servers import export, local_server
from yolov8_loadtest.tune.settings import Outcome, Setting, median
from yolov8_loadtest.workload.requests import served_models
from yolov8_triton.low_level import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The weights, images and rounds of a sweep.

    Attributes:
        weights: A file, or one of Ultralytics' names.
        export_options: Further options of the export, the same for all settings.
        images: Images that are sent in turn.
        in_flight: Numbers of requests in flight, measured one after the other.
        rounds: How often each setting is served and measured.
        seconds: Length of a measurement.
        work: A folder for the repositories.
    """

    weights: str
    export_options: Sequence[str]
    images: Sequence[Path]
    in_flight: Sequence[int]
    rounds: int
    seconds: float
    work: Path


def sweep(plan: Sweep, settings: Sequence[Setting]) -> dict[Setting, Outcome]:
    """Measure all settings.

    Raises:
        PreparationError: The weights can't be exported, or the server doesn't start.
        ContenderError: A request failed.
    """
    repositories = {setting: _exported(plan, setting, number) for number, setting in enumerate(settings)}
    rounds: dict[Setting, list[tuple[dict[int, Cell], float]]] = {setting: [] for setting in settings}
    for number in range(plan.rounds):
        # The order alternates, so that a machine that slows down does not always hit the same settings.
        for setting in settings if number % 2 == 0 else reversed(settings):
            rounds[setting].append(_measured(plan, repositories[setting]))
        say(f"round {number + 1} of {plan.rounds} done")
    return {setting: _outcome(plan, found) for setting, found in rounds.items()}


def _exported(plan: Sweep, setting: Setting, number: int) -> Path:
    repository = plan.work / f"repository-{number}"
    say(f"exporting with {' '.join(setting.flags())} ...")
    export(plan.weights, repository, (*setting.flags(), *plan.export_options))
    return repository


def _measured(plan: Sweep, repository: Path) -> tuple[dict[int, Cell], float]:
    """Return the summary for each number of requests in flight, and the server's memory in MB."""
    with local_server(repository, plan.work / "tritonserver.log") as endpoint:
        with Connection(endpoint.url) as connection:
            (model,) = served_models(connection)
        served = (sys.executable, "-m", "yolov8_loadtest.benchmark.served", endpoint.url, model, "grpc")
        once = Plan(
            contenders=[Contender(key=OVER_GRPC, label="our ensemble", model=model, command=served)],
            in_flight=plan.in_flight,
            rounds=1,
            seconds=plan.seconds,
        )
        samples = measure(once, plan.images, url=endpoint.url, server_pid=endpoint.pid, tell=lambda _: None)
        assert endpoint.pid is not None
        memory_mb = sum(usage.memory_mb for usage in server_usage(endpoint.pid).values())
    return {sample.in_flight: cell([sample]) for sample in samples}, memory_mb


def _outcome(plan: Sweep, rounds: Sequence[tuple[Mapping[int, Cell], float]]) -> Outcome:
    cells = [found for found, _ in rounds]
    return Outcome(
        throughput=median([{n: one.throughput for n, one in found.items()} for found in cells]),
        p50_ms=median([{n: one.p50_ms for n, one in found.items()} for found in cells]),
        p99_ms=median([{n: one.p99_ms for n, one in found.items()} for found in cells]),
        cpu_s=median([{n: one.cpu_s for n, one in found.items()} for found in cells])[max(plan.in_flight)],
        memory_mb=max(memory for _, memory in rounds),
    )
