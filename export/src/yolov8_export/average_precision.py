# SPDX-License-Identifier: AGPL-3.0-or-later
"""Mean average precision of boxes as COCO defines it, over IoU 0.50 to 0.95, from a COCO annotation file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yolov8_export.errors import OptionError

Floats = npt.NDArray[np.float64]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100


@dataclass(frozen=True, slots=True)
class Found:
    """Objects in one image: ``(n, 4)`` corners in its pixels, ``(n,)`` scores and class ids."""

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int32]


class Truth:
    """What is in each image, by file name; classes are numbered in the order of COCO's own ids."""

    def __init__(self, path: Path) -> None:
        """Read an annotation file.

        Raises:
            OptionError: It is none.
        """
        try:
            said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            numbers = {c["id"]: i for i, c in enumerate(sorted(said["categories"], key=lambda c: int(c["id"])))}
            names = {image["id"]: str(image["file_name"]) for image in said["images"]}
            self._objects: dict[str, list[tuple[int, list[float], bool]]] = {name: [] for name in names.values()}
            for a in said["annotations"]:
                x, y, w, h = (float(value) for value in a["bbox"])
                entry = (numbers[a["category_id"]], [x, y, x + w, y + h], bool(a.get("iscrowd")))
                self._objects[names[a["image_id"]]].append(entry)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise OptionError(f"--truth {path}: is no COCO annotation file: {exc!r}") from exc

    def __contains__(self, name: str) -> bool:
        return name in self._objects

    def mean_average_precision(self, found: Mapping[str, Found]) -> float:
        """Return mAP50-95 over the images that were looked at, by file name."""
        classes = sorted({c for name in found for c, _, crowd in self._objects[name] if not crowd})
        return float(np.mean([self._of_class(number, found) for number in classes])) if classes else 0.0

    def _of_class(self, number: int, found: Mapping[str, Found]) -> float:
        scores, hits, ignored, total = [], [], [], 0
        for name, objects in found.items():
            truth = [(box, crowd) for c, box, crowd in self._objects[name] if c == number]
            order = np.flatnonzero(objects.classes == number)
            order = order[np.argsort(-objects.scores[order], kind="stable")][:MAX_DETECTIONS]
            total += sum(not crowd for _, crowd in truth)
            hit, skip = _match(objects.boxes[order].astype(float), truth)
            scores.append(objects.scores[order])
            hits.append(hit)
            ignored.append(skip)
        best_first = np.argsort(-np.concatenate(scores), kind="stable")
        hit = np.concatenate(hits, axis=1)[:, best_first]
        skip = np.concatenate(ignored, axis=1)[:, best_first]
        return float(np.mean([_area(h[~s], total) for h, s in zip(hit, skip, strict=True)]))


def _match(boxes: Floats, truth: list[tuple[list[float], bool]]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell for each threshold which boxes, best first, hit an object, and which fell on a crowd and don't count."""
    hit, skip = np.zeros((2, len(THRESHOLDS), len(boxes)), bool)
    truth = sorted(truth, key=lambda entry: entry[1])  # crowds last: an object of its own comes first
    crowd = np.array([entry[1] for entry in truth], bool)
    overlap = _overlap(boxes, np.array([entry[0] for entry in truth]).reshape(-1, 4), crowd)
    for level, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(truth), bool)
        for index in range(len(boxes)):
            free = np.where(taken & ~crowd, -1.0, overlap[index])
            for group in (~crowd, crowd):
                candidates = np.where(group, free, -1.0)
                best = int(candidates.argmax()) if len(truth) else 0
                if len(truth) and candidates[best] >= min(threshold, 1 - 1e-10):
                    taken[best] = True
                    hit[level, index], skip[level, index] = not crowd[best], crowd[best]
                    break
    return hit, skip


def _overlap(boxes: Floats, truth: Floats, crowd: npt.NDArray[np.bool_]) -> Floats:
    """Return IoU; with a crowd, the share of the box that lies in it."""
    sides = np.minimum(boxes[:, None, 2:], truth[None, :, 2:]) - np.maximum(boxes[:, None, :2], truth[None, :, :2])
    common = sides.clip(0).prod(-1)
    own = (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None]
    other = (truth[:, 2:] - truth[:, :2]).prod(-1)[None]
    return np.asarray(common / np.maximum(np.where(crowd, own, own + other - common), 1e-12))


def _area(hits: npt.NDArray[np.bool_], total: int) -> float:
    """Return the area under precision over recall, read at 101 points."""
    if not total:
        return 0.0
    found = np.cumsum(hits)
    precision = np.maximum.accumulate((found / np.arange(1, len(hits) + 1))[::-1])[::-1]
    at = np.searchsorted(found / total, RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(at, len(hits))].mean())
