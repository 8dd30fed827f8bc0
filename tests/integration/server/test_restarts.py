# SPDX-License-Identifier: Apache-2.0
"""A server that ends by itself, or has a dead model, is started again on the same ports; health does not lie."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.integration.server import models
from tests.integration.server.traces import DEADLINE_S, children, traces, wait_until, wait_until_gone
from yolov8_server import RestartError, RestartPolicy, TritonServer, keep_running

STUB = "triton_python_b"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    models.write_double(folder)
    return folder


class Kept:
    """A running ``yolov8-server``, its ports, and what it wrote."""

    def __init__(self, repository: Path, stderr: Path, *options: str) -> None:
        command = [sys.executable, "-m", "yolov8_server", str(repository), "--grpc-port=0", "--http-port=0"]
        self._stderr = stderr
        with stderr.open("w") as file:
            self.process = subprocess.Popen(
                [*command, "--metrics-port=0", *options], stdout=subprocess.PIPE, stderr=file, text=True
            )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(4)]
        self.grpc_url, self.http_url = lines[0].split()[1], lines[1].split()[1]

    def server(self) -> int:
        """Return the process ID of tritonserver."""
        (line,) = [
            trace
            for trace in traces(self.process.pid)
            if "/bin/tritonserver --model" in trace and "--mark" not in trace
        ]
        return int(line.split()[1].rstrip(":"))

    def stub(self) -> int:
        """Return the process ID of a python model."""
        return next(pid for pid, name in children(self.server()) if name == STUB)

    def is_ready(self) -> bool:
        try:
            return urlopen(f"http://{self.http_url}/v2/health/ready", timeout=2).status == 200
        except (URLError, OSError):
            return False

    def doubled(self) -> list[float]:
        return models.doubled(self.grpc_url)

    def said(self) -> str:
        return self._stderr.read_text()


@pytest.fixture
def kept(repository: Path, tmp_path: Path) -> Iterator[Callable[..., Kept]]:
    started: list[Kept] = []

    def run(*options: str, folder: Path = repository) -> Kept:
        started.append(Kept(folder, tmp_path / "stderr", *options))
        return started[-1]

    yield run
    for one in started:
        one.process.terminate()
        one.process.communicate(timeout=DEADLINE_S)
        wait_until_gone(partial(traces, one.process.pid))


def test_a_dead_python_model_ends_readiness_and_the_server_is_started_again(kept: Callable[..., Kept]) -> None:
    running = kept("--stop-timeout=1")
    first = running.server()
    assert running.doubled() == [2, 4]

    os.kill(stub := running.stub(), signal.SIGKILL)
    wait_until(lambda: not running.is_ready(), "the server went on saying that it is ready")

    wait_until(running.is_ready, "the server was not started again")
    assert running.doubled() == [2, 4]
    assert running.server() != first
    assert f"the process {stub} of a python model has died; starting it again" in running.said()


def test_a_python_model_that_is_stopped_is_a_dead_one(kept: Callable[..., Kept]) -> None:
    running = kept()
    first = running.server()

    os.kill(running.stub(), signal.SIGSTOP)
    wait_until(lambda: not running.is_ready(), "the server went on saying that it is ready")

    wait_until(running.is_ready, "the server was not started again")
    assert running.server() != first
    assert running.doubled() == [2, 4]


def test_a_short_pause_of_a_python_model_ends_nothing(kept: Callable[..., Kept]) -> None:
    running = kept()
    first = running.server()

    os.kill(stub := running.stub(), signal.SIGSTOP)
    time.sleep(1)
    os.kill(stub, signal.SIGCONT)

    assert running.doubled() == [2, 4]
    assert running.server() == first


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGTERM])
def test_a_server_that_ends_by_itself_is_started_again_on_its_ports(
    kept: Callable[..., Kept], number: signal.Signals
) -> None:
    running = kept()
    first = running.server()

    os.kill(first, number)
    wait_until(lambda: not running.is_ready(), "the server did not end")

    wait_until(running.is_ready, "the server was not started again")
    assert running.doubled() == [2, 4]
    assert re.search(r"^\S+ \S+ tritonserver: it (was ended by SIG|exited with code)", running.said())


def test_memory_that_requests_made_grow_is_given_back(kept: Callable[..., Kept]) -> None:
    running = kept("--max-growth=300")
    first = running.server()
    x = triton.InferInput("x", [1, 200 << 18], "FP32")
    x.set_data_from_numpy(np.zeros((1, 200 << 18), np.float32))
    with triton.InferenceServerClient(running.grpc_url) as client:
        for _ in range(8):
            with pytest.raises(InferenceServerException):  # for its shape, later because the server stops
                client.infer("double", [x], client_timeout=30)

    wait_until(lambda: "MiB are allowed" in running.said(), "the growth went unseen")
    wait_until(lambda: running.is_ready() and running.server() != first, "the server was not started again")

    assert running.doubled() == [2, 4]


def test_growth_does_not_use_up_the_restarts(repository: Path) -> None:
    server = TritonServer(repository, stop_timeout_s=0)
    grown = 0

    class Growing:
        """A server that holds more memory each time that somebody looks, until it ends."""

        def __getattr__(self, name: str) -> object:
            return getattr(server, name)

        def memory_mib(self) -> int:
            nonlocal grown
            grown += 1
            if grown == 7:
                os.kill(server.pid, signal.SIGKILL)
            return grown * 1000

    with server, pytest.raises(RestartError, match="was ended by SIGKILL; gave up after 1 early end"):
        keep_running(Growing(), RestartPolicy(limit=1, steady_s=3600, max_growth_mib=1))  # type: ignore[arg-type]

    assert grown == 7


def test_a_server_that_ends_again_and_again_is_given_up(repository: Path, tmp_path: Path) -> None:
    server = TritonServer(repository, stop_timeout_s=0, log_file=tmp_path / "log")
    policy = RestartPolicy(limit=2, steady_s=3600, first_pause_s=0.01)
    ended = 0

    class Ending:
        """A server that is killed each time that it is waited for."""

        def __getattr__(self, name: str) -> object:
            return getattr(server, name)

        def wait(self, timeout_s: float) -> int | None:
            nonlocal ended
            if timeout_s:
                ended += 1
                os.kill(server.pid, signal.SIGKILL)
            return server.wait(DEADLINE_S)

    with server, pytest.raises(RestartError, match="was ended by SIGKILL; gave up after 2 early end") as error:
        keep_running(Ending(), policy)  # type: ignore[arg-type]

    assert ended == 2
    assert "Started GRPCInferenceService" in error.value.log
    assert (tmp_path / "log").read_text().count("Started GRPCInferenceService") == 2


def test_the_command_says_that_it_gave_up_and_exits_with_3(kept: Callable[..., Kept]) -> None:
    running = kept("--restarts=0")

    os.kill(running.server(), signal.SIGKILL)

    assert running.process.wait(DEADLINE_S) == 3
    assert "error: tritonserver: it was ended by SIGKILL; gave up after" in running.said()


def test_a_server_that_can_not_be_started_again_is_given_up(kept: Callable[..., Kept], tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    models.write_double(folder)
    running = kept("--restarts=2", folder=folder)
    (folder / "double" / "1" / "model.onnx").write_bytes(b"no graph")

    os.kill(running.server(), signal.SIGKILL)

    assert running.process.wait(DEADLINE_S) == 3
    assert re.search(r"gave up after 2 early end\(s\) or failed start\(s\) in a row", running.said())
    assert "failed to load 'double'" in running.said()
