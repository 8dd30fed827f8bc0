# SPDX-License-Identifier: Apache-2.0
"""Mean average precision is what COCO's own evaluation says."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from yolov8_export.errors import OptionError
from yolov8_export.precision.accuracy import Found, Truth

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "ox"}, {"id": 20, "name": "owl"}]


def scene(seed: int, *, crowds: bool) -> tuple[dict[str, Any], dict[str, Found]]:
    """Draw annotations of eight images, and what a middling network finds in them."""
    rng = np.random.default_rng(seed)
    images = [{"id": 100 + i, "file_name": f"{i}.jpg", "width": 400, "height": 300} for i in range(8)]
    annotations: list[dict[str, Any]] = []
    found = {}
    for image in images:
        boxes, scores, classes = [], [], []
        for _ in range(int(rng.integers(0, 9))):
            x, y, w, h = rng.uniform([0, 0, 10, 10], [300, 200, 100, 100])
            number = int(rng.integers(3))
            crowd = int(crowds and rng.random() < 0.2)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image["id"], "category_id": CATEGORIES[number]["id"],
                "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd,
            })  # fmt: skip
            for _ in range(int(rng.integers(0, 3))):
                left, top, right, bottom = np.array([x, y, x + w, y + h]) + rng.normal(0, 8, 4)
                boxes.append([left, top, max(right, left + 5), max(bottom, top + 5)])
                scores.append(rng.random())
                classes.append(number if rng.random() < 0.8 else int(rng.integers(3)))
        found[str(image["file_name"])] = Found(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes, np.int32)
        )
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}, found


def coco(truth: dict[str, Any], found: dict[str, Found]) -> float:
    ids = {image["file_name"]: image["id"] for image in truth["images"]}
    rows = [
        {
            "image_id": ids[name],
            "category_id": CATEGORIES[int(number)]["id"],
            "score": float(score),
            "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
        }
        for name, objects in found.items()
        for (x1, y1, x2, y2), score, number in zip(objects.boxes, objects.scores, objects.classes, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO(truth)
        evaluation = COCOeval_faster(dataset, dataset.loadRes(rows), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.parametrize("crowds", [False, True], ids=["objects", "and-crowds"])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_coco_says(tmp_path: Path, seed: int, crowds: bool) -> None:
    truth, found = scene(seed, crowds=crowds)
    (tmp_path / "truth.json").write_text(json.dumps(truth))

    score = Truth(tmp_path / "truth.json").mean_average_precision(found)

    assert score == pytest.approx(coco(truth, found), abs=1e-6)
    assert 0.02 < score < 0.98


def test_finding_everything_exactly_scores_one(tmp_path: Path) -> None:
    truth, _ = scene(1, crowds=False)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    exact = {}
    for image in truth["images"]:
        own = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in own)]
        numbers = [[c["id"] for c in CATEGORIES].index(a["category_id"]) for a in own]
        exact[image["file_name"]] = Found(
            np.array(boxes).reshape(-1, 4), np.ones(len(own), np.float32), np.array(numbers, np.int32)
        )

    assert Truth(tmp_path / "truth.json").mean_average_precision(exact) == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}'], ids=["empty", "list", "incomplete"])
def test_what_is_no_annotation_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.json").write_text(text)

    with pytest.raises(OptionError, match="is no COCO annotation file"):
        Truth(tmp_path / "truth.json")
