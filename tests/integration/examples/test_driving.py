# SPDX-License-Identifier: Apache-2.0
"""``examples/driving`` against a real server with a network of fixed time: the front camera first, and less if need be.

``python -m tests.integration.examples.test_driving`` measures for longer, with and without priority levels.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixed_time import replace_network
from tests.integration.conftest import DATA
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

pytestmark = pytest.mark.alone

DRIVE = Path(__file__).parents[3] / "examples" / "driving" / "drive.py"
NETWORK_S = 0.03
"""With two instances: 67 images a second. The drive has 35 frames a second, and 60 when the others double."""
MEASURED_S = 60


def exported(folder: Path, *, priority_levels: int = 3) -> Path:
    deployment = Deployment(instances=2, priority_levels=priority_levels)
    export(DATA / "shapes-detect.pt", Target(repository=folder, name="m"), deployment=deployment)
    replace_network(folder, "m", seconds=NETWORK_S)
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("driving"))


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, stop_timeout_s=0) as running:
        yield running


def command(url: str, *options: object) -> list[str]:
    return [sys.executable, "-W", "error", str(DRIVE), "--url", url, "--model", "m", *map(str, options)]


def run(url: str, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(url, *options), capture_output=True, text=True, check=False, timeout=200)


def answered(output: str, phase: str, camera: str) -> float:
    """Return the share of a camera's frames that were answered in a phase."""
    found = re.search(rf"^{phase}: {camera}: (\d+) of (\d+) frames answered", output, re.MULTILINE)
    assert found is not None, output
    return int(found[1]) / int(found[2])


def test_the_front_camera_is_answered_while_the_others_double_and_miss(server: TritonServer) -> None:
    """A busy machine decides over milliseconds, so the bounds are wide; the command above measures."""
    options = ("--no-degradation", "--deadline-ms", 500, "--slo-ms", 500, "--others-fps", 8)
    done = run(server.grpc_url, *options, "--seconds", 14, "--double-after", 8)

    print(done.stdout)
    assert answered(done.stdout, "before", "front") > 0.9
    assert answered(done.stdout, "others doubled", "front") > 0.9
    last = min(answered(done.stdout, "others doubled", camera) for camera in ("rear_left", "rear_right"))
    assert last < 0.8
    assert re.search(r"^SLO \w+: others doubled: front p99 ", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) == ("SLO MISSED" not in done.stdout)


def test_a_limit_that_no_server_keeps_fails_the_drive(server: TritonServer) -> None:
    done = run(server.grpc_url, "--seconds", 4, "--slo-ms", 1)

    assert done.returncode == 1
    assert "SLO MISSED: whole drive: front p99" in done.stdout


def test_a_lost_camera_is_named_until_it_is_back_and_the_others_go_on(server: TritonServer) -> None:
    done = run(server.grpc_url, "--seconds", 12, "--break", "rear:3:7", "--deadline-ms", 500)

    print(done.stdout)
    lost = done.stdout.index("camera rear is lost: the camera's cable is pulled")
    back = done.stdout.index("camera rear is back")
    assert lost < done.stdout.index(", without rear: front ") < back
    assert ", without rear" not in done.stdout[back:]
    assert answered(done.stdout, "whole drive", "front") > 0.8


def test_a_killed_server_is_said_and_its_return_too(server: TritonServer) -> None:
    drive = subprocess.Popen(command(server.grpc_url, "--seconds", 26), stdout=subprocess.PIPE, text=True)
    time.sleep(5)
    os.kill(server.pid, signal.SIGKILL)
    time.sleep(4)
    server.restart()
    output, _ = drive.communicate(timeout=100)

    print(output)
    states = re.findall(r"state (\w+),", output)
    gone = states.index("NO_ANSWERS")
    assert states[gone + 1] == "FRONT"
    assert "answers have come back" in output
    assert re.search(r"front (9|10|11) answered, 0 missed", output[output.index("answers have come back") :])
    assert drive.returncode == 1


def test_with_a_second_server_the_end_of_one_leaves_no_second_without_answers(
    server: TritonServer, repository: Path
) -> None:
    with TritonServer(repository, stop_timeout_s=0) as spare:
        options = ("--url", spare.grpc_url, "--seconds", 12, "--deadline-ms", 500)
        drive = subprocess.Popen(command(server.grpc_url, *options), stdout=subprocess.PIPE, text=True)
        time.sleep(6)
        os.kill(spare.pid, signal.SIGKILL)
        output, _ = drive.communicate(timeout=100)

    print(output)
    assert "NO_ANSWERS" not in output
    assert answered(output, "whole drive", "front") > 0.8


def test_a_server_that_is_not_there_is_an_error_that_says_what_to_type() -> None:
    done = run("127.0.0.1:9")

    assert done.returncode == 3
    assert "yolov8-triton doctor" in done.stderr


def _measure(duration_s: int) -> None:
    for levels in (3, 0):
        with tempfile.TemporaryDirectory() as folder:
            repository = exported(Path(folder), priority_levels=levels)
            with TritonServer(repository, stop_timeout_s=0) as running:
                options = ("--no-degradation", "--deadline-ms", 300, "--slo-ms", 200, "--others-fps", 5)
                phases = ("--seconds", 2 + 2 * duration_s, "--double-after", 2 + duration_s)
                done = subprocess.run(
                    command(running.grpc_url, *options, *phases), capture_output=True, text=True, check=False
                )
        sys.stdout.write(f"{levels} levels\n" + re.sub(r"(?m)^ .*\n", "", done.stdout) + done.stderr)


if __name__ == "__main__":
    _measure(int(sys.argv[1]) if len(sys.argv) > 1 else MEASURED_S)
