# SPDX-License-Identifier: Apache-2.0
"""What can't be run, or breaks in the middle: one clear line, an exit code, no hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.fakes.fake_triton import FakeTriton, ensemble_config, serving
from tests.integration.loadtest.conftest import Done, Run
from tests.processes import rest
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_server import TritonServer

LONG = "[load]\nstages = [{ users = 2, duration_s = 60 }]\n[slo]\nerror_ratio = 0\n"
SHORT = "[load]\nstages = [{ users = 1, duration_s = 1 }]\n[slo]\nerror_ratio = 0\n"
NOBODY = "127.0.0.1:9"
"""The port of the discard service, which nobody runs; it is below those that the kernel hands out."""
END_S = 40.0
POLL_S = 0.1
ARRIVES_S = 30.0


class ForgetfulTriton(FakeTriton):
    """A server that also tells its version and statistics, as a load test asks."""

    def ServerMetadata(self, request, context):  # noqa: ARG002, N802
        return service_pb2.ServerMetadataResponse(version="0.0 (fake)")

    def ModelStatistics(self, request, context):  # noqa: ARG002, N802
        return service_pb2.ModelStatisticsResponse()


def found(x2: float) -> dict[str, np.ndarray]:
    """Return the outputs for one object."""
    return {
        "num_detections": np.array([[1]], np.int32),
        "detection_boxes": np.array([[[10, 10, x2, 60]]], np.float32),
        "detection_scores": np.array([[0.9]], np.float32),
        "detection_classes": np.array([[0]], np.int32),
        "orig_shape": np.array([[240, 320]], np.int32),
    }


def refused(done: Done) -> str:
    """Return the one line with which a run that could not begin ended."""
    assert done.code == 2, done.output + done.errors
    assert "Traceback" not in done.errors
    (line,) = [line for line in done.errors.splitlines() if "error:" in line]
    return line


def test_no_server(run: Run) -> None:
    assert NOBODY in refused(run(SHORT, "--url", NOBODY))


def test_a_wrong_model_name(server: TritonServer, run: Run) -> None:
    line = refused(run(SHORT, "--url", server.grpc_url, "--model", "yolov99"))

    assert "no model 'yolov99' for detect" in line
    assert "shapes-detect (detect)" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[load\n", "it is no TOML", id="no-toml"),
        pytest.param("[load]\nstages = []\n", "load.stages: expected a list of at least 1", id="no-stages"),
        pytest.param(SHORT.replace("users", "user"), "did you mean 'users'?", id="misspelt"),
        pytest.param(SHORT.replace("error_ratio", "eror_ratio"), "did you mean 'error_ratio'?", id="no-such-limit"),
    ],
)
def test_a_broken_scenario_file(run: Run, text: str, said: str) -> None:
    line = refused(run(text, "--url", NOBODY))

    assert "scenario.toml" in line
    assert said in line


def test_a_priority_of_a_model_without_levels(server: TritonServer, run: Run) -> None:
    scenario = f"{SHORT}\n[[traffic]]\npriority = 1\n"

    line = refused(run(scenario, "--url", server.grpc_url, "--model", "shapes-detect"))

    assert "model 'shapes-detect' has 0 levels; export it with --priority-levels" in line


def test_a_scenario_that_is_not_there(run: Run) -> None:
    assert "it is neither a file nor one of arrival-rate, bad-input" in refused(run("smok", "--url", NOBODY))


def test_images_in_which_nothing_is_found(server: TritonServer, run: Run, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "grey"
    folder.mkdir()
    Image.new("RGB", (320, 240), (128, 128, 128)).save(folder / "grey.png")

    done = run(SHORT, "--url", server.grpc_url, "--model", "shapes-detect", "--images", str(folder))

    assert "finds nothing in any of 1 images" in refused(done)


def test_a_wrong_answer_is_a_failure(run: Run) -> None:
    served = ServedModel(task=Task.DETECT, labels=("thing",), imgsz=(32, 32))
    fake = ForgetfulTriton({"m": ensemble_config("m", served)}, lambda _: found(60 if len(fake.requests) <= 4 else 80))
    with serving(fake) as url:
        done = run(SHORT, "--url", url)

    total = done.report["total"]
    assert done.code == 1
    # One right answer for each of the four images was what the run expects from then on.
    assert list(total["failures"]) == ["WrongAnswerError"]
    assert total["successful"] == 0
    assert "of 1 objects 1 are missing or differ" in done.report["failure_messages"]["WrongAnswerError"]


def test_a_server_that_is_stopped_halfway_ends_the_run(detector_repository: Path, images: Path, tmp_path: Path) -> None:
    server = TritonServer(detector_repository, stop_timeout_s=0)
    server.start()
    try:
        with started(tmp_path, images, "--url", server.grpc_url) as process:
            wait_for_progress(process)
            server.stop()
            output, errors = rest(process, END_S)
    finally:
        server.stop()

    assert process.returncode == 1
    assert "FAILED: the server at" in output
    assert "has not answered since second" in output
    assert "ServerUnavailableError" in output
    assert "Traceback" not in errors


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_ends_a_run_with_its_report(server: TritonServer, images: Path, tmp_path: Path, processes: str) -> None:
    with started(tmp_path, images, "--url", server.grpc_url, "--processes", processes) as process:
        wait_for_progress(process)
        os.killpg(process.pid, signal.SIGINT)  # the terminal sends it to all
        output, errors = rest(process, END_S)

    assert process.returncode == 1, output + errors
    assert "FAILED: stopped after" in output
    assert (tmp_path / "report" / "scenario.html").is_file()
    assert "Traceback" not in errors


def test_the_web_page_is_there_and_runs_the_scenario(server: TritonServer, images: Path, tmp_path: Path) -> None:
    # A port of the same range as the server's own: below the kernel's.
    port = str(int(server.grpc_url.rpartition(":")[2]) + 7)
    options = ("--url", server.grpc_url, "--web", "--", "--web-host", "127.0.0.1", "--web-port", port)
    with started(tmp_path, images, *options, text=SHORT) as process:
        page = f"http://127.0.0.1:{port}"
        assert "Locust" in wait_for(lambda: fetch(page))
        fetch(f"{page}/swarm", b"user_count=1&spawn_rate=1")
        report = tmp_path / "report" / "scenario.html"
        wait_for(lambda: report.read_text() if report.exists() else "")
        process.send_signal(signal.SIGTERM)
        output, errors = rest(process, END_S)

    assert process.returncode == 0, output + errors
    assert "PASSED" in output


class started:  # noqa: N801  (it is used as a context manager alone)
    """A run in the background, in a process group of its own; what is left of it at the end is killed."""

    def __init__(self, folder: Path, images: Path, *options: str, text: str = LONG) -> None:
        path = folder / "scenario.toml"
        path.write_text(text)
        command = [sys.executable, "-m", "yolov8_loadtest", "run", str(path), "--model", "shapes-detect"]
        command += ["--images", str(images), "--report", str(folder / "report"), *options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()


def wait_for_progress(process: subprocess.Popen[str]) -> None:
    """Read its output until it tells of requests."""
    assert process.stdout is not None
    for line in lines(process):
        if "p50" in line:
            return
    raise AssertionError("it ended before")


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield lines as they come."""
    assert process.stdout is not None
    while line := process.stdout.readline():
        yield line


def wait_for(value: object) -> str:
    """Return what a function returns as soon as it is something."""
    deadline = time.monotonic() + ARRIVES_S
    assert callable(value)
    while not (got := value()):
        assert time.monotonic() < deadline, "it did not arrive"
        time.sleep(POLL_S)
    return str(got)


def fetch(url: str, data: bytes | None = None) -> str:
    """Return a page, "" where nobody answers."""
    try:
        with urllib.request.urlopen(url, data, timeout=ARRIVES_S) as answer:
            text: str = answer.read().decode()
    except OSError:
        return ""
    return text
