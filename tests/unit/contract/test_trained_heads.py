# SPDX-License-Identifier: Apache-2.0
"""Outputs of trained networks, postprocessed here and by Ultralytics' ``predict``."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from tests.data import figures, shapes
from tests.networks import Network, Picture
from tests.unit.contract import ultralytics_answers
from tests.unit.contract.test_postprocess import assert_same
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess

TASKS: list[shapes.ShapeTask] = ["detect", "segment", "pose", "obb"]
SIZES = [(160, 160), (120, 213), (97, 61), (480, 640), (1, 1), (1, 700), (333, 500)]


@cache
def network(task: shapes.ShapeTask) -> Network:
    return Network(figures.weights_path(task), shapes.DEFAULT_SIZE)


@cache
def scenes(task: shapes.ShapeTask) -> list[tuple[Picture, list[npt.NDArray[np.float32]]]]:
    """Draw an image of each size; return it with the network's outputs for it."""
    drawn = []
    for seed, (height, width) in enumerate(SIZES):
        # The scene is drawn at a size that has room for shapes; single rows and pixels are cut from it.
        image = shapes.scene(figures.HELD_OUT[seed], task, size=(max(height, 97), max(width, 97))).image
        image = image[:height, :width].copy()
        drawn.append((image, network(task).outputs(image)))
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(RequestParameters(), id="defaults"),
        pytest.param(RequestParameters(conf=0.001, iou=0.6), id="evaluation"),
        pytest.param(RequestParameters(conf=0.1, iou=0.4, max_det=3, classes=(0, 2), agnostic=True), id="choosy"),
    ],
)
@pytest.mark.parametrize("task", TASKS)
def test_scenes_are_answered_as_by_predict(task: shapes.ShapeTask, parameters: RequestParameters) -> None:
    served, found = network(task).served, 0
    for image, outputs in scenes(task):
        size = image.shape[:2]

        answer = postprocess(served, outputs, size, parameters)

        expected = ultralytics_answers.arrays(served.task, network(task).predict(image, parameters))
        assert_same(answer, expected, size)
        found += int(answer["num_detections"][0])
    assert found >= 7
