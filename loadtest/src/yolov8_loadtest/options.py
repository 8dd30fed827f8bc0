# SPDX-License-Identifier: Apache-2.0
"""What a run is told on Locust's command line or in the environment."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.messages import scenario_to_wire
from yolov8_loadtest.scenario import file
from yolov8_loadtest.scenario.scenario import Scenario, scaled, with_limits
from yolov8_loadtest.workload.images import image_folder

DEFAULT_SCENARIO = "smoke"
DEFAULT_REPORT = Path("build/loadtest")


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


def add_scenario_argument(parser: argparse.ArgumentParser) -> None:
    """Say how a scenario is named."""
    parser.add_argument(
        "--scenario", type=_checked(file.load), default=DEFAULT_SCENARIO, help="file, or name of a shipped one"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what else a run takes."""
    group = parser.add_argument_group("YOLOv8 load test")
    group.add_argument("--model", default=None, help="model to ask where the scenario names none")
    group.add_argument("--images", default=None, help="folder with images to send")
    group.add_argument("--report", type=str, default=str(DEFAULT_REPORT), help="folder for the report")
    group.add_argument("--limit", action="append", default=[], help="limit of the SLO set anew, such as p95_ms=200")
    group.add_argument("--load-factor", type=_factor, default=1.0, help="so many times the users, rate or cameras")
    group.add_argument("--time-factor", type=_factor, default=1.0, help="stages so many times as long")
    group.add_argument("--metrics-url", default=None, help="Triton's metrics, http://HOST:8002/metrics")
    group.add_argument("--server-pid", type=int, default=None, help="the server's process, to watch its memory")


def options_of(parsed: Any, host: str | None) -> Options:
    """Return the options of a run.

    Raises:
        LoadTestError: One of them is wrong.
    """
    scenario = scaled(file.load(parsed.scenario), load_factor=parsed.load_factor, time_factor=parsed.time_factor)
    if not host:
        raise LoadTestError("which server? Name its gRPC port: --host localhost:8001")
    return Options(
        scenario=with_limits(scenario, parsed.limit),
        url=host,
        model=parsed.model or None,
        images=image_folder(parsed.images),
        report=Path(parsed.report),
        metrics_url=parsed.metrics_url or None,
        server_pid=parsed.server_pid,
        load_factor=parsed.load_factor,
        time_factor=parsed.time_factor,
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


def _factor(text: str) -> float:
    if not 0 < (factor := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a factor above 0, got {text}")
    return factor
