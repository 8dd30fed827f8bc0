# SPDX-License-Identifier: Apache-2.0
"""One server with a model of each task, the photographs, and the table at the end.

PARITY_ENGINES names the engines that run the networks, one after the other; without it, ONNX Runtime does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from tests.data import shapes
from tests.parity import images
from tests.parity.deployment import DEFAULTS, EVALUATION, Arrays, Subject, export, reference, served
from yolov8_server import TritonServer

SHAPES = Path(__file__).parent.parent / "data" / "shapes-obb.pt"

Rows = list[tuple[str, ...]]
Answers = dict[str, tuple[list[Path], list[list[Arrays]], list[list[Arrays]]]]

References = dict[str, list[list[Arrays]]]

SCENES = 120
ENGINES = os.environ.get("PARITY_ENGINES", "").split() or ["onnxruntime"]
READY_S = 600


@pytest.fixture(scope="session")
def subjects() -> dict[str, Subject]:
    """The weights of each task; obb's are this project's own, since none of Ultralytics' were to be had."""
    folder = Path(os.environ["YOLOV8_WEIGHTS_DIR"])
    suffixes = {"detect": "", "segment": "-seg", "pose": "-pose", "classify": "-cls"}
    found = {
        task: Subject(task, folder / f"yolov8n{suffix}.pt", f"yolov8n{suffix}") for task, suffix in suffixes.items()
    }
    return found | {"obb": Subject("obb", SHAPES, "shapes-obb")}


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def repository(engine: str, subjects: dict[str, Subject], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity") / "repository"
    for subject in subjects.values():
        export(subject, folder, engine)
    return folder


@pytest.fixture(scope="session")
def url(repository: Path) -> Iterator[str]:
    with TritonServer(repository, ready_timeout_s=READY_S) as server:
        yield server.grpc_url


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All photographs, odd sizes of some, and each EXIF orientation."""
    made = tmp_path_factory.mktemp("pictures")
    odd = images.odd_sizes([*images.samples(), *images.coco_images()[:6]], made)
    return [*images.photographs(), *odd, *images.rotated(images.samples()[0], made)]


@pytest.fixture(scope="session")
def answers(engine: str) -> Answers:  # noqa: ARG001  (one for each engine)
    """What was answered, by task: images, served and reference answers for each setting; filled as tests ask."""
    return {}


@pytest.fixture(scope="session")
def references() -> References:
    """What Ultralytics answered, by task; filled as tests ask."""
    return {}


@pytest.fixture
def both(
    request: pytest.FixtureRequest,
    answers: Answers,
    references: References,
    subjects: dict[str, Subject],
    url: str,
    pictures: list[Path],
    rotated_scenes: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[Path], list[list[Arrays]], list[list[Arrays]]]:
    """Both sides' answers for the task that the test is parametrised with."""
    task = request.node.callspec.params["task"]
    if task not in answers:
        subject = subjects[task]
        asked = rotated_scenes if task == "obb" else pictures
        settings = [DEFAULTS, EVALUATION]
        ours = [served(url, subject, asked, setting) for setting in settings]
        if task not in references:
            references[task] = reference(subject, asked, settings, tmp_path_factory.mktemp("reference"))
        answers[task] = (asked, ours, references[task])
    return answers[task]


@pytest.fixture(scope="session")
def rotated_scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scenes of rotated shapes at sizes of all kinds."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    paths = []
    for seed in range(SCENES):
        size = (160, 160) if seed % 3 == 0 else tuple(int(side) for side in rng.integers(97, 700, 2))
        paths.append(folder / f"scene-{seed}.png")
        cv2.imwrite(str(paths[-1]), shapes.scene(seed + 50_000, "obb", size=size).image)
    return paths


@pytest.fixture(scope="session")
def table() -> Iterator[Rows]:
    """Rows of the table that is printed at the end."""
    rows: Rows = []
    yield rows
    if rows:
        shown = Table(
            "engine",
            "task",
            "setting",
            "images",
            "objects",
            "paired",
            "borderline",
            "worst differences",
            title="Parity",
        )
        for row in rows:
            shown.add_row(*row)
        Console(width=180).print(shown)
