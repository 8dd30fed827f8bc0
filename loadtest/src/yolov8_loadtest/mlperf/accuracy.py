# SPDX-License-Identifier: Apache-2.0
"""Answers as LoadGen logs them, and their average precision.

An object is seven numbers, as MLPerf's scripts for object detection read them: the image's number, then y1, x1, y2, x2
as shares of the image's height and width, the score, and the class id.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yolov8_loadtest.errors import LoadTestError, PreparationError
from yolov8_triton import Detections

COLUMNS = 7


def to_rows(number: int, found: Detections) -> npt.NDArray[np.float32]:
    """Return the objects of an image as rows of `COLUMNS` numbers.

    Args:
        number: The image's number.
        found: Its objects; of rotated ones, the upright boxes around them count.
    """
    height, width = found.orig_shape
    x1, y1, x2, y2 = found.enclosing().T
    columns = (y1 / height, x1 / width, y2 / height, x2 / width, found.confidence, found.class_id)
    rows: npt.NDArray[np.float32] = np.stack([np.full(len(found), number), *columns], axis=-1).astype(np.float32)
    return rows


class Truth:
    """COCO annotations of images.

    Args:
        path: The file of the annotations.
        labels: Names of the model's classes, by their ids.

    Raises:
        PreparationError: They can't be read, or lack a class of the model.
    """

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        try:
            self._annotations = json.loads(path.read_bytes())
            self._images = {image["file_name"]: image for image in self._annotations["images"]}
            categories = {category["name"]: category["id"] for category in self._annotations["categories"]}
        except OSError as exc:
            raise PreparationError(f"--truth: {path}: can't be read: {exc.strerror}") from exc
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise PreparationError(
                f"--truth: {path}: not COCO annotations: expected images with file_name, categories with name and id"
            ) from exc
        if unknown := [label for label in labels if label not in categories]:
            raise PreparationError(f"--truth: {path}: has no category of the model's classes {', '.join(unknown[:5])}")
        self._category_ids = [categories[label] for label in labels]
        self._path = path

    def check(self, images: Sequence[Path]) -> None:
        """Refuse images without annotations, as answers about them would count as errors.

        Raises:
            PreparationError: An image is not in the annotations.
        """
        if missing := [image.name for image in images if image.name not in self._images]:
            raise PreparationError(f"--truth: {self._path}: has no image {missing[0]!r}, and {len(missing) - 1} others")

    def average_precision(self, rows: npt.NDArray[np.float32], images: Sequence[Path]) -> float:
        """Return the mAP50-95 of boxes by COCO's evaluation.

        Args:
            rows: Objects, `COLUMNS` numbers each.
            images: The images by their numbers.
        """
        from faster_coco_eval import COCO, COCOeval_faster

        known = [self._images[image.name] for image in images]
        found = [self._result(row, known[int(row[0])]) for row in rows.astype(float)]
        if not found:
            return 0.0
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(self._annotations)
            evaluation = COCOeval_faster(truth, truth.loadRes(found), iouType="bbox")
            evaluation.params.imgIds = [image["id"] for image in known]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return float(evaluation.stats[0])

    def _result(self, row: npt.NDArray[Any], image: dict[str, Any]) -> dict[str, Any]:
        _, y1, x1, y2, x2, score, class_id = row.tolist()
        width, height = image["width"], image["height"]
        return {
            "image_id": image["id"],
            "category_id": self._category_ids[int(class_id)],
            "bbox": [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height],
            "score": score,
        }


def read_rows(log: Path) -> npt.NDArray[np.float32]:
    """Read all objects from LoadGen's log of answers.

    Raises:
        LoadTestError: The log is missing or malformed.
    """
    try:
        answers = json.loads(log.read_text(encoding="utf-8"))
        content = b"".join(bytes.fromhex(answer["data"]) for answer in answers)
        return np.frombuffer(content, np.float32).reshape(-1, COLUMNS)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise LoadTestError(f"{log}: is not a log of answers: {exc}") from exc
