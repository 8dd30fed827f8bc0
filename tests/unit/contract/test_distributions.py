# SPDX-License-Identifier: Apache-2.0
"""What a model sees and finds is counted in bins, in few messages to the server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.fakes.metrics import Family
from yolov8_contract import signature
from yolov8_contract.distributions import BRIGHTNESS, EDGES, METRIC, Distributions, of_answer, of_input
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def answer(task: Task, boxes: list[list[float]], scores: list[float], classes: list[int]) -> dict[str, Any]:
    width = 5 if task is Task.OBB else 4
    return {
        signature.ORIG_SHAPE.name: np.array([100, 400], np.int32),
        signature.BOXES.name: np.array(boxes, np.float32).reshape(-1, width),
        signature.SCORES.name: np.array(scores, np.float32),
        signature.CLASSES.name: np.array(classes, np.int32),
    }


def model(task: Task, labels: tuple[str, ...] = ("cat", "dog")) -> ServedModel:
    return ServedModel(task=task, labels=labels, imgsz=(64, 64))


ALL = ("score", "size", "objects", "megapixels")


@pytest.mark.parametrize(
    ("task", "boxes"),
    [
        pytest.param(Task.DETECT, [[0, 0, 400, 100], [10, 10, 30, 30]], id="detect"),
        pytest.param(Task.OBB, [[200, 50, 400, 100, 0.3], [20, 20, 20, 20, 1.5]], id="obb"),
    ],
)
def test_each_object_and_image_is_counted_in_its_bins(task: Task, boxes: list[list[float]]) -> None:
    family = Family()
    counters = Distributions(family, "m", ALL, ("cat", "dog"))

    counters.add(of_answer(model(task), answer(task, boxes, [0.5, 0.55], [1, 1])))
    counters.add(of_answer(model(task), answer(task, [], [], [])))
    counters.count()

    found = {key: value for key, value in family.values.items() if value}
    assert found == {
        ("score", "0.5"): 1,  # an edge belongs to the bin below it
        ("score", "0.6"): 1,
        ("size", "+Inf"): 1,
        ("size", "0.16"): 1,  # the root of 400 of 40,000 pixels is 0.1
        ("class", "dog"): 2,
        ("objects", "2"): 1,
        ("objects", "0"): 1,
        ("megapixels", "0.25"): 2,
    }
    assert family.names == {METRIC}


def test_all_counters_but_those_of_classes_exist_from_the_start() -> None:
    family = Family()

    Distributions(family, "m", ALL, ("cat", "dog"))

    assert len(family.values) == sum(len(EDGES[name]) + 1 for name in ALL)
    assert set(family.values.values()) == {0}


def test_a_name_that_two_classes_share_has_one_counter() -> None:
    family = Family()
    counters = Distributions(family, "m", ALL, ("crane", "crane"))

    labels = ("crane", "crane")
    two = answer(Task.DETECT, [[0, 0, 9, 9], [0, 0, 9, 9]], [0.5, 0.5], [0, 1])
    counters.add(of_answer(model(Task.DETECT, labels), two))
    counters.count()

    assert family.values["class", "crane"] == 2


def test_a_class_without_a_label_is_counted_under_none() -> None:
    family = Family()
    counters = Distributions(family, "m", ALL, ("cat", "dog"))

    boxes = [[0, 0, 9, 9]] * 3
    counters.add(of_answer(model(Task.DETECT), answer(Task.DETECT, boxes, [0.5] * 3, [1, 2, -1])))
    counters.count()

    assert {key: value for key, value in family.values.items() if key[0] == "class"} == {("class", "dog"): 1}
    assert family.values["score", "0.5"] == 3


def test_values_wait_so_that_messages_are_few() -> None:
    family, clock = Family(), Clock()
    counters = Distributions(family, "m", (BRIGHTNESS,), clock=clock)

    for _ in range(900):
        counters.add(of_input(np.full((1, 3, 64, 64), 0.44, np.float32)))
        counters.count_if_due()
    before = family.messages
    clock.now = 5.0
    counters.count_if_due()
    counters.count_if_due()

    assert (before, family.messages) == (0, 1)
    assert family.values[BRIGHTNESS, "0.5"] == 900


def test_what_waits_is_bounded_on_a_server_that_never_rests() -> None:
    family, clock = Family(), Clock()
    counters = Distributions(family, "m", (BRIGHTNESS,), clock=clock)

    for _ in range(1000):
        counters.add(of_input(np.zeros((1, 3, 64, 64), np.float32)))
        counters.count_if_due()

    assert family.values[BRIGHTNESS, "0.1"] == 1000


def test_all_inputs_of_a_network_are_equally_bright() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    pixels[..., 0] //= 2
    scaled = pixels.astype(np.float32) / 255

    (uint8, nhwc, nchw) = (of_input(images)[BRIGHTNESS][0] for images in (pixels, scaled, scaled.transpose(0, 3, 1, 2)))

    assert nhwc == pytest.approx(uint8, abs=1e-6)
    assert nchw == pytest.approx(uint8, abs=1e-6)
