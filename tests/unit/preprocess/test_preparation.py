# SPDX-License-Identifier: Apache-2.0
"""From what a request carries to the member's outputs."""

from __future__ import annotations

import json

import numpy as np
import pixels
import pytest
from preparation import Preparation, Raw

from tests import corpus
from yolov8_contract.errors import InvalidImageError, InvalidParameterError, RequestError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

IMAGE = corpus.encode(corpus.drawn(), "PNG")


def preparation(task: Task = Task.DETECT, **limits: int) -> Preparation:
    model = ServedModel(task=task, labels=("cat", "dog"), imgsz=(64, 96))
    return Preparation(model, ParameterPolicy(task=task, num_classes=2), ImageLimits(**limits))


def raw(*images: bytes, **parameters: object) -> Raw:
    count = len(images)
    array = np.frombuffer(b"".join(images), np.uint8).reshape(count, -1 if count else 0)
    return Raw(json.dumps(parameters), array)


@pytest.mark.parametrize("task", [Task.DETECT, Task.CLASSIFY], ids=lambda task: task.value)
def test_the_outputs_are_an_input_and_the_shape_as_displayed(task: Task) -> None:
    outputs = preparation(task).run(raw(IMAGE))

    assert outputs["images"].shape == (1, 3, 64, 96)
    assert outputs["images"].dtype == np.float32
    assert outputs["orig_shape"].dtype == np.int32
    assert outputs["orig_shape"].tolist() == [[120, 161]]


def test_a_network_that_takes_uint8_gets_pixels() -> None:
    model = ServedModel(task=Task.DETECT, labels=("cat", "dog"), imgsz=(64, 96), network_input="uint8")
    policy = ParameterPolicy(task=Task.DETECT, num_classes=2)

    images = Preparation(model, policy, ImageLimits()).run(raw(IMAGE))["images"]

    assert (images.dtype, images.shape) == (np.uint8, (1, 64, 96, 3))


def test_a_network_that_takes_channels_last_gets_the_same_numbers() -> None:
    policy = ParameterPolicy(task=Task.DETECT, num_classes=2)
    planes, last = (
        Preparation(
            ServedModel(task=Task.DETECT, labels=("cat", "dog"), imgsz=(64, 96), network_input=network_input),
            policy,
            ImageLimits(),
        ).run(raw(IMAGE))["images"]
        for network_input in ("fp32", "fp32-nhwc")
    )

    assert last.dtype == np.float32
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(last, planes.transpose(0, 2, 3, 1))


def test_a_classifier_s_image_is_not_letterboxed() -> None:
    detect, classify = (preparation(task).run(raw(IMAGE))["images"] for task in (Task.DETECT, Task.CLASSIFY))

    assert (detect[..., 0] == np.float32(114) / np.float32(255)).all()
    assert (classify[..., 0] != np.float32(114) / np.float32(255)).any()


@pytest.mark.parametrize(
    ("request_", "limits", "error", "reason"),
    [
        pytest.param(raw(IMAGE, conf=2), {}, InvalidParameterError, "'conf' must be", id="parameter"),
        pytest.param(raw(b"text"), {}, InvalidImageError, "its format is unknown", id="image"),
        pytest.param(raw(b"text", conf=2), {}, InvalidParameterError, "'conf'", id="both: the cheaper check first"),
        pytest.param(raw(IMAGE, IMAGE), {}, InvalidImageError, "one image per request, got 2", id="two-images"),
        pytest.param(raw(), {}, InvalidImageError, "one image per request, got 0", id="no-image"),
        pytest.param(raw(IMAGE), {"max_pixels": 99}, InvalidImageError, "at most 99 are allowed", id="pixels"),
        pytest.param(raw(IMAGE), {"max_bytes": 99}, InvalidImageError, "at most 99 are allowed", id="bytes"),
    ],
)
def test_what_can_be_told_beforehand_is_refused_before_decoding(
    request_: Raw,
    limits: dict[str, int],
    error: type[RequestError],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixels, "decode", lambda content: pytest.fail(f"{len(content)} bytes were decoded"))

    with pytest.raises(error, match=reason):
        preparation(**limits).run(request_)
