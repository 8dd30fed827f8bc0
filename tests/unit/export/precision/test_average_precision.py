# SPDX-License-Identifier: Apache-2.0
"""Mean average precision of boxes, masks, keypoints and rotated boxes, from COCO annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import mask as rle

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import OptionError
from yolov8_export.precision.objects import Kind, Objects
from yolov8_export.precision.truth import Truth

SHAPE = (60, 80)
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "ox"}]
BOXES = [[10.0, 10.0, 40.0, 20.0], [30.0, 30.0, 70.0, 50.0]]
KINDS: list[Kind] = ["bbox", "segm", "keypoints", "rotated"]


def corners(box: list[float]) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(box: list[float], category: int = 3, **changes: Any) -> dict[str, Any]:
    left, top, right, bottom = box
    return {
        "image_id": 5,
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": [corners(box)],
        "keypoints": [left, top, 2, right, bottom, 2],
        **changes,
    }


def truth(folder: Path, *annotations: dict[str, Any]) -> Truth:
    path = folder / "truth.json"
    images = [{"id": 5, "file_name": "a.jpg"}]
    path.write_text(json.dumps({"images": images, "categories": CATEGORIES, "annotations": annotations}))
    return Truth(path)


def found(kind: Kind, *boxes: list[float], scores: tuple[float, ...] = (0.9, 0.8), category: int = 0) -> Objects:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    middle, size = (array[:, :2] + array[:, 2:]) / 2, array[:, 2:] - array[:, :2]
    rotated = np.concatenate([middle, size, np.zeros((len(array), 1), np.float32)], axis=1)
    return Objects(
        boxes=rotated if kind == "rotated" else array,
        scores=np.array(scores[: len(boxes)], np.float32),
        classes=np.full(len(boxes), category, np.int32),
        masks=[rle.merge(rle.frPyObjects([corners(box)], *SHAPE)) for box in boxes],
        keypoints=array.reshape(-1, 2, 2),
        shape=SHAPE,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_finding_everything_exactly_scores_one(kind: Kind, tmp_path: Path) -> None:
    annotated = truth(tmp_path, *map(annotation, BOXES))

    assert annotated.mean_average_precision({"a.jpg": found(kind, *BOXES)}, kind) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("boxes", "score"),
    [
        pytest.param(BOXES[:1], 51 / 101, id="one-of-two"),
        pytest.param([[0.0, 40.0, 8.0, 60.0], BOXES[0]], 51 / 101 / 2, id="behind-a-wrong-one"),
        pytest.param([], 0.0, id="nothing"),
    ],
)
def test_precision_is_averaged_over_101_recalls(
    kind: Kind, boxes: list[list[float]], score: float, tmp_path: Path
) -> None:
    annotated = truth(tmp_path, *map(annotation, BOXES))

    assert annotated.mean_average_precision({"a.jpg": found(kind, *boxes)}, kind) == pytest.approx(score)


def test_a_class_without_objects_in_the_images_does_not_count(tmp_path: Path) -> None:
    annotated = truth(tmp_path, annotation(BOXES[0], 7))

    assert annotated.mean_average_precision({"a.jpg": found("bbox", BOXES[0], category=1)}, "bbox") == pytest.approx(1)


def test_an_object_in_a_crowd_is_ignored(tmp_path: Path) -> None:
    annotated = truth(tmp_path, annotation(BOXES[0]), annotation(BOXES[1], iscrowd=1))

    result = found("bbox", BOXES[1], BOXES[0])

    assert annotated.mean_average_precision({"a.jpg": result}, "bbox") == pytest.approx(1)


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}'], ids=["empty", "list", "incomplete"])
def test_what_is_no_annotation_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.json").write_text(text)

    with pytest.raises(OptionError, match="is no COCO annotation file"):
        Truth(tmp_path / "truth.json")


@pytest.mark.parametrize(
    ("task", "changes", "reason"),
    [
        pytest.param(Task.SEGMENT, {"segmentation": []}, "annotation 0 has no 'segmentation'", id="masks"),
        pytest.param(Task.OBB, {"segmentation": []}, "annotation 0 has no 'segmentation'", id="rotated-boxes"),
        pytest.param(Task.POSE, {"keypoints": [1, 1, 2]}, "expected 'keypoints' of 6 values, .* got 3", id="keypoints"),
    ],
)
def test_annotations_that_lack_what_the_task_is_judged_by_are_refused(
    task: Task, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    model = ServedModel(task=task, labels=("cat",), imgsz=(64, 64), kpt_shape=(2, 3) if task is Task.POSE else None)

    with pytest.raises(OptionError, match=reason):
        truth(tmp_path, annotation(BOXES[0], **changes)).check(model)
