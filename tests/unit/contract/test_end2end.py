# SPDX-License-Identifier: Apache-2.0
"""The objects that an end-to-end network has chosen: only mapped to the image, as Ultralytics does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from yolov8_contract import signature
from yolov8_contract.errors import ConfigError, InvalidParameterError
from yolov8_contract.letterbox import Letterbox
from yolov8_contract.parameters import ParameterPolicy, RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

LABELS = ("circle", "square", "triangle")
SHAPE = (333, 500)
ROWS = [
    [10, 20, 60, 90, 0.9, 1],
    [11, 20, 60, 90, 0.8, 1],  # overlaps the first by more than any iou would allow
    [11, 20, 60, 90, 0.8, 2],
    [30, 40, 80, 100, 0.4, 0],
    [0, 0, 0, 0, 0, 0],
]


def served(task: Task = Task.DETECT) -> ServedModel:
    kpt_shape = (2, 3) if task is Task.POSE else None
    return ServedModel(task=task, labels=LABELS, imgsz=(160, 160), kpt_shape=kpt_shape, network_output="end2end")


def found(rows: Any, task: Task = Task.DETECT, **parameters: Any) -> dict[str, npt.NDArray[Any]]:
    return postprocess(served(task), [np.array(rows, np.float32)], SHAPE, RequestParameters(**parameters))


def test_boxes_are_mapped_to_the_image_and_none_is_suppressed() -> None:
    answer = found(ROWS)

    assert answer["num_detections"].tolist() == [4]
    assert answer["detection_classes"].tolist() == [1, 1, 2, 0]
    corners = np.array(ROWS[:4], np.float32)[:, :4]
    expected = Letterbox.fit(SHAPE, (160, 160)).boxes_to_image(corners)
    np.testing.assert_array_equal(answer["detection_boxes"], expected)


@pytest.mark.parametrize(
    ("parameters", "classes"),
    [
        ({"conf": 0.5}, [1, 1, 2]),
        ({"conf": 0.8}, [1]),
        ({"classes": (0, 2)}, [2, 0]),
        ({"max_det": 2}, [1, 1]),
        ({"classes": (0, 2), "max_det": 1}, [2]),
        ({"conf": 0.0}, [1, 1, 2, 0]),
    ],
    ids=["conf", "conf-itself-is-out", "classes", "max_det", "classes-before-max_det", "empty-rows-are-no-objects"],
)
def test_a_request_filters_by_confidence_then_class_then_number(parameters: dict[str, Any], classes: list[int]) -> None:
    assert found(ROWS, **parameters)["detection_classes"].tolist() == classes


def test_rows_that_are_not_finite_are_left_out() -> None:
    assert found([[np.nan, 0, 1, 1, 0.9, 1], *ROWS])["detection_classes"].tolist() == [1, 1, 2, 0]


def test_rotated_boxes_keep_centre_and_size() -> None:
    rows = [[80, 70, 30, 20, 0.9, 1, 0.5], [80, 70, 30, 20, 0.8, 1, 0.5]]

    answer = found(rows, Task.OBB)

    boxes = np.array(rows, np.float32)[:, [0, 1, 2, 3, 6]]
    np.testing.assert_array_equal(answer["detection_boxes"], Letterbox.fit(SHAPE, (160, 160)).rotated_to_image(boxes))


def test_keypoints_follow_their_boxes() -> None:
    answer = found([[10, 20, 60, 90, 0.9, 1, 30, 50, 0.7, 40, 60, 0.2]], Task.POSE)

    assert answer["detection_keypoints"].shape == (1, 2, 3)
    np.testing.assert_allclose(answer["detection_keypoints"][0, :, 2], [0.7, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("task", "head"),
    [
        (Task.DETECT, ((300, 6),)),
        (Task.SEGMENT, ((300, 38), (32, 40, 40))),
        (Task.POSE, ((300, 12),)),
        (Task.OBB, ((300, 7),)),
    ],
    ids=lambda value: value.value if isinstance(value, Task) else "",
)
def test_a_head_has_a_row_for_each_object(task: Task, head: signature.Head) -> None:
    assert signature.network(served(task), head).outputs[0].shape == head[0]
    with pytest.raises(ConfigError, match=r"with end2end output has the outputs \[objects, "):
        signature.network(served(task), (head[0][::-1], *head[1:]))


@pytest.mark.parametrize("parameters", [{"iou": 0.5}, {"agnostic": True}], ids=["iou", "agnostic"])
def test_parameters_of_a_suppression_are_refused(parameters: dict[str, Any]) -> None:
    policy = ParameterPolicy(task=Task.DETECT, num_classes=3, has_nms=False, max_slices=8)

    with pytest.raises(InvalidParameterError, match=r"has no effect on an end-to-end network.*--head one2many"):
        policy.parse(parameters)
    assert policy.parse({"conf": 0.5, "classes": "1", "max_det": 3}).max_det == 3


def test_agnostic_applies_to_the_objects_of_tiles() -> None:
    policy = ParameterPolicy(task=Task.DETECT, num_classes=3, has_nms=False, max_slices=8)

    assert policy.parse({"slice": 160, "agnostic": True}).agnostic
    with pytest.raises(InvalidParameterError, match="'iou' has no effect"):
        policy.parse({"slice": 160, "iou": 0.5})


def test_a_default_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="'iou' and 'agnostic' have no effect"):
        ParameterPolicy(task=Task.DETECT, num_classes=3, has_nms=False, defaults=RequestParameters(iou=0.5))


def test_a_configuration_keeps_the_output() -> None:
    model = served()
    config = {"name": "m", "parameters": {key: {"string_value": text} for key, text in model.to_parameters().items()}}

    assert ServedModel.from_config(config) == model
