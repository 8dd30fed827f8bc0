# SPDX-License-Identifier: Apache-2.0
"""One repository with a model of each task, exported and served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data import shapes
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's own weights for all five tasks: ``shapes-detect`` and so on; one whose network batches, too."""
    folder = tmp_path_factory.mktemp("served") / "repository"
    for task in shapes.TASKS:
        export(DATA / f"shapes-{task}.pt", Target(repository=folder, name=f"shapes-{task}"))
    batched = Target(repository=folder, name="shapes-batched")
    export(DATA / "shapes-detect.pt", batched, deployment=Deployment(queue_delay_us=50_000))
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository) as running:
        yield running
