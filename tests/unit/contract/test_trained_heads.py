# SPDX-License-Identifier: Apache-2.0
"""Outputs of trained networks, postprocessed here and by Ultralytics' ``predict``."""

from __future__ import annotations

from functools import cache

import pytest

from tests.data import figures, shapes
from tests.networks import Network
from tests.unit.contract import ultralytics_answers
from tests.unit.contract.test_postprocess import assert_same
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess

TASKS: list[shapes.ShapeTask] = ["detect", "segment", "pose", "obb"]
SIZES = [(160, 160), (120, 213), (97, 61), (480, 640), (1, 1), (1, 700), (333, 500)]


@cache
def network(task: shapes.ShapeTask) -> Network:
    return Network(figures.weights_path(task), shapes.DEFAULT_SIZE)


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
    for seed, size in enumerate(SIZES):
        # The scene is drawn at a size that has room for shapes; single rows and pixels are cut from it.
        image = shapes.scene(figures.HELD_OUT[seed], task, size=(max(size[0], 97), max(size[1], 97))).image
        image = image[: size[0], : size[1]].copy()

        answer = postprocess(served, network(task).outputs(image), size, parameters)

        expected = ultralytics_answers.arrays(served.task, network(task).predict(image, parameters))
        assert_same(answer, expected, size)
        found += int(answer["num_detections"][0])
    assert found >= 7
