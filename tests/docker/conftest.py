# SPDX-License-Identifier: Apache-2.0
"""What all of these tests use. `make docker-test` installs it; see README.md."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.data import shapes
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FOLDER = Path(os.environ.get("DOCKER_TEST_DIR", ROOT / "build" / "docker-test"))
TOOLS = FOLDER / "tools" / "bin"
MODEL = "shapes-detect"


def run(*command: str | Path, timeout_s: float = 120, **environment: str) -> str:
    """Run a command that has to succeed; return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def picture(seed: int = 1) -> bytes:
    """A JPEG with a few shapes in it."""
    return cv2.imencode(".jpg", shapes.scene(91_000 + seed, "detect", size=(200, 300)).image)[1].tobytes()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's own detector, readable for all: containers run under another user."""
    folder = tmp_path_factory.mktemp("served") / "repository"
    export(ROOT / "tests" / "data" / f"{MODEL}.pt", Target(repository=folder, name=MODEL))
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    for parent in (folder.parent, folder.parent.parent, folder.parent.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o111)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    """The embedded server, with the options of docker/serve.sh that the metrics depend on."""
    with TritonServer(repository, http=True, arguments=("--metrics-config=summary_latencies=true",)) as running:
        yield running
