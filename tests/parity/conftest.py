# SPDX-License-Identifier: Apache-2.0
"""One server with a model of each task, the photographs, and the table at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.parity import images
from tests.parity.deployment import Subject, export
from yolov8_server import TritonServer

SHAPES = Path(__file__).parent.parent / "data" / "shapes-obb.pt"

Rows = list[tuple[str, ...]]


@pytest.fixture(scope="session")
def subjects() -> dict[str, Subject]:
    """The weights of each task; obb's are this project's own, since none of Ultralytics' were to be had."""
    folder = Path(os.environ["YOLOV8_WEIGHTS_DIR"])
    suffixes = {"detect": "", "segment": "-seg", "pose": "-pose", "classify": "-cls"}
    found = {
        task: Subject(task, folder / f"yolov8n{suffix}.pt", f"yolov8n{suffix}") for task, suffix in suffixes.items()
    }
    return found | {"obb": Subject("obb", SHAPES, "shapes-obb")}


@pytest.fixture(scope="session")
def repository(subjects: dict[str, Subject], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity") / "repository"
    for subject in subjects.values():
        export(subject, folder)
    return folder


@pytest.fixture(scope="session")
def url(repository: Path) -> Iterator[str]:
    with TritonServer(repository) as server:
        yield server.grpc_url


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All photographs, odd sizes of some, and each EXIF orientation."""
    made = tmp_path_factory.mktemp("pictures")
    odd = images.odd_sizes([*images.samples(), *images.coco_images()[:6]], made)
    return [*images.photographs(), *odd, *images.rotated(images.samples()[0], made)]


@pytest.fixture(scope="session")
def table() -> Iterator[Rows]:
    """Rows of the table that is printed at the end."""
    rows: Rows = []
    yield rows
    if rows:
        shown = Table(
            "task", "setting", "images", "objects", "paired", "borderline", "worst differences", title="Parity"
        )
        for row in rows:
            shown.add_row(*row)
        Console(width=180).print(shown)
