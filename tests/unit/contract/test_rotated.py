# SPDX-License-Identifier: Apache-2.0
"""Suppression of rotated boxes against Ultralytics' Fast-NMS over the whole matrix of overlaps."""

from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
import torch
from ultralytics.utils.metrics import batch_probiou
from ultralytics.utils.nms import TorchNMS

from yolov8_contract.rotated import suppress_rotated

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int32]

ALL = 10**6


def reference(boxes: Floats, classes: Classes, iou: float, agnostic: bool = False) -> list[int]:
    moved = torch.tensor(boxes)
    if not agnostic:
        moved[:, :2] += torch.tensor(classes, dtype=torch.float32)[:, None] * 7680
    scores = torch.arange(len(boxes), 0, -1, dtype=torch.float32)
    return TorchNMS.fast_nms(moved, scores, iou, iou_func=batch_probiou).tolist()


def crowd(seed: int, objects: int, each: int, *, size: tuple[float, float] = (20, 100), classes: int = 3) -> Floats:
    """Return boxes around some objects, in random order: centre, size, angle and class in the last column."""
    rng = np.random.default_rng(seed)
    centre, side = rng.uniform(0, 640, (objects, 2)), rng.uniform(*size, (objects, 2))
    angle = rng.uniform(-np.pi / 4, 3 * np.pi / 4, (objects, 1))
    owner = rng.permutation(np.repeat(np.arange(objects), each))
    boxes = np.concatenate([centre, side, angle, np.arange(objects)[:, None] % classes], axis=1)[owner]
    boxes[:, :2] += rng.normal(0, 2, (len(owner), 2))
    boxes[:, 2:4] *= rng.uniform(0.9, 1.1, (len(owner), 2))
    boxes[:, 4] += rng.normal(0, 0.05, len(owner))
    return boxes.astype(np.float32)


def shaped(width: float, height: float, count: int = 200) -> Floats:
    """Return boxes of one size all over an image, one class."""
    rng = np.random.default_rng(int(width * 100 + height))
    boxes = np.zeros((count, 6), np.float32)
    boxes[:, :2] = rng.uniform(0, 640, (count, 2))
    boxes[:, 2:4] = width, height
    boxes[:, 4] = rng.uniform(-np.pi / 4, 3 * np.pi / 4, count)
    return boxes


CROWDS = [
    pytest.param(crowd(0, 5, 8), id="few"),
    pytest.param(crowd(1, 60, 8), id="crowded"),
    pytest.param(crowd(2, 150, 4, classes=80), id="many-classes"),
    pytest.param(crowd(3, 40, 10, size=(200, 600), classes=1), id="large"),
    pytest.param(crowd(4, 1, 1), id="one"),
    pytest.param(np.repeat(crowd(5, 1, 1), 300, axis=0), id="identical"),
    pytest.param(shaped(0.05, 0.05), id="specks"),
    pytest.param(shaped(0.1, 0.05) * np.array([0.005, 0.005, 1, 1, 1, 1], np.float32), id="specks-in-a-heap"),
    pytest.param(shaped(0, 0), id="without-area"),
    pytest.param(shaped(0.3, 600), id="needles"),
    pytest.param(shaped(1e6, 3e5), id="giants"),
    pytest.param(np.concatenate([crowd(6, 40, 8), shaped(2000, 3, 40), shaped(0.1, 0.1, 40)]), id="mixed"),
    pytest.param(np.empty((0, 6), np.float32), id="none"),
]


@pytest.mark.parametrize("rows", CROWDS)
def test_the_same_boxes_stay(rows: Floats) -> None:
    boxes, classes = rows[:, :5], rows[:, 5].astype(np.int32)

    for iou, agnostic in [(0.1, False), (0.5, False), (0.7, False), (0.7, True), (0.99, False), (1.0, False)]:
        kept = suppress_rotated(boxes, classes, iou=iou, max_det=ALL, agnostic=agnostic)

        assert kept.tolist() == reference(boxes, classes, iou, agnostic), (iou, agnostic)


@pytest.mark.parametrize("max_det", [1, 3, 60, 61, 62, 63, 64, 65, 256, 300])
def test_stopping_at_max_det_is_cutting_afterwards(max_det: int) -> None:
    rows = crowd(8, 400, 3)
    boxes, classes = rows[:, :5], rows[:, 5].astype(np.int32)
    everything = suppress_rotated(boxes, classes, iou=0.7, max_det=ALL)
    assert len(everything) > 300

    kept = suppress_rotated(boxes, classes, iou=0.7, max_det=max_det)

    assert kept.tolist() == everything[:max_det].tolist()


@pytest.mark.parametrize("before", [1, 10, 63, 64, 65, 200, 511, 512, 513])
def test_a_box_falls_by_one_that_fell_however_many_are_better(before: int) -> None:
    boxes = np.tile(np.array([0, 0, 40, 40, 0.3], np.float32), (before + 2, 1))
    boxes[:, 0] = 1000 * np.arange(before + 2)
    boxes[before:, 0] = boxes[before - 1, 0] + np.array([8, 16])

    kept = suppress_rotated(boxes, np.zeros(len(boxes), np.int32), iou=0.7, max_det=before + 1)

    assert kept.tolist() == list(range(before))


def test_a_box_that_fell_takes_others_with_it() -> None:
    step = np.arange(3, dtype=np.float32)[:, None] * np.array([8, 0, 0, 0, 0], np.float32)
    boxes = np.array([50, 50, 40, 40, 0.3], np.float32) + step

    assert suppress_rotated(boxes, np.zeros(3, np.int32), iou=0.7, max_det=ALL).tolist() == [0]


def test_what_came_in_is_left_as_it_was() -> None:
    rows = crowd(9, 5, 8)
    boxes = rows[:, :5].copy()
    boxes.flags.writeable = False

    assert len(suppress_rotated(boxes, rows[:, 5].astype(np.int32), iou=0.7, max_det=ALL)) > 1


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(np.repeat(crowd(5, 1, 1), 8400, axis=0), id="identical"),
        pytest.param(crowd(10, 8400, 1, size=(5, 300), classes=1), id="crowd"),
    ],
)
def test_every_anchor_of_a_network_takes_little_memory(rows: Floats) -> None:
    tracemalloc.start()
    suppress_rotated(rows[:, :5], rows[:, 5].astype(np.int32), iou=0.7, max_det=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16e6  # all pairs would be 280 MB for each intermediate result
