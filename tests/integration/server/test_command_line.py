# SPDX-License-Identifier: Apache-2.0
"""``python -m yolov8_server`` serves until a signal, and prints the reason of a failure."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.integration.server import models
from tests.integration.server.traces import DEADLINE_S, parent, traces, wait_until, wait_until_gone
from yolov8_server import TritonServer

FREE_PORTS = ("--grpc-port=0", "--http-port=0", "--metrics-port=0")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    models.write(folder, "sleepy", models.FLAT, code=models.SLEEPY.format(load_s=0, execute_s=0))
    return folder


@dataclass
class Launcher:
    """A running command whose server is ready."""

    process: subprocess.Popen[str]
    printed: str

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def grpc_url(self) -> str:
        return self.printed.splitlines()[0].split()[1]

    def server_pid(self) -> int:
        (line,) = [
            trace for trace in traces(self.pid) if "/bin/tritonserver --model" in trace and "--mark" not in trace
        ]
        return int(line.split()[1].rstrip(":"))

    def send(self, number: signal.Signals) -> int:
        """Send a signal, wait until the command ends and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def launch(repository: Path) -> Iterator[Callable[..., Launcher]]:
    started: list[Launcher] = []

    def run(*arguments: str, folder: Path = repository) -> Launcher:
        command = [sys.executable, "-m", "yolov8_server", str(folder), *FREE_PORTS, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        printed = ""
        assert process.stdout is not None
        while "ready" not in printed:
            line = process.stdout.readline()
            assert line, f"ended before it was ready: {printed}"
            printed += line
        started.append(Launcher(process, printed))
        return started[-1]

    yield run
    for launcher in started:
        launcher.process.kill()
        launcher.process.communicate()
        wait_until_gone(partial(traces, launcher.pid))


def test_it_prints_where_it_listens(launch: Callable[..., Launcher]) -> None:
    printed = launch().printed

    assert re.fullmatch(
        r"gRPC     127\.0\.0\.1:\d+\nHTTP     127\.0\.0\.1:\d+\nmetrics  http://127\.0\.0\.1:\d+/metrics\nready.*\n",
        printed,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(launch: Callable[..., Launcher], number: signal.Signals) -> None:
    launcher = launch()

    assert launcher.send(number) == 0
    assert traces(launcher.pid) == []


def test_a_second_signal_does_not_wait_for_requests(launch: Callable[..., Launcher], tmp_path: Path) -> None:
    models.write(tmp_path, "busy", models.FLAT, code=models.SLEEPY.format(load_s=0, execute_s=600))
    log = tmp_path / "log"
    launcher = launch(f"--log-file={log}", folder=tmp_path)
    with triton.InferenceServerClient(launcher.grpc_url) as client:
        x = triton.InferInput("x", [2], "FP32")
        x.set_data_from_numpy(np.zeros(2, np.float32))
        client.async_infer("busy", [x], lambda **_: None)
        wait_until((tmp_path / "busy" / "1" / "executing").exists, "the request never arrived")
        launcher.process.send_signal(signal.SIGINT)
        wait_until(lambda: "in-flight inferences" in log.read_text(), "it never began to stop")

        launcher.send(signal.SIGINT)

    assert traces(launcher.pid) == []


def test_a_killed_launcher_takes_its_server_along(launch: Callable[..., Launcher]) -> None:
    launcher = launch()

    launcher.send(signal.SIGKILL)

    wait_until_gone(partial(traces, launcher.pid))


@pytest.mark.parametrize(
    "killed",
    [
        pytest.param(("launcher", "supervisor"), id="the-kernel-stops-the-server"),
        pytest.param(("launcher", "supervisor", "server"), id="the-server-is-killed-with-them"),
    ],
)
def test_the_next_start_removes_the_files_of_killed_servers(
    launch: Callable[..., Launcher], repository: Path, killed: tuple[str, ...]
) -> None:
    launcher = launch()
    server = launcher.server_pid()
    pids = {"launcher": launcher.pid, "supervisor": parent(server), "server": server}
    for name in killed:  # all at once, so that no process can clean up after another
        os.kill(pids[name], signal.SIGKILL)
    launcher.process.wait(DEADLINE_S)
    wait_until(lambda: not any(trace.startswith("process") for trace in traces(launcher.pid)), "the server lives on")

    with TritonServer(repository, stop_timeout_s=0):
        wait_until_gone(partial(traces, launcher.pid))


def test_options_after_two_dashes_go_to_the_server(launch: Callable[..., Launcher], tmp_path: Path) -> None:
    log = tmp_path / "log"

    launch(f"--log-file={log}", "--", "--log-verbose=1")

    assert "OpenLibraryHandle" in log.read_text()  # appears only in a verbose log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["/nowhere"], "no model repository at '/nowhere'", id="no-repository"),
        pytest.param(["{repository}", "--", "--no-such-option=1"], "--no-such-option is not an option of", id="option"),
        pytest.param(["{repository}", "--model-config-name=l4"], "configuration named 'l4': it has none", id="name"),
        pytest.param(["{repository}", "--grpc-port={taken}"], r"gRPC port \d+ on 127.0.0.1 is in use", id="port"),
    ],
)
def test_a_server_that_cannot_start_is_one_line_and_exit_code_1(
    repository: Path, arguments: list[str], message: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        values = {"repository": repository, "taken": listener.getsockname()[1]}
        command = [sys.executable, "-m", "yolov8_server", *(text.format(**values) for text in arguments)]

        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert re.fullmatch(f"error: .*{message}.*\n", done.stderr)
