# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read COCO annotations, and compute the mean average precision of found objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from yolov8_contract.served_model import ServedModel
from yolov8_export.errors import OptionError
from yolov8_export.precision.objects import AREA_OF_BOX, KINDS, Kind, Objects, sigmas

_EVALUATED_AS = {"bbox": "bbox", "segm": "segm", "rotated": "segm", "keypoints": "keypoints"}


class Truth:
    """The annotated objects of images by file name; class ids are the places of COCO's sorted category ids."""

    def __init__(self, path: Path) -> None:
        """Read an annotation file.

        Raises:
            OptionError: It is not a COCO annotation file.
        """
        self._path = path
        self._annotations: list[dict[str, Any]] = []
        try:
            said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            numbers = {category["id"]: int(category["id"]) for category in said["categories"]}
            self._categories = sorted(numbers.values())
            self._images = {str(image["file_name"]): image["id"] for image in said["images"]}
            images = {number: number for number in self._images.values()}
            for entry in said["annotations"]:
                category, image = numbers[entry["category_id"]], images[entry["image_id"]]
                self._annotations.append(_annotation(entry) | {"category_id": category, "image_id": image})
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise OptionError(f"--truth {path}: is no COCO annotation file: {exc!r}") from exc

    def __contains__(self, name: str) -> bool:
        return name in self._images

    def check(self, model: ServedModel) -> None:
        """Check that the annotations have what a model is judged by.

        Raises:
            OptionError: They lack it.
        """
        needs_shape = _EVALUATED_AS.get(KINDS[model.task][-1]) == "segm"
        for index, entry in enumerate(self._annotations):
            if needs_shape and not entry["iscrowd"] and not entry.get("segmentation"):
                raise OptionError(
                    f"--truth {self._path}: annotation {index} has no 'segmentation', by which a {model.task.value} "
                    "model is judged"
                )
        if model.kpt_shape is not None:
            self._check_keypoints(3 * model.kpt_shape[0])

    def _check_keypoints(self, values: int) -> None:
        counts = {len(entry["keypoints"]) for entry in self._annotations if "keypoints" in entry}
        if counts != {values}:
            found = ", ".join(map(str, sorted(counts))) or "none"
            raise OptionError(
                f"--truth {self._path}: expected 'keypoints' of {values} values, by which a pose model is judged, "
                f"got {found}"
            )

    def mean_average_precision(self, found: Mapping[str, Objects], kind: Kind) -> float:
        """Return mAP50-95 over the images in ``found``, by file name."""
        points = next((objects.keypoints.shape[1] for objects in found.values() if objects.keypoints is not None), 0)
        ids = {self._images[name] for name in found}
        truth = COCO({
            "images": [
                {"id": self._images[name], "height": objects.shape[0], "width": objects.shape[1]}
                for name, objects in found.items()
            ],
            "categories": [{"id": number, "name": str(number)} for number in self._categories],
            "annotations": [
                _prepared(entry, kind, points) | {"id": index}
                for index, entry in enumerate(self._annotations, start=1)
                if entry["image_id"] in ids
            ],
        })  # fmt: skip
        rows = [row for name, objects in found.items() for row in self._rows(name, objects, kind)]
        evaluation = COCOeval_faster(
            truth, truth.loadRes(rows), iouType=_EVALUATED_AS[kind], kpt_oks_sigmas=sigmas(points) if points else None
        )
        evaluation.evaluate()
        evaluation.accumulate()
        precision = np.asarray(evaluation.eval["precision"])[..., 0, -1]  # all areas, the largest number of objects
        return float(precision[precision > -1].mean()) if (precision > -1).any() else 0.0

    def _rows(self, name: str, objects: Objects, kind: Kind) -> Iterator[dict[str, Any]]:
        shapes = _shapes(objects, kind)
        for shape, score, number in zip(shapes, objects.scores.tolist(), objects.classes.tolist(), strict=True):
            if number < len(self._categories):
                image = {"image_id": self._images[name], "category_id": self._categories[number], "score": score}
                yield image | shape


def _annotation(entry: Mapping[str, Any]) -> dict[str, Any]:
    x, y, width, height = (float(value) for value in entry["bbox"])
    return {**entry, "bbox": [x, y, width, height], "iscrowd": int(bool(entry.get("iscrowd")))}


def _prepared(entry: Mapping[str, Any], kind: Kind, points: int) -> dict[str, Any]:
    """Add the entries that the evaluation needs and that annotations may leave out."""
    keypoints = entry.get("keypoints", [0] * 3 * points)
    area = float(np.prod(entry["bbox"][2:])) * (AREA_OF_BOX if kind == "keypoints" else 1)
    added = {"area": area, "keypoints": keypoints, "num_keypoints": sum(value > 0 for value in keypoints[2::3])}
    return added | dict(entry)


def _shapes(objects: Objects, kind: Kind) -> Sequence[dict[str, Any]]:
    """Return the shape of each object as a result in COCO's format."""
    if kind == "bbox":
        return [{"bbox": box} for box in objects.xywh.tolist()]
    if kind == "keypoints":
        assert objects.keypoints is not None  # the task is pose
        count, points = objects.keypoints.shape[:2]
        rows = np.ones((count, points, 3))
        rows[:, :, :2] = objects.keypoints[:, :, :2]
        return [{"keypoints": row} for row in rows.reshape(count, 3 * points).tolist()]
    return [{"segmentation": mask} for mask in (objects.masks if kind == "segm" else objects.rotated)]
