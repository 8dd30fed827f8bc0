# SPDX-License-Identifier: AGPL-3.0-or-later
"""Mean average precision of boxes as COCO defines it, over IoU 0.50 to 0.95, from a COCO annotation file.

How much a reduced network loses against its FP32 original, on images that it was not calibrated with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yolov8_contract import signature
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import AccuracyError, OptionError
from yolov8_export.precision.images import Picture
from yolov8_export.runtime import Array, Run

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


SURE = RequestParameters(conf=0.25, iou=0.7)
ALL = RequestParameters(conf=0.001, iou=0.6)
MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What a reduced network finds of what its original finds.

    Attributes:
        engine: What ran the reduced network.
        images: How many were looked at.
        objects: How many the original found at the default threshold; for a classifier, the images.
        matched: The share of them that the reduced one found, too, and of its own that the original found, whichever
            is less; for a classifier, the share of images with the same best class.
        score_shift: The mean change of a matched object's score.
        map_before: mAP50-95 of the original, where the truth is known.
        map_after: mAP50-95 of the reduced one.
    """

    engine: str
    images: int
    objects: int
    matched: float
    score_shift: float
    map_before: float | None = None
    map_after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        text = (
            f"on {self.images} images in {self.engine}: {self.matched:.1%} of {self.objects} matched, "
            f"scores move by {self.score_shift:.3f}"
        )
        if self.map_before is None or self.map_after is None:
            return text
        return f"{text}, mAP50-95 {self.map_before:.4f} → {self.map_after:.4f}"


def measure(
    reduced: Run, original: Run, model: ServedModel, pictures: Sequence[Picture], truth: Truth | None, *, engine: str
) -> Accuracy:
    """Compare two networks on images.

    Args:
        reduced: Runs the reduced network on images in [0, 1].
        original: Runs the FP32 one.
        model: What they are.
        pictures: Images that the reduced one has not seen.
        truth: What is in them, where it is known.
        engine: What runs the reduced one, for the report.
    """
    heads = [(picture, reduced(picture.images), original(picture.images)) for picture in pictures]
    if model.task is Task.CLASSIFY:
        same = [int(after[0][0].argmax() == before[0][0].argmax()) for _, after, before in heads]
        shift = [float(np.abs(after[0] - before[0]).max()) for _, after, before in heads]
        return Accuracy(
            engine=engine,
            images=len(heads),
            objects=len(heads),
            matched=float(np.mean(same)),
            score_shift=float(np.mean(shift)),
        )
    pairs = [(_found(model, p, after, SURE), _found(model, p, before, SURE)) for p, after, before in heads]
    matches = [_matched(after, before) for after, before in pairs]
    objects = sum(len(before.scores) for _, before in pairs)
    own = sum(len(after.scores) for after, _ in pairs)
    hits = sum(len(shifts) for shifts in matches)
    before = after = None
    if truth is not None:
        known = [(p, a, b) for p, a, b in heads if p.path.name in truth]
        after = truth.mean_average_precision({p.path.name: _found(model, p, a, ALL) for p, a, _ in known})
        before = truth.mean_average_precision({p.path.name: _found(model, p, b, ALL) for p, _, b in known})
    return Accuracy(
        engine=engine,
        images=len(heads),
        objects=objects,
        matched=hits / max(objects, own, 1),
        score_shift=float(np.mean(np.concatenate(matches))) if hits else 0.0,
        map_before=before,
        map_after=after,
    )


def check(accuracy: Accuracy, *, max_map_loss: float, min_matched: float) -> None:
    """Stop a network that lost too much; mAP decides where it is known.

    Raises:
        AccuracyError: It has.
    """
    if not accuracy.objects:
        raise AccuracyError("the FP32 network finds nothing on the evaluation images: give images of what it knows")
    if accuracy.map_before is not None and accuracy.map_after is not None:
        too_bad = not accuracy.map_before - accuracy.map_after <= max_map_loss
        limit = f"--max-map-loss {max_map_loss:g}"
    else:
        too_bad, limit = not accuracy.matched >= min_matched, f"--min-matched {min_matched:g}"
    if too_bad:
        raise AccuracyError(
            f"the reduced network loses too much: {accuracy} ({limit}); nothing was written. Calibrate with more "
            "images of what it will see, or keep a higher --precision; a CPU without VNNI can't do INT8 well"
        )


def _found(model: ServedModel, picture: Picture, head: Sequence[Array], parameters: RequestParameters) -> Found:
    tensors = postprocess(model, [output[0] for output in head], picture.orig_shape, parameters)
    boxes = tensors[signature.BOXES.name]
    if model.task is Task.OBB:
        boxes = _upright(boxes)
    return Found(boxes, tensors[signature.SCORES.name], tensors[signature.CLASSES.name])


def _upright(xywhr: Array) -> Array:
    """Return the upright boxes around rotated ones: enough to tell which object is which."""
    x, y, width, height, angle = xywhr.T
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    half = np.stack([width * cos + height * sin, width * sin + height * cos]) / 2
    return np.stack([x - half[0], y - half[1], x + half[0], y + half[1]], axis=1)


def _matched(after: Found, before: Found) -> Array:
    """Pair objects of the same class, best first; return how far their scores are apart."""
    free = list(range(len(before.scores)))
    shifts = []
    for index in range(len(after.scores)):
        rivals = [j for j in free if before.classes[j] == after.classes[index]]
        overlaps = [_iou(after.boxes[index], before.boxes[j]) for j in rivals]
        if overlaps and max(overlaps) >= MATCH_IOU:
            partner = rivals[int(np.argmax(overlaps))]
            free.remove(partner)
            shifts.append(abs(float(after.scores[index] - before.scores[partner])))
    return np.array(shifts, np.float32)


def _iou(a: Iterable[float], b: Iterable[float]) -> float:
    ax1, ay1, ax2, ay2 = (float(value) for value in a)
    bx1, by1, bx2, by2 = (float(value) for value in b)
    common = max(min(ax2, bx2) - max(ax1, bx1), 0.0) * max(min(ay2, by2) - max(ay1, by1), 0.0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - common
    return common / union if union > 0 else 0.0
