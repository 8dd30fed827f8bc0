# SPDX-License-Identifier: Apache-2.0
"""Suppression of upright boxes against torchvision's, which Ultralytics uses."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision

from yolov8_contract.nms import suppress

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int32]

ALL = 10**6


def reference(boxes: Floats, classes: Classes, iou: float, agnostic: bool = False) -> list[int]:
    """Suppress as Ultralytics calls torchvision: classes moved apart, the order given by falling scores."""
    moved = torch.tensor(boxes) + (0 if agnostic else torch.tensor(classes, dtype=torch.float32)[:, None] * 7680)
    scores = torch.arange(len(boxes), 0, -1, dtype=torch.float32)
    return torchvision.ops.nms(moved, scores, iou).tolist()


def crowd(seed: int, count: int, spread: float, classes: int) -> tuple[Floats, Classes]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, spread, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 120, (count, 2))], axis=1)
    return boxes.astype(np.float32), rng.integers(0, classes, count).astype(np.int32)


def alike(count: int) -> tuple[Floats, Classes]:
    return np.tile(np.array([10, 10, 50, 50], np.float32), (count, 1)), np.zeros(count, np.int32)


def apart(count: int) -> tuple[Floats, Classes]:
    start = 10 * np.arange(count, dtype=np.float32)
    return np.stack([start, start, start + 8, start + 8], axis=1), np.zeros(count, np.int32)


@pytest.mark.parametrize(
    ("boxes", "classes"),
    [
        pytest.param(*crowd(0, 46, 300, 1), id="few"),
        pytest.param(*crowd(1, 700, 300, 80), id="many-classes"),
        pytest.param(*crowd(2, 1500, 640, 2), id="many"),
        pytest.param(*crowd(9, 900, 2500, 5), id="a-large-input"),
        pytest.param(*crowd(3, 1, 10, 1), id="one"),
        pytest.param(*crowd(4, 128, 50, 1), id="one-block"),
        pytest.param(*crowd(5, 129, 50, 1), id="one-more-than-a-block"),
        pytest.param(np.round(crowd(6, 600, 20, 1)[0]), crowd(6, 600, 20, 1)[1], id="whole-pixels"),
        pytest.param(*alike(300), id="identical"),
        pytest.param(*apart(300), id="apart"),
        pytest.param(np.zeros((5, 4), np.float32), np.zeros(5, np.int32), id="without-area"),
        pytest.param(np.empty((0, 4), np.float32), np.empty(0, np.int32), id="none"),
    ],
)
def test_the_same_boxes_stay(boxes: Floats, classes: Classes) -> None:
    for iou, agnostic in itertools.product((0.0, 0.3, 0.45, 0.5, 0.6, 0.7, 0.9, 1.0), (False, True)):
        kept = suppress(boxes, classes, iou=iou, max_det=ALL, agnostic=agnostic)

        assert kept.tolist() == reference(boxes, classes, iou, agnostic), (iou, agnostic)


def test_an_overlap_of_just_the_threshold_is_decided_as_torchvision_does() -> None:
    for iou, width in itertools.product((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), range(1, 11)):
        boxes = np.array([[0, 0, 10, 1], [0, 0, width, 1]], np.float32)
        classes = np.zeros(2, np.int32)

        assert suppress(boxes, classes, iou=iou, max_det=ALL).tolist() == reference(boxes, classes, iou), (iou, width)


@pytest.mark.parametrize("max_det", [1, 7, 127, 128, 129, 200])
def test_stopping_at_max_det_is_cutting_afterwards(max_det: int) -> None:
    boxes, classes = crowd(7, 900, 600, 3)
    everything = suppress(boxes, classes, iou=0.5, max_det=ALL)
    assert len(everything) > 200

    assert suppress(boxes, classes, iou=0.5, max_det=max_det).tolist() == everything[:max_det].tolist()


def test_a_box_that_fell_takes_no_other_with_it() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)

    assert suppress(boxes, np.zeros(3, np.int32), iou=0.4, max_det=ALL).tolist() == [0, 2]


@pytest.mark.parametrize(
    "boxes", [alike(8400)[0], apart(8400)[0], crowd(8, 8400, 640, 1)[0]], ids=["alike", "apart", "crowd"]
)
def test_every_anchor_of_a_network_takes_no_memory_to_speak_of(boxes: Floats) -> None:
    tracemalloc.start()
    suppress(boxes, np.zeros(len(boxes), np.int32), iou=0.7, max_det=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8e6  # all pairs would be 280 MB for each intermediate result
