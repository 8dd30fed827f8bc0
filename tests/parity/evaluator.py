# SPDX-License-Identifier: Apache-2.0
"""Average precision on the labelled images, by one evaluator for both sides."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco_mask

Arrays = dict[str, Any]


class Evaluator:
    """COCO's evaluation over the images in YOLOV8_COCO_DIR."""

    def __init__(self) -> None:
        self._directory = Path(os.environ["YOLOV8_COCO_DIR"])
        self._truth = json.loads((self._directory / "instances.json").read_text())
        # Networks number the 80 classes in the order of COCO's own ids.
        self._category = [c["id"] for c in sorted(self._truth["categories"], key=lambda c: c["id"])]

    def average_precision(self, kind: Literal["bbox", "segm"], found: dict[str, Arrays]) -> float:
        """Return mAP50-95 of what was found, by file name."""
        truth = self._truth if kind == "bbox" else self._with_polygons()
        ids = {image["file_name"]: image["id"] for image in truth["images"]}
        rows = [row for name, arrays in found.items() if name in ids for row in self._rows(ids[name], arrays, kind)]
        assert rows, "nothing was found on any labelled image"
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = COCO(truth)
            evaluation = COCOeval_faster(dataset, dataset.loadRes(rows), iouType=kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return float(evaluation.stats[0])

    def _rows(self, image_id: int, arrays: Arrays, kind: str) -> list[dict[str, Any]]:
        height, width = (int(side) for side in arrays["orig_shape"])
        rows = []
        for index, (x1, y1, x2, y2) in enumerate(arrays["xyxy"].tolist()):
            row = {
                "image_id": image_id,
                "category_id": self._category[int(arrays["class_id"][index])],
                "score": float(arrays["confidence"][index]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
            }
            if kind == "segm":
                row["segmentation"] = {"size": [height, width], "counts": arrays["masks"][index]}
            rows.append(row)
        return rows

    def _with_polygons(self) -> dict[str, Any]:
        """Return the truth of the images that have polygon labels: YOLO's text format, but COCO's own category ids."""
        images, annotations = [], []
        for image in self._truth["images"]:
            labels = self._directory / "labels_seg" / f"{Path(image['file_name']).stem}.txt"
            if not labels.exists():
                continue
            images.append(image)
            for line in labels.read_text().splitlines():
                category, *numbers = line.split()
                points = np.array(numbers, float).reshape(-1, 2) * [image["width"], image["height"]]
                run = coco_mask.merge(coco_mask.frPyObjects([points.ravel().tolist()], image["height"], image["width"]))
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image["id"],
                        "category_id": int(category),
                        "segmentation": run,
                        "area": float(coco_mask.area(run)),
                        "bbox": coco_mask.toBbox(run).tolist(),
                        "iscrowd": 0,
                    }
                )
        return {**self._truth, "images": images, "annotations": annotations}
