# SPDX-License-Identifier: Apache-2.0
"""Run Locust as a process of its own: it turns the whole interpreter over to gevent.

The command ``run``: one scenario against a server that is there, or against one of its own.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from yolov8_loadtest.options import add_arguments, options_of
from yolov8_loadtest.report.progress import say
from yolov8_loadtest.servers import Endpoint, add_server_arguments, server_for

LOCUSTFILE = Path(__file__).parent / "locustfile.py"
STOP_TIMEOUT_S = 60.0


def locust_command(arguments: Sequence[str], *, processes: int, web: bool) -> list[str]:
    """Return the command line.

    Args:
        arguments: Ours and Locust's.
        processes: Send the load from so many; 1 does without a master.
        web: Start the web page and wait for its button, instead of running once.
    """
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *([] if web else ["--headless"])]
    if processes > 1:
        port = str(_free_port())
        command += ["--processes", str(processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-port", port]
    return [*command, *arguments]


def run_locust(command: Sequence[str]) -> int:
    """Run Locust to its end, hand on signals to it, and return its exit code."""
    with subprocess.Popen(command) as process:

        def hand_on(number: int, _: FrameType | None) -> None:
            process.send_signal(number)

        # Ctrl-C reaches the whole group by itself; only this process must not die of it before the report is written.
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
