# SPDX-License-Identifier: Apache-2.0
"""A COCO dataset of drawn scenes, and average precision of a file of results, by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
from faster_coco_eval import COCO, COCOeval_faster

from tests.data import shapes


def write_scenes(folder: Path, first_seed: int, count: int) -> None:
    """Write scenes into ``images/``, and into ``instances.json`` what is in them."""
    truth: dict[str, Any] = {"images": [], "annotations": []}
    truth["categories"] = [{"id": 10 * number, "name": name} for number, name in enumerate(shapes.LABELS, start=1)]
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        drawn = shapes.scene(first_seed + number, "detect")
        cv2.imwrite(str(folder / "images" / f"{number}.png"), drawn.image)
        height, width = drawn.image.shape[:2]
        truth["images"].append({"id": 100 + number, "file_name": f"{number}.png", "width": width, "height": height})
        for one in drawn.shapes:
            x1, y1, x2, y2 = one.xyxy.tolist()
            row = {"id": len(truth["annotations"]) + 1, "image_id": 100 + number, "iscrowd": 0}
            row |= {"category_id": 10 * (one.class_id + 1), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            truth["annotations"].append(row | {"area": (x2 - x1) * (y2 - y1)})
    (folder / "instances.json").write_text(json.dumps(truth))


def average_precision(truth: Path, results: Path) -> float:
    """Return mAP50-95 of boxes; ``loadRes`` reads the results as pycocotools would."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(str(truth))
        evaluation = COCOeval_faster(annotations, annotations.loadRes(str(results)), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])
