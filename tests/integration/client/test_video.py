# SPDX-License-Identifier: Apache-2.0
"""Videos and COCO results with a real server; real footage and photographs where their data is set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.clips import clip
from tests.coco import average_precision
from tests.data import shapes
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client, video

MODEL = "shapes-detect"
SEED = 70_000
PART = 120
"""Frames of the real clip; the benchmark runs all of them."""
PARITY_MAP = 0.433
EVALUATION = ("--conf", "0.001", "--iou", "0.6", "--max-det", "300")


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if not os.environ.get(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not set")


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
    with TritonServer(repository) as running:
        yield running


@needs("YOLOV8_WEIGHTS_DIR", "YOLOV8_VIDEO_DIR")
def test_a_person_in_real_footage_is_followed(photographs: TritonServer) -> None:
    (path,) = Path(os.environ["YOLOV8_VIDEO_DIR"]).glob("*.mp4")
    with (
        Client(photographs.grpc_url, model="yolov8n", timeout_s=60) as client,
        video(client.detect, path, tracker="bytetrack", conf=0.5, classes="person") as frames,
    ):
        seen = list(islice(frames, PART))

    assert [frame.index for frame in seen] == list(range(PART))
    assert all(frame.error is None for frame in seen)
    numbers = Counter(number for frame in seen for number in frame.result.tracker_id.tolist())
    print(numbers)
    (_, longest), *_ = numbers.most_common()
    assert longest > sum(numbers.values()) / 2  # one person at a time walks through it


@needs("YOLOV8_WEIGHTS_DIR", "YOLOV8_COCO_DIR")
def test_coco_results_of_the_command_line_reach_the_map_of_parity(photographs: TritonServer, tmp_path: Path) -> None:
    coco = Path(os.environ["YOLOV8_COCO_DIR"])
    command = [sys.executable, "-m", "yolov8_triton", "detect", str(coco / "images"), *EVALUATION]
    command += ["--url", photographs.grpc_url, "--json", "--timeout", "60"]

    options = ["--coco", str(tmp_path / "results.json"), "--coco-truth", str(coco / "instances.json")]

    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=240)

    assert (done.returncode, done.stderr) == (0, "")
    measured = average_precision(coco / "instances.json", tmp_path / "results.json")
    print(f"mAP50-95 {measured:.4f}")
    assert measured == pytest.approx(PARITY_MAP, abs=0.001)
