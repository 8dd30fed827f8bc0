# SPDX-License-Identifier: Apache-2.0
"""The command ``run``: one scenario against a server that is there, or against one of its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yolov8_loadtest.local_server import Endpoint, default_weights, export, local_server
from yolov8_loadtest.locust_process import locust_command, run_locust
from yolov8_loadtest.options import add_arguments, options_of
from yolov8_loadtest.progress import say
from yolov8_loadtest.scenario import Scenario


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("scenario_name", metavar="SCENARIO", help="a file, or the name of a shipped one")
    add_server_arguments(parser)
    parser.add_argument("--processes", type=int, default=1, help="send the load from so many processes (1)")
    parser.add_argument("--web", action="store_true", help="start Locust's web page instead of running once")
    parser.add_argument("locust", nargs="*", metavar="-- OPTION", help="more options for Locust, after --")
    add_arguments(parser)


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Say how a server is named, or made."""
    group = parser.add_argument_group("server")
    group.add_argument("--url", default=None, help="gRPC port of a server that is there, such as localhost:8001")
    group.add_argument("--repository", type=Path, default=None, help="serve this model repository")
    group.add_argument("--weights", action="append", default=[], help="export these weights and serve them; repeatable")
    group.add_argument("--work", type=Path, default=Path("build/loadtest"), help="where exports and logs go")


def run(parsed: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    parsed.scenario = parsed.scenario_name
    # What is wrong with the options is said here, before anything is started.
    scenario = options_of(parsed, parsed.url or "localhost").scenario
    with server_for(parsed, scenario) as endpoint:
        say(f"{scenario.name}: {scenario.about}")
        say(f"{scenario.load.duration_s} s against {endpoint.url}")
        arguments = ["--loglevel", "WARNING", *_arguments(parsed, endpoint), *parsed.locust]
        return run_locust(locust_command(arguments, processes=parsed.processes, web=parsed.web))


@contextmanager
def server_for(parsed: argparse.Namespace, scenario: Scenario | None) -> Iterator[Endpoint]:
    """Yield the server that was named, or start one with the weights that were, or that a scenario needs.

    Raises:
        PreparationError: It can't be started.
    """
    if parsed.url:
        yield Endpoint(url=parsed.url, metrics_url=getattr(parsed, "metrics_url", None))
        return
    repository = parsed.repository
    if repository is None:
        repository = parsed.work / "repository"
        for weights in parsed.weights or default_weights(scenario.tasks if scenario else ()):
            say(f"exporting {weights} into {repository} ...")
            export(weights, repository)
    say(f"starting tritonserver on {repository} ...")
    with local_server(repository, parsed.work / "tritonserver.log") as endpoint:
        yield endpoint


def _arguments(parsed: argparse.Namespace, endpoint: Endpoint) -> list[str]:
    given = {
        "--host": endpoint.url,
        "--scenario": parsed.scenario_name,
        "--model": parsed.model,
        "--images": parsed.images,
        "--report": parsed.report,
        "--load-factor": parsed.load_factor,
        "--time-factor": parsed.time_factor,
        "--metrics-url": endpoint.metrics_url,
        "--server-pid": endpoint.pid if endpoint.pid is not None else parsed.server_pid,
    }
    options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    return [*options, *(text for limit in parsed.limit for text in ("--limit", limit))]
