# SPDX-License-Identifier: Apache-2.0
"""A network that differs from what it was made from is refused, whatever differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import VerificationError
from yolov8_export.graph.verify import seeded_images, verify
from yolov8_export.runtime import Array, Run

CLASSES, ANCHORS, POINTS = 3, 5, 2
EXTRA = {Task.SEGMENT: 4, Task.POSE: POINTS * 3, Task.OBB: 1}


def model_of(task: Task) -> ServedModel:
    labels = tuple(f"class {index}" for index in range(CLASSES))
    return ServedModel(task=task, labels=labels, imgsz=(32, 64), kpt_shape=(POINTS, 3) if task is Task.POSE else None)


def network(task: Task, *, row: int | None = None, masks: float = 0.0, off: float = 0.0) -> Run:
    """Output numbers that depend on each image; ``off`` is added to one row, ``masks`` to the prototypes."""

    def run(images: Array) -> Sequence[Array]:
        bright = images.mean(axis=(1, 2, 3))[:, np.newaxis, np.newaxis]
        if task is Task.CLASSIFY:
            scores = np.repeat(bright[:, :, 0] / CLASSES, CLASSES, axis=1)
            scores[:, 0] += off
            return [scores]
        rows = np.ones((1, 4 + CLASSES + EXTRA.get(task, 0), ANCHORS), np.float32) * bright
        rows[:, :4] *= 60
        if row is not None:
            rows[:, row] += off
        return [rows, np.ones((1, 4, 8, 16)) * bright[..., np.newaxis] + masks] if task is Task.SEGMENT else [rows]

    return run


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_the_same_network_differs_by_nothing(task: Task) -> None:
    verification = verify(network(task), network(task), model_of(task), against="checkpoint")

    assert set(verification.differences.values()) == {0.0}
    assert verification.images == 3


@pytest.mark.parametrize(
    ("task", "wrong", "name"),
    [
        pytest.param(Task.DETECT, {"row": 3, "off": 0.5}, "boxes_px", id="boxes"),
        pytest.param(Task.DETECT, {"row": 4, "off": 0.001}, "scores", id="scores"),
        pytest.param(Task.CLASSIFY, {"off": 0.001}, "scores", id="probabilities"),
        pytest.param(Task.SEGMENT, {"row": 8, "off": 0.1}, "mask_coefficients", id="mask-coefficients"),
        pytest.param(Task.SEGMENT, {"masks": 0.1}, "mask_prototypes", id="mask-prototypes"),
        pytest.param(Task.POSE, {"row": 8, "off": 0.5}, "keypoints_px", id="keypoints"),
        pytest.param(Task.POSE, {"row": 9, "off": 0.001}, "visibility", id="visibility"),
        pytest.param(Task.OBB, {"row": 7, "off": 0.01}, "angles_rad", id="angles"),
        pytest.param(Task.DETECT, {"row": 0, "off": float("nan")}, "boxes_px", id="not-a-number"),
    ],
)
def test_a_difference_beyond_the_limit_is_named(task: Task, wrong: dict[str, float], name: str) -> None:
    with pytest.raises(VerificationError, match=f"{name} differ by .*, allowed"):
        verify(network(task, **wrong), network(task), model_of(task), against="checkpoint")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_compute_no_numbers_are_refused(value: float) -> None:
    broken = network(Task.DETECT, row=5, off=value)

    with pytest.raises(VerificationError, match=r"the checkpoint gives NaN or infinity .* training diverged"):
        verify(broken, broken, model_of(Task.DETECT), against="checkpoint")


def test_a_network_that_mixes_the_images_of_a_batch_is_refused() -> None:
    def mixing(images: Array) -> Sequence[Array]:
        return network(Task.DETECT)(images.mean(axis=0, keepdims=True).repeat(len(images), axis=0))

    with pytest.raises(VerificationError, match="differ by"):
        verify(mixing, network(Task.DETECT), model_of(Task.DETECT), against="checkpoint")


def test_a_network_of_another_shape_is_refused() -> None:
    def shorter(images: Array) -> Sequence[Array]:
        return [output[..., :-1] for output in network(Task.DETECT)(images)]

    with pytest.raises(VerificationError, match=r"checkpoint gives \(1, 4, 5\), the ONNX network \(1, 4, 4\)"):
        verify(shorter, network(Task.DETECT), model_of(Task.DETECT), against="checkpoint")


def test_images_are_the_same_each_time_and_differ_from_each_other() -> None:
    images = seeded_images((32, 64), 2)

    assert images.shape == (2, 3, 32, 64)
    assert images.min() >= 0
    assert images.max() <= 1
    assert np.array_equal(images, seeded_images((32, 64), 2))
    assert not np.array_equal(images[0], images[1])
