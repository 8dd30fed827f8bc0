# SPDX-License-Identifier: Apache-2.0
"""The command ``run``: one scenario against a running server, or against one that is started for it.

Locust runs as a process of its own, since it turns the whole interpreter over to gevent.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from yolov8_loadtest.options import RunArguments, options_of
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.servers import Endpoint, ServerArguments, server_for

LOCUSTFILE = Path(__file__).parent / "locustfile.py"


def locust_command(arguments: Sequence[str], *, processes: int, web: bool) -> list[str]:
    """Return the command line that starts Locust.

    Args:
        arguments: Options of this package and of Locust.
        processes: Processes that send the load; with 1 there is no master.
        web: Start Locust's web page and wait for its button, instead of running once.
    """
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *([] if web else ["--headless"])]
    if processes > 1:
        port = str(_free_port())
        command += ["--processes", str(processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-port", port]
    return [*command, *arguments]


def run_locust(command: Sequence[str]) -> int:
    """Run Locust to its end, forward SIGTERM to it, and return its exit code."""
    with subprocess.Popen(command) as process:

        def hand_on(number: int, _: FrameType | None) -> None:
            process.send_signal(number)

        # Ctrl-C reaches the whole process group; this process must survive it until the report is written.
        before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, hand_on)
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@dataclass(frozen=True, kw_only=True)
class LocustArguments:
    """How Locust is run."""

    processes: Annotated[int, typer.Option(min=1, help="Processes that send the load")] = 1
    web: Annotated[bool, typer.Option("--web", help="Start Locust's web page instead of running once")] = False


def run(
    scenario_name: str,
    server: ServerArguments,
    arguments: RunArguments,
    locust: LocustArguments,
    passed_on: Sequence[str] = (),
) -> int:
    """Run a scenario; return the exit code.

    Raises:
        LoadTestError: It could not be run.
    """
    # Wrong options are refused here, before anything is started.
    scenario = options_of(scenario_name, arguments, server.url or "localhost").scenario
    with server_for(server, scenario.tasks, arguments.metrics_url) as endpoint:
        say(f"{scenario.name}: {scenario.about}")
        say(f"{scenario.load.duration_s} s against {endpoint.url}")
        options = ["--loglevel", "WARNING", *_options(scenario_name, arguments, endpoint), *passed_on]
        return run_locust(locust_command(options, processes=locust.processes, web=locust.web))


def _options(scenario_name: str, arguments: RunArguments, endpoint: Endpoint) -> list[str]:
    """Return a run's arguments as options of Locust's command line."""
    given = vars(arguments) | {
        "images": endpoint.image_folder(arguments.images),
        "metrics_url": endpoint.metrics_url,
        "server_pid": arguments.server_pid if endpoint.pid is None else endpoint.pid,
    }
    limits = given.pop("limit")
    options = {"--host": endpoint.url, "--scenario": scenario_name}
    options |= {f"--{name.replace('_', '-')}": value for name, value in given.items() if value is not None}
    listed = [text for name, value in options.items() for text in (name, str(value))]
    return [*listed, *(text for limit in limits for text in ("--limit", limit))]
