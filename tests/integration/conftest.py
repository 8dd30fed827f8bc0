# SPDX-License-Identifier: Apache-2.0
"""One repository with a model of each task, exported and served."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data import shapes
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

TIMED = ("obb", "classify")
DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's own weights for all five tasks: ``shapes-detect`` and so on; one whose network batches, too.

    Those for obb and classify measure times.
    """
    folder = tmp_path_factory.mktemp("served") / "repository"
    for task in shapes.TASKS:
        target = Target(repository=folder, name=f"shapes-{task}")
        export(DATA / f"shapes-{task}.pt", target, deployment=Deployment(instances=1, timings=task in TIMED))
    batched = Target(repository=folder, name="shapes-batched")
    export(DATA / "shapes-detect.pt", batched, deployment=Deployment(queue_delay_us=50_000))
    return folder


@pytest.fixture(scope="session")
def fp32_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with Ultralytics' own input and output: for its client, and as ONNX files to export from."""
    folder = tmp_path_factory.mktemp("fp32") / "repository"
    for task in shapes.TASKS:
        target = Target(repository=folder, name=f"shapes-{task}")
        deployment = Deployment(instances=1, network_input="fp32", network_output="raw")
        export(DATA / f"shapes-{task}.pt", target, deployment=deployment)
    return folder


@pytest.fixture(scope="session")
def fp32_server(fp32_repository: Path) -> Iterator[TritonServer]:
    with TritonServer(fp32_repository, stop_timeout_s=0) as running:
        yield running


@pytest.fixture(scope="session")
def detector_repository(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with `shapes-detect` alone: it starts in a fraction of the time."""
    folder = tmp_path_factory.mktemp("detector") / "repository"
    for model in repository.glob("shapes-detect*"):
        shutil.copytree(model, folder / model.name)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, http=True, stop_timeout_s=0) as running:
        yield running
