# SPDX-License-Identifier: Apache-2.0
"""The gpu profile as it is exported, served here: with real DALI, which runs the CPU twin of its graph."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpu.rehearsal import move_to_cpu
from yolov8_server import TritonServer

WEIGHTS = Path(__file__).parents[2] / "data" / "shapes-detect.pt"
CPU, GPU = "shapes_cpu", "shapes_gpu"


@pytest.fixture(scope="session")
def plain_folder() -> Iterator[Path]:
    """A folder whose path has only characters that Triton's dali backend takes; pytest's own have hyphens."""
    with tempfile.TemporaryDirectory(prefix="dali_") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def repository(plain_folder: Path) -> Path:
    """One network, exported for both profiles."""
    folder = plain_folder / "repository"
    for name, profile in ((CPU, "cpu"), (GPU, "gpu")):
        command = [sys.executable, "-m", "yolov8_export", "export", str(WEIGHTS), "--name", name]
        command += ["--repository", str(folder), "--profile", profile]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    move_to_cpu(folder, GPU)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, stop_timeout_s=0) as running:
        yield running
