# SPDX-License-Identifier: Apache-2.0
"""Run Locust as a process of its own: it turns the whole interpreter over to gevent."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

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
