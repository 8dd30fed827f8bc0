# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from yolov8_contract import rle
from yolov8_contract.task import Task
from yolov8_loadtest.scenario.scenario import Tolerance
from yolov8_loadtest.workload.answers import difference
from yolov8_triton import ClassProbabilities, Detections, OrientedBoxes, Poses, Result, Segmentations

LABELS = ("circle", "square")
SIZE = (100, 200)
XYXY = np.array([[10, 10, 60, 60], [100, 20, 150, 80], [5, 70, 40, 95]], np.float32)
COMMON: dict[str, Any] = {
    "confidence": np.array([0.9, 0.6, 0.3], np.float32),
    "class_id": np.array([0, 1, 0], np.int32),
    "labels": LABELS,
    "orig_shape": SIZE,
}


def masks(boxes: np.ndarray) -> np.ndarray:
    encoded = np.empty(len(boxes), np.object_)
    for number, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        mask = np.zeros(SIZE, np.bool_)
        mask[y1:y2, x1:x2] = True
        columns = np.concatenate([[False], mask.ravel(order="F")])
        ends = np.append(np.flatnonzero(columns[1:] != columns[:-1]), mask.size)
        encoded[number] = rle.encode([np.diff(ends, prepend=0)])[0]
    return encoded


EXPECTED: dict[Task, Result] = {
    Task.DETECT: Detections(xyxy=XYXY, **COMMON),
    Task.SEGMENT: Segmentations(xyxy=XYXY, rle=masks(XYXY), **COMMON),
    Task.POSE: Poses(xyxy=XYXY, keypoints=np.stack([XYXY[:, :2], XYXY[:, 2:]], axis=1), **COMMON),
    Task.OBB: OrientedBoxes(
        xywhr=np.array([[50, 50, 40, 20, 0.5], [120, 50, 30, 10, 1.0], [30, 80, 20, 15, 0.1]], np.float32), **COMMON
    ),
    Task.CLASSIFY: ClassProbabilities(scores=np.array([0.8, 0.2], np.float32), labels=LABELS, orig_shape=SIZE),
}
DETECT = EXPECTED[Task.DETECT]
assert isinstance(DETECT, Detections)


@pytest.mark.parametrize("task", EXPECTED)
def test_the_same_answer_is_right(task: Task) -> None:
    assert difference(EXPECTED[task], EXPECTED[task], Tolerance()) is None


@pytest.mark.parametrize("task", [task for task in EXPECTED if task is not Task.CLASSIFY])
def test_the_order_of_objects_says_nothing(task: Task) -> None:
    expected: Any = EXPECTED[task]

    assert difference(expected, expected[[2, 0, 1]], Tolerance()) is None


WRONG = {
    "another-class": replace(DETECT, class_id=np.array([1, 1, 0], np.int32)),
    "another-score": replace(DETECT, confidence=np.array([0.8, 0.6, 0.3], np.float32)),
    "moved-box": replace(DETECT, xyxy=XYXY + np.float32(3)),
    "one-missing": DETECT[:2],
    "none-there": DETECT[:0],
    "one-twice": DETECT[[0, 1, 2, 2]],
    "another-image": replace(DETECT, orig_shape=(100, 201)),
    "another-kind": EXPECTED[Task.POSE],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_told(wrong: Result) -> None:
    assert difference(DETECT, wrong, Tolerance()) is not None


def test_an_answer_within_the_tolerance_is_right() -> None:
    near = replace(DETECT, xyxy=XYXY + np.float32(0.05), confidence=DETECT.confidence - np.float32(0.005))

    assert difference(DETECT, near, Tolerance()) is None


def test_an_object_next_to_the_threshold_may_be_missing_or_there() -> None:
    faint = replace(DETECT, confidence=np.array([0.9, 0.6, 0.255], np.float32))

    assert difference(faint, faint[:2], Tolerance(), conf=0.25) is None
    assert difference(faint[:2], faint, Tolerance(), conf=0.25) is None
    assert difference(faint, faint[:2], Tolerance(), conf=0.1) is not None


@pytest.mark.parametrize(
    ("task", "wrong", "said"),
    [
        pytest.param(Task.SEGMENT, {"rle": masks(XYXY - 5)}, "a mask overlaps", id="segment"),
        pytest.param(
            Task.POSE, {"keypoints": np.stack([XYXY[:, :2], XYXY[:, 2:] + 2], axis=1)}, "a keypoint", id="pose"
        ),
        pytest.param(Task.OBB, {"xywhr": EXPECTED[Task.OBB].xywhr + np.float32([0, 0, 0, 0, 0.2])}, "of 3", id="obb"),
        pytest.param(Task.CLASSIFY, {"scores": np.array([0.7, 0.3], np.float32)}, "a probability", id="classify"),
    ],
)
def test_what_objects_have_beside_their_boxes_is_compared(task: Task, wrong: dict[str, Any], said: str) -> None:
    assert said in str(difference(EXPECTED[task], replace(EXPECTED[task], **wrong), Tolerance(iou=0.9)))


def test_two_answers_without_objects_are_the_same() -> None:
    assert difference(DETECT[:0], DETECT[:0], Tolerance()) is None
