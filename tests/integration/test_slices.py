# SPDX-License-Identifier: Apache-2.0
"""Images that the real server cuts: the same objects as by a request for each tile, and no harm to other requests."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.integration.conftest import DATA
from tests.sliced_by_client import best_first, differences, mosaic, sliced_by_client
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client, InvalidParameterError, ServerOverloadedError, YoloTritonError

TASKS = ("detect", "segment", "obb")
MAX_SLICES = 64
SIZE = (700, 900)


@pytest.fixture(scope="module")
def cutting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("cutting") / "repository"
    for task in TASKS:
        export(
            DATA / f"shapes-{task}.pt",
            Target(repository=folder, name=task),
            deployment=Deployment(max_slices=MAX_SLICES, timings=True),
        )
    export(DATA / "shapes-pose.pt", Target(repository=folder, name="pose"))
    export(DATA / "shapes-detect.pt", Target(repository=folder, name="whole"))
    with TritonServer(folder, stop_timeout_s=0) as running:
        yield running


@pytest.fixture
def client_of(cutting: TritonServer) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda model: stack.enter_context(Client(cutting.grpc_url, model=model, array_format="bmp", timeout_s=60))


@pytest.mark.parametrize(
    ("size", "overlap", "merge"), [(320, 0.2, "nmm"), (320, 0.2, "nms"), (400, 0.0, "nmm"), (1000, 0.2, "nmm")]
)
@pytest.mark.parametrize("task", TASKS)
def test_the_objects_are_those_of_a_request_for_each_tile(
    client_of: Any, task: str, size: int, overlap: float, merge: str
) -> None:
    image, client = mosaic(7, task, SIZE), client_of(task)
    call = getattr(client, task)
    expected = sliced_by_client(call, image, size=size, overlap=overlap, merge=merge)

    found = call(image, channels="BGR", slice=size, slice_overlap=overlap, slice_merge=merge)

    assert found.orig_shape == SIZE
    apart = differences(best_first(found.to_supervision()), expected)
    assert len(expected) > 3
    assert apart["box"] < 0.01
    assert apart.get("corner", 0) < 0.01
    assert apart["score"] < 1e-5
    assert apart["class"] == apart.get("mask", 0) == 0


@pytest.mark.parametrize("task", TASKS)
def test_options_hold_for_all_tiles(client_of: Any, task: str) -> None:
    image, call = mosaic(8, task, SIZE), getattr(client_of(task), task)
    options = {"conf": 0.5, "classes": ["square", "circle"], "iou": 0.4}

    found = call(image, channels="BGR", slice=320, **options)
    best = call(image, channels="BGR", slice=320, max_det=2, **options)

    expected = sliced_by_client(call, image, size=320, **options)
    assert differences(best_first(found.to_supervision()), expected)["box"] < 0.01
    assert set(found.class_name) <= {"square", "circle"}
    np.testing.assert_array_equal(best.confidence, found.confidence[:2])


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_an_image_is_cut_as_it_is_displayed(client_of: Any, tmp_path: Path, format_: str, orientation: int) -> None:
    picture = Image.fromarray(mosaic(9, "detect", SIZE)[..., ::-1].copy())
    exif = picture.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"picture.{format_.lower()}"
    picture.save(path, format_, exif=exif)
    shown = cv2.imread(str(path))
    client = client_of("detect")

    found = client.detect(path, slice=320)

    assert found.orig_shape == shown.shape[:2] == (SIZE if orientation == 1 else SIZE[::-1])
    expected = sliced_by_client(client.detect, shown, size=320)
    assert differences(best_first(found.to_supervision()), expected)["box"] < 0.01


def test_small_objects_are_found_that_a_whole_image_loses(client_of: Any) -> None:
    image, client = mosaic(10, "detect", (1600, 1600), cell=160), client_of("detect")

    whole = client.detect(image, channels="BGR")
    found = client.detect(image, channels="BGR", slice=400)

    assert len(found) > 2 * len(whole)


def test_more_tiles_than_allowed_are_refused_before_decoding(client_of: Any) -> None:
    bomb = cv2.imencode(".png", np.zeros((5000, 5000, 3), np.uint8))[1].tobytes()

    begin = time.perf_counter()
    with pytest.raises(InvalidParameterError, match=r"cuts this image of 5000 x 5000 into \d{5} tiles, at most 64"):
        client_of("detect").detect(bomb, slice=32, slice_overlap=0.4)
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize(
    ("model", "task", "reason"),
    [("pose", "pose", "a model of task 'pose' can't merge"), ("whole", "detect", "export the model with --max-slices")],
)
def test_models_that_do_not_cut_refuse_it(client_of: Any, model: str, task: str, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        getattr(client_of(model), task)(mosaic(1, "detect", (320, 320)), channels="BGR", slice=320)


def test_a_whole_image_has_the_answer_of_a_deployment_that_never_cuts(client_of: Any) -> None:
    image = mosaic(11, "detect", SIZE)

    one = client_of("detect").detect(image, channels="BGR", conf=0.01)
    other = client_of("whole").detect(image, channels="BGR", conf=0.01)

    for name in ("xyxy", "confidence", "class_id"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_whole_images_are_answered_while_others_are_cut(client_of: Any) -> None:
    """A request that is cut takes many times as long; those beside it don't wait for its end."""
    large, small = mosaic(12, "detect", (1700, 1700)), mosaic(13, "detect", (320, 320))
    client = client_of("detect")
    client.detect(large, channels="BGR", slice=400)
    done: dict[str, float] = {}

    def cut() -> None:
        client.detect(large, channels="BGR", slice=400)
        done["cut"] = time.perf_counter()

    thread = threading.Thread(target=cut)
    thread.start()
    time.sleep(0.1)
    client.detect(small, channels="BGR")
    done["whole"] = time.perf_counter()
    thread.join()

    assert done["whole"] < done["cut"]


