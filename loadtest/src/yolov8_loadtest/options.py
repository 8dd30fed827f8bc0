# SPDX-License-Identifier: Apache-2.0
"""The arguments of a run, on our command line and on Locust's, and the options that they make."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from yolov8_loadtest.command_line import ImageFolder
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.messages import scenario_to_wire
from yolov8_loadtest.scenario import file
from yolov8_loadtest.scenario.scenario import Scenario, scaled, with_limits
from yolov8_loadtest.workload.images import image_folder

DEFAULT_SCENARIO = "smoke"
DEFAULT_REPORT = "build/loadtest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is told.

    Attributes:
        scenario: Scaled, and with the limits given.
        url: Address of the server's gRPC port.
        model: The model to ask where the scenario names none.
        images: A folder with images.
        report: The folder for what the run shows.
        metrics_url: Where Prometheus would ask the server.
        server_pid: The server's process, if it is on this machine, to watch its memory.
        load_factor: What the scenario's load was multiplied by.
        time_factor: What its times were multiplied by.
    """

    scenario: Scenario
    url: str
    model: str | None
    images: Path
    report: Path
    metrics_url: str | None
    server_pid: int | None
    load_factor: float
    time_factor: float

    def scenario_on_wire(self) -> dict[str, Any]:
        """Return the scenario as generators are told it."""
        return scenario_to_wire(self.scenario, self.load_factor, self.time_factor)


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """What a run is told beside its scenario and its server, as it is typed."""

    model: Annotated[str | None, typer.Option(help="Model to ask where the scenario names none")] = None
    images: ImageFolder = None
    report: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for the report")] = DEFAULT_REPORT
    limit: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="SLO limit, such as p95_ms=200")] = field(
        default_factory=list
    )
    load_factor: Annotated[float, typer.Option(help="Factor for the scenario's users, rate or cameras")] = 1.0
    time_factor: Annotated[float, typer.Option(help="Factor for the length of the scenario's stages")] = 1.0
    metrics_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Triton's metrics, such as http://localhost:8002/metrics")
    ] = None
    server_pid: Annotated[
        int | None, typer.Option(metavar="PID", help="Process of a server on this machine whose memory is watched")
    ] = None


def add_locust_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a run to Locust's own parser, from the fields of `RunArguments`."""
    parser.add_argument(
        "--scenario", type=_checked(file.load), default=DEFAULT_SCENARIO, help="Scenario file, or name of a shipped one"
    )
    group = parser.add_argument_group("YOLOv8 load test")
    hints = get_type_hints(RunArguments, include_extras=True)
    for one in fields(RunArguments):
        kind, option = get_args(hints[one.name])
        name = f"--{one.name.replace('_', '-')}"
        if one.default is MISSING:
            group.add_argument(name, action="append", default=[], help=option.help)
        else:
            plain = next((inner for inner in get_args(kind) if inner is not type(None)), kind)
            group.add_argument(name, type=plain, default=one.default, help=option.help)


def run_arguments(parsed: Any) -> RunArguments:
    """Return the arguments of a run from what Locust's parser returned."""
    return RunArguments(**{one.name: getattr(parsed, one.name) for one in fields(RunArguments)})


def options_of(scenario_name: str, given: RunArguments, host: str | None) -> Options:
    """Return the options of a run.

    Raises:
        LoadTestError: One of them is wrong.
    """
    for name, factor in (("--load-factor", given.load_factor), ("--time-factor", given.time_factor)):
        if not 0 < factor < math.inf:
            raise LoadTestError(f"{name}: expected a factor above 0, got {factor:g}")
    scenario = scaled(file.load(scenario_name), load_factor=given.load_factor, time_factor=given.time_factor)
    if not host:
        raise LoadTestError("which server? Name its gRPC port: --host localhost:8001")
    return Options(
        scenario=with_limits(scenario, given.limit),
        url=host,
        model=given.model or None,
        images=image_folder(given.images),
        report=Path(given.report),
        metrics_url=given.metrics_url or None,
        server_pid=given.server_pid,
        load_factor=given.load_factor,
        time_factor=given.time_factor,
    )


def _checked(read: Callable[[str], object]) -> Callable[[str], str]:
    """Return a type for argparse that keeps the text if it can be read: Locust sends options between processes."""

    def check(text: str) -> str:
        try:
            read(text)
        except LoadTestError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return text

    return check
