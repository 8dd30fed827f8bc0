# SPDX-License-Identifier: Apache-2.0
"""Videos and COCO results with a real server; drawn scenes, and real footage and photographs where data are set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.clips import clip
from tests.coco import average_precision, write_scenes
from tests.data import shapes
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client, video

pytestmark = pytest.mark.alone

MODEL = "shapes-detect"
SEED = 70_000
PART = 120
"""Frames of the real clip; the benchmark runs all of them."""
EVALUATION = ("--conf", "0.001", "--iou", "0.6", "--max-det", "300")


def kinds(data: str) -> list[str]:
    """Return the kinds of input to test with: the real one where its data and weights for it are set."""
    real = all(os.environ.get(name) for name in ("YOLOV8_WEIGHTS_DIR", data))
    return ["drawn", "real"] if real else ["drawn"]


def test_every_frame_of_a_file_gets_the_answer_that_its_picture_gets(server: TritonServer, tmp_path: Path) -> None:
    scenes = [shapes.scene(SEED + number, "detect").image for number in range(24)]
    path = clip(tmp_path / "scenes.avi", scenes)

    with Client(server.grpc_url, model=MODEL) as client, video(client.detect, path, conf=0.4) as frames:
        for index, frame in enumerate(frames):
            still = client.detect(frame.pixels, channels="BGR", conf=0.4)
            assert frame.index == index
            assert frame.result.class_id.tolist() == still.class_id.tolist()
            np.testing.assert_allclose(frame.result.xyxy, still.xyxy, atol=0.01)

    assert index == len(scenes) - 1


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Return a server of yolov8n."""
    repository = tmp_path_factory.mktemp("photographs") / "repository"
    export(Path(os.environ["YOLOV8_WEIGHTS_DIR"]) / "yolov8n.pt", Target(repository=repository, name="yolov8n"))
    with TritonServer(repository, stop_timeout_s=0) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A video that something walks through, and who finds it."""

    url: str
    model: str
    path: Path
    class_name: str


def drawn_footage(folder: Path, server: TritonServer) -> Footage:
    """Draw a scene that moves to the right."""
    drawn = shapes.scene(SEED, "detect")
    frames = [np.roll(drawn.image, step, axis=1) for step in range(24)]
    return Footage(
        url=server.grpc_url,
        model=MODEL,
        path=clip(folder / "moving.avi", frames),
        class_name=shapes.LABELS[drawn.shapes[0].class_id],
    )


@pytest.fixture(params=kinds("YOLOV8_VIDEO_DIR"))
def footage(request: pytest.FixtureRequest, tmp_path: Path) -> Footage:
    if request.param == "drawn":
        return drawn_footage(tmp_path, request.getfixturevalue("server"))
    (path,) = Path(os.environ["YOLOV8_VIDEO_DIR"]).glob("*.mp4")
    url = request.getfixturevalue("photographs").grpc_url
    return Footage(url=url, model="yolov8n", path=path, class_name="person")


def test_what_moves_through_a_video_keeps_its_number(footage: Footage) -> None:
    with (
        Client(footage.url, model=footage.model, timeout_s=60) as client,
        video(client.detect, footage.path, tracker="bytetrack", conf=0.5, classes=footage.class_name) as frames,
    ):
        seen = list(islice(frames, PART))

    assert len(seen) >= 24
    assert [frame.index for frame in seen] == list(range(len(seen)))
    assert all(frame.error is None for frame in seen)
    numbers = Counter(number for frame in seen for number in frame.result.tracker_id.tolist())
    print(numbers)
    (_, longest), *_ = numbers.most_common()
    assert longest > sum(numbers.values()) / 2  # one at a time is there


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Annotated images, who finds what is in them, and the mAP50-95 that it reaches."""

    url: str
    model: str
    folder: Path
    expected: float
    tolerance: float


@pytest.fixture(params=kinds("YOLOV8_COCO_DIR"))
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    if request.param == "drawn":
        write_scenes(tmp_path, SEED, 20)
        url = request.getfixturevalue("server").grpc_url
        return Dataset(url=url, model=MODEL, folder=tmp_path, expected=0.9, tolerance=0.1)
    url, folder = request.getfixturevalue("photographs").grpc_url, Path(os.environ["YOLOV8_COCO_DIR"])
    return Dataset(url=url, model="yolov8n", folder=folder, expected=0.433, tolerance=0.001)  # as parity measures


def test_coco_results_of_the_command_line_reach_the_expected_precision(dataset: Dataset, tmp_path: Path) -> None:
    truth, results = dataset.folder / "instances.json", tmp_path / "results.json"
    command = [sys.executable, "-m", "yolov8_triton", "detect", str(dataset.folder / "images"), *EVALUATION]
    command += ["--url", dataset.url, "--model", dataset.model, "--json", "--timeout", "60"]
    command += ["--coco", str(results), "--coco-truth", str(truth)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)

    assert (done.returncode, done.stderr) == (0, "")
    measured = average_precision(truth, results)
    print(f"mAP50-95 {measured:.4f}")
    assert measured == pytest.approx(dataset.expected, abs=dataset.tolerance)