def test_a_storm_of_both_is_answered_or_refused_as_overload(client_of: Any) -> None:
    large, small = mosaic(14, "detect", SIZE), mosaic(15, "detect", (320, 320))
    client = client_of("detect")
    expected = len(client.detect(large, channels="BGR", slice=320)), len(client.detect(small, channels="BGR"))

    def ask(number: int) -> int | YoloTritonError:
        options = {"slice": 320} if number % 2 else {}
        try:
            return len(client.detect(large if number % 2 else small, channels="BGR", **options))
        except ServerOverloadedError as exc:
            return exc

    with ThreadPoolExecutor(80) as pool:
        answers = list(pool.map(ask, range(160)))

    refused = [one for one in answers if isinstance(one, YoloTritonError)]
    assert {one for one in answers[1::2] if one not in refused} <= {expected[0]}
    assert {one for one in answers[::2] if one not in refused} <= {expected[1]}
    assert len(refused) < len(answers)
    assert len(client.detect(large, channels="BGR", slice=320)) == expected[0]


def test_the_command_line_and_the_example_cut(cutting: TritonServer, tmp_path: Path) -> None:
    image = tmp_path / "wall.png"
    cv2.imwrite(str(image), mosaic(18, "detect", SIZE))
    server = ["--url", cutting.grpc_url, "--model", "detect"]
    command = [sys.executable, "-m", "yolov8_triton", "detect", str(image), "--slice", "320", "--json", *server]
    example = [sys.executable, "examples/sliced.py", str(image), "--tile", "320", "--overlap", "64", "--conf", "0.25"]

    said = json.loads(subprocess.run([*command, "--timeout", "60"], capture_output=True, check=True).stdout)
    output = ["--output", str(tmp_path / "drawn.jpg")]
    done = subprocess.run([*example, *server, *output], capture_output=True, check=True, text=True, cwd=DATA.parents[1])

    with Client(cutting.grpc_url, model="detect") as client:
        found = client.detect(image, slice=320)
    assert len(said["objects"]) == len(found)
    assert f"by tiles: {found.summary()}" in done.stdout


def test_the_time_of_tiles_is_a_part_of_its_own(client_of: Any) -> None:
    image = mosaic(7, "detect", SIZE)

    whole, cut = (client_of("detect").detect(image, channels="BGR", timings=True, slice=size) for size in (0, 320))

    assert whole.timings.tiles_ms == 0 < cut.timings.tiles_ms
    assert sum(value for _, value in cut.timings.parts()) == pytest.approx(cut.timings.total_ms)


def test_tiles_that_would_be_late_are_given_up(client_of: Any) -> None:
    """The last one of this server: a call that is given up can end this release of Triton (docs/limits.md)."""
    client = client_of("segment")

    with pytest.raises(YoloTritonError, match=r"Request timeout expired|no answer within"):
        client.segment(mosaic(16, "segment", (1700, 1700)), channels="BGR", slice=400, timeout_s=0.15)

    assert client.segment(mosaic(17, "segment", SIZE), channels="BGR", slice=400).orig_shape == SIZE
