# SPDX-License-Identifier: Apache-2.0
"""The command ``run``: one scenario against a server that is there, or against one of its own."""

from __future__ import annotations

import argparse

from yolov8_loadtest.local_server import Endpoint
from yolov8_loadtest.locust_process import locust_command, run_locust
from yolov8_loadtest.options import add_arguments, options_of
from yolov8_loadtest.progress import say
from yolov8_loadtest.server_choice import add_server_arguments, server_for


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("scenario_name", metavar="SCENARIO", help="a file, or the name of a shipped one")
    add_server_arguments(parser)
    parser.add_argument("--processes", type=int, default=1, help="send the load from so many processes (1)")
    parser.add_argument("--web", action="store_true", help="start Locust's web page instead of running once")
    add_arguments(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    parsed.scenario = parsed.scenario_name
    # What is wrong with the options is said here, before anything is started.
    scenario = options_of(parsed, parsed.url or "localhost").scenario
    with server_for(parsed, scenario.tasks) as endpoint:
        say(f"{scenario.name}: {scenario.about}")
        say(f"{scenario.load.duration_s} s against {endpoint.url}")
        arguments = ["--loglevel", "WARNING", *_arguments(parsed, endpoint), *parsed.passed_on]
        return run_locust(locust_command(arguments, processes=parsed.processes, web=parsed.web))


def _arguments(parsed: argparse.Namespace, endpoint: Endpoint) -> list[str]:
    given = {
        "--host": endpoint.url,
        "--scenario": parsed.scenario_name,
        "--model": parsed.model,
        "--images": endpoint.image_folder(parsed.images),
        "--report": parsed.report,
        "--load-factor": parsed.load_factor,
        "--time-factor": parsed.time_factor,
        "--metrics-url": endpoint.metrics_url,
        "--server-pid": endpoint.pid if endpoint.pid is not None else parsed.server_pid,
    }
    options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    return [*options, *(text for limit in parsed.limit for text in ("--limit", limit))]
