# SPDX-License-Identifier: Apache-2.0
"""A reduced network whose boxes are right is refused if its masks, keypoints, angles or classes are ruined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import AccuracyError
from yolov8_export.precision.accuracy import SURE, Judge, check
from yolov8_export.precision.images import Picture
from yolov8_export.precision.objects import find_objects, overlaps
from yolov8_export.precision.truth import Truth
from yolov8_export.runtime import Array

IMGSZ = (64, 64)
PICTURE = Picture(Path("a.jpg"), np.zeros((1, 3, *IMGSZ), np.float32), IMGSZ)
POINTS = [20.0, 28.0, 1.0, 44.0, 36.0, 1.0]

Outputs = list[Array]


def model(task: Task) -> ServedModel:
    return ServedModel(task=task, labels=("cat", "ox"), imgsz=IMGSZ, kpt_shape=(2, 3) if task is Task.POSE else None)


def intact(task: Task) -> Outputs:
    """Return the outputs of a network that finds one object, 40 x 12 pixels in the middle of the image."""
    if task is Task.CLASSIFY:
        return [np.array([[0.9, 0.1]], np.float32)]
    extra = {Task.SEGMENT: [1.0], Task.POSE: POINTS, Task.OBB: [0.0]}[task]
    head = np.array([[32.0, 32.0, 40.0, 12.0, 0.9, 0.0, *extra]], np.float32)[:, :, np.newaxis]
    if task is not Task.SEGMENT:
        return [head]
    prototypes = np.full((1, 1, 16, 16), -1.0, np.float32)
    prototypes[..., :8] = 1  # the left half of the object
    return [head, prototypes]


def ruined(task: Task) -> Outputs:
    """Return the same outputs with ruined masks, keypoints, angles or classes; boxes and scores stay."""
    outputs = [output.copy() for output in intact(task)]
    if task is Task.SEGMENT:
        outputs[1] = -outputs[1]
    elif task is Task.POSE:
        outputs[0][0, 6:] = np.array([44.0, 28.0, 1.0, 20.0, 36.0, 1.0])[:, np.newaxis]
    elif task is Task.OBB:
        outputs[0][0, -1] = np.pi / 2
    else:
        outputs[0] = outputs[0][:, ::-1]
    return outputs


TASKS = [Task.SEGMENT, Task.POSE, Task.OBB, Task.CLASSIFY]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)


def judge(task: Task, reduced: Sequence[Array], truth: Truth | None = None) -> None:
    judge_of = Judge(lambda _: intact(task), model(task), [PICTURE], truth, engine="onnxruntime")
    check(judge_of(lambda _: reduced), max_map_loss=0.01, min_matched=0.9)


def annotated(folder: Path, task: Task) -> Truth:
    height = 40.0 if task is Task.OBB else 20.0
    annotation = {
        "id": 1, "image_id": 1, "category_id": 1, "bbox": [12.0, 26.0, 40.0, 12.0],
        "segmentation": [[12.0, 26.0, 12.0 + height, 26.0, 12.0 + height, 38.0, 12.0, 38.0]],
        "keypoints": POINTS,
    }  # fmt: skip
    said = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "ox"}],
        "annotations": [annotation],
    }
    (folder / "truth.json").write_text(json.dumps(said))
    return Truth(folder / "truth.json")


@every_task
def test_an_intact_network_passes(task: Task) -> None:
    judge(task, intact(task))


@every_task
def test_a_ruined_network_is_refused(task: Task) -> None:
    with pytest.raises(AccuracyError, match=r"0\.0% of 1 matched"):
        judge(task, ruined(task))


@pytest.mark.parametrize("task", TASKS[:3], ids=lambda task: task.value)
def test_a_network_that_the_annotations_show_to_be_ruined_is_refused(task: Task, tmp_path: Path) -> None:
    truth = annotated(tmp_path, task)

    judge(task, intact(task), truth)
    with pytest.raises(AccuracyError, match=r"max-map-loss"):
        judge(task, ruined(task), truth)


@pytest.mark.parametrize("task", [Task.SEGMENT, Task.POSE], ids=lambda task: task.value)
def test_boxes_alone_would_not_show_it(task: Task) -> None:
    before, after = (find_objects(model(task), PICTURE, outputs(task), SURE) for outputs in (intact, ruined))

    assert overlaps(after, before, ["bbox"]).tolist() == [[1.0]]
