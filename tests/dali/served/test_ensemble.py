# SPDX-License-Identifier: Apache-2.0
"""The gpu profile's ensemble with real DALI in it: answers, refusals, batches and errors."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests import corpus
from tests.dali.served.conftest import CPU, GPU
from tests.data import shapes
from tests.parity.matching import box_iou
from tests.raw_request import clients_fixture, executions, raw_fixture
from yolov8_server import StartError, TritonServer
from yolov8_triton import Client, Detections, InvalidImageError

GOOD = corpus.good_images()


def picture(seed: int) -> bytes:
    """Return a JPEG; its size and so its length differ from those of other seeds."""
    size = (320 + 16 * (seed % 9), 480 - 24 * (seed % 7))
    return cv2.imencode(".jpg", shapes.scene(90_000 + seed, "detect", size=size).image)[1].tobytes()


clients = clients_fixture(CPU, GPU)
raw = raw_fixture()


def assert_alike(one: Detections, other: Detections) -> None:
    """Each certain object of an answer has its partner in the other; pixels of the decoders differ by some 1 of 255."""
    for mine, yours in ((one, other), (other, one)):
        same = mine.class_id[:, None] == yours.class_id[None]
        near = np.abs(mine.confidence[:, None] - yours.confidence[None]) < 0.1
        partners = same & near & (box_iou(mine.xyxy, yours.xyxy) > 0.9)
        assert partners.any(axis=1)[mine.confidence > 0.5].all(), (mine, yours)


def test_objects_are_those_of_the_cpu_profile(clients: dict[str, Client]) -> None:
    counts = 0

    for seed in range(16):
        found, expected = (clients[name].detect(picture(seed), conf=0.25) for name in (GPU, CPU))
        assert_alike(found, expected)
        counts += len(found)

    assert counts > 16


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("jpeg")])
def test_every_kind_of_jpeg_is_served(clients: dict[str, Client], name: str) -> None:
    found, expected = (clients[model].detect(GOOD[name], conf=0.25) for model in (GPU, CPU))

    assert found.orig_shape == expected.orig_shape
    assert_alike(found, expected)


def test_images_of_different_lengths_form_batches(clients: dict[str, Client], raw: Any) -> None:
    images = [picture(seed) for seed in range(24)]
    alone = [clients[GPU].detect(image).to_dict() for image in images]
    before = executions(raw, f"{GPU}_preprocess")

    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(clients[GPU].detect, images))

    after = executions(raw, f"{GPU}_preprocess")
    assert after[0] - before[0] == 24
    assert after[1] - before[1] < 24
    assert [json.dumps(answer.to_dict()) for answer in together] == [json.dumps(answer) for answer in alone]


def test_a_bad_jpeg_fails_alone(clients: dict[str, Client]) -> None:
    good = picture(1)
    mixed = [good, good[: len(good) // 2], good, b"no image", good]

    def answer(image: bytes) -> Any:
        try:
            return len(clients[GPU].detect(image))
        except InvalidImageError:
            return "refused"

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(answer, mixed))

    count = len(clients[GPU].detect(good))
    assert answers == [count, "refused", count, "refused", count]


def ask(raw: Any, content: bytes, *outputs: str) -> Any:
    data = np.frombuffer(content, np.uint8)[None]
    given = triton.InferInput("checked_image", list(data.shape), "UINT8")
    given.set_data_from_numpy(data)
    wanted = [triton.InferRequestedOutput(name) for name in outputs]
    return raw.infer(f"{GPU}_preprocess", [given], outputs=wanted, client_timeout=30)


def test_an_image_that_dali_cannot_decode_fails_with_unknown_and_the_next_one_is_answered(raw: Any) -> None:
    good = picture(2)

    with pytest.raises(triton.InferenceServerException, match="DALI error") as caught:
        ask(raw, good[: len(good) // 2], "images", "orig_shape")

    assert caught.value.status() == "StatusCode.UNKNOWN"
    assert ask(raw, good, "images", "orig_shape").as_numpy("images").shape[0] == 1


def test_a_request_must_ask_for_every_output(raw: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match=r"Number of outputs expected by the requests \(1\)"):
        ask(raw, picture(3), "images")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        pytest.param(
            r'(num_threads"\s+value {\s+string_value: )"\d+"', r'\1"many"', "num_threads is 'many'", id="threads"
        ),
        pytest.param('name: "checked_image"', 'name: "image"', "can't build the pipeline for the CPU", id="input"),
        pytest.param("cpu", "gpu", "can't build the pipeline for the CPU", id="a-graph-for-a-gpu"),
    ],
)
def test_a_model_that_cannot_run_is_refused_at_load_with_the_reason(
    repository: Path, plain_folder: Path, request: pytest.FixtureRequest, old: str, new: str, reason: str
) -> None:
    model = plain_folder / request.node.callspec.id.replace("-", "_") / f"{GPU}_preprocess"
    shutil.copytree(repository / model.name, model)
    changed = model / "1" / "settings.json" if old == "cpu" else model / "config.pbtxt"
    text = changed.read_text()
    text = text.split("model_warmup")[0] + 'backend: "dali"\n' if old != "cpu" else text
    changed.write_text(re.sub(old, new, text))

    with pytest.raises(StartError) as failed, TritonServer(model.parent, stop_timeout_s=0):
        pass

    assert reason in str(failed.value)
