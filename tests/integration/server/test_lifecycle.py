# SPDX-License-Identifier: Apache-2.0
"""A server starts, stops and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.integration.server import models
from tests.integration.server.traces import marks, parent, traces, wait_until, wait_until_gone
from yolov8_server import StartError, TritonServer

# No request is in flight at the end of these tests: there is nothing to wait for.
AT_ONCE = 0.0

Left = Callable[[], list[str]]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "modèles et poids"
    models.write_double(folder)
    return folder


@pytest.fixture
def left() -> Left:
    """Return a function that lists what is left of the test's servers."""
    others = marks(os.getpid())
    return lambda: traces(os.getpid(), besides=others)


def test_two_servers_serve_side_by_side_and_end_without_a_trace(repository: Path, left: Left) -> None:
    with TritonServer(repository, host="0.0.0.0") as first, TritonServer(repository, stop_timeout_s=AT_ONCE) as second:
        assert first.pid != second.pid
        assert models.doubled(first.grpc_url) == models.doubled(second.grpc_url) == [2, 4]
        assert b"nv_inference_count" in urlopen(first.metrics_url, timeout=10).read()

    assert left() == []


def test_a_server_can_be_started_again(repository: Path) -> None:
    server = TritonServer(repository, stop_timeout_s=AT_ONCE)
    for _ in range(2):
        with server:
            assert models.doubled(server.grpc_url) == [2, 4]

    assert "double" in server.log_tail(2000)


def test_a_killed_server_leaves_no_trace(repository: Path, left: Left) -> None:
    with TritonServer(repository) as server:
        os.kill(server.pid, signal.SIGKILL)

        assert server.wait(10) == -signal.SIGKILL
        assert left() == []


def test_a_server_whose_supervisor_is_killed_ends_without_a_trace(repository: Path, left: Left) -> None:
    with TritonServer(repository, stop_timeout_s=10) as server:
        os.kill(parent(server.pid), signal.SIGKILL)

        assert server.wait(10) is not None
        wait_until_gone(left)


def test_a_request_that_outlasts_the_stop_deadline_is_cut_off(tmp_path: Path, left: Left) -> None:
    models.write(tmp_path, "sleepy", models.FLAT, code=models.SLEEPY.format(load_s=0, execute_s=600))
    with TritonServer(tmp_path, stop_timeout_s=0.5) as server, triton.InferenceServerClient(server.grpc_url) as client:
        x = triton.InferInput("x", [2], "FP32")
        x.set_data_from_numpy(np.zeros(2, np.float32))
        failed = threading.Event()
        client.async_infer("sleepy", [x], lambda **answer: failed.set() if answer["error"] else None)
        wait_until((tmp_path / "sleepy" / "1" / "executing").exists, "the request never arrived")

        server.stop()

        assert failed.wait(10)
        assert "SIGKILL" in server.log_tail()
    assert left() == []


def test_a_model_that_does_not_load_ends_the_start_with_the_reason(tmp_path: Path, left: Left) -> None:
    models.write(tmp_path, "broken", models.FLAT, code="raise RuntimeError('no luck today')")

    with pytest.raises(
        StartError, match=r"failed to load 'broken' .* no luck today .*broken/1/model\.py\(1\)"
    ) as error:
        TritonServer(tmp_path).start()

    assert error.value.exit_code == 1
    assert left() == []


def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path: Path, left: Left) -> None:
    models.write(tmp_path, "slow", models.FLAT, code=models.SLEEPY.format(load_s=600, execute_s=0))

    with pytest.raises(StartError, match=r"was not ready within 2 s:\n  still loading 'slow'") as error:
        TritonServer(tmp_path, ready_timeout_s=2, stop_timeout_s=AT_ONCE).start()

    assert error.value.exit_code is None
    assert left() == []
