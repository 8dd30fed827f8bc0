# SPDX-License-Identifier: Apache-2.0
"""Compare the results of two models for one image: which objects both found, which were lost, and which are new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yolov8_contract import rle
from yolov8_contract.probiou import Gaussians
from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import VISIBLE, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.objects import DetectedObjects
from yolov8_triton._results.outcome import Result

PAIR_OVERLAP = 0.5
"""The overlap from which two boxes of one class are the same object, as in COCO's AP50."""

_COCO_SIGMAS = np.array(
    [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89]
)
"""Ten times COCO's standard deviation of annotators for each of its 17 keypoints
(https://cocodataset.org/#keypoints-eval)."""
_AREA_OF_BOX = 0.53
"""The usual share of a box that a person's mask covers, by which Ultralytics' training scales keypoint errors, too."""

_Floats = npt.NDArray[np.float32]
_Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageChange:
    """What differs between the results of the old and the new model for one image.

    Attributes:
        matched: ``(p,)`` class ids of the objects that both found.
        score_shift: ``(p,)`` their new score minus the old one.
        overlap: ``(p,)`` their overlap, 0 to 1: of masks, keypoints (OKS), rotated boxes (probIoU) or boxes (IoU).
        lost: ``(l,)`` class ids of the objects that only the old model found.
        new: ``(n,)`` class ids of the objects that only the new model found.
    """

    matched: _Ids
    score_shift: _Floats
    overlap: _Floats
    lost: _Ids
    new: _Ids

    def changed(self, class_id: int | None = None) -> float:
        """Return the share of objects without a partner, 0 to 1; 0 for an image without objects.

        This is ``1 - F1`` with the old model's objects as the truth.

        Args:
            class_id: Count the objects of this class alone.
        """
        pairs, lost, new = (
            len(ids) if class_id is None else int(np.count_nonzero(ids == class_id))
            for ids in (self.matched, self.lost, self.new)
        )
        return (lost + new) / max(2 * pairs + lost + new, 1)

    def classes(self) -> list[int]:
        """Return the ids of the classes that one of the models found."""
        return sorted({*self.matched.tolist(), *self.lost.tolist(), *self.new.tolist()})


def compare(old: Result, new: Result) -> ImageChange:
    """Compare the results of two models for the same image.

    Objects of one class are paired from the greatest overlap down; a classifier's object is its most probable class.

    Raises:
        ValueError: The results are of different tasks or class names, or for images of different sizes.
    """
    if old.labels != new.labels:
        raise ValueError(f"expected results with the same class names, got {old.labels!r} and {new.labels!r}")
    if old.task is not new.task or old.orig_shape != new.orig_shape:
        raise ValueError(
            f"expected results of one task for one image, got {old.task.value} of {old.orig_shape} and "
            f"{new.task.value} of {new.orig_shape}"
        )
    if isinstance(old, ClassProbabilities):
        assert isinstance(new, ClassProbabilities)
        return _best_classes(old, new)
    assert isinstance(new, DetectedObjects)
    first, second = _pairs(old, new)
    return ImageChange(
        matched=old.class_id[first],
        score_shift=new.confidence[second] - old.confidence[first],
        overlap=_overlaps(old[first], new[second]),
        lost=np.delete(old.class_id, first),
        new=np.delete(new.class_id, second),
    )


def _best_classes(old: ClassProbabilities, new: ClassProbabilities) -> ImageChange:
    same = old.top1 == new.top1
    pair = [old.top1] if same else []
    return ImageChange(
        matched=np.array(pair, np.int32),
        score_shift=new.scores[pair] - old.scores[pair],
        overlap=np.ones(len(pair), np.float32),
        lost=np.array([] if same else [old.top1], np.int32),
        new=np.array([] if same else [new.top1], np.int32),
    )


def _pairs(old: DetectedObjects, new: DetectedObjects) -> tuple[list[int], list[int]]:
    """Return the positions of the paired objects in both results."""
    if isinstance(old, OrientedBoxes) and isinstance(new, OrientedBoxes):
        overlaps = _probiou(old.xywhr, new.xywhr)
    else:
        overlaps = _iou(old.enclosing(), new.enclosing())
    overlaps = np.where(old.class_id[:, None] == new.class_id, overlaps, 0)
    first, second = np.nonzero(overlaps >= PAIR_OVERLAP)
    best = np.argsort(-overlaps[first, second], kind="stable")
    free_old, free_new = set(first.tolist()), set(second.tolist())
    pairs = []
    for one, other in zip(first[best].tolist(), second[best].tolist(), strict=True):
        if one in free_old and other in free_new:
            free_old.remove(one)
            free_new.remove(other)
            pairs.append((one, other))
    return [one for one, _ in pairs], [other for _, other in pairs]


def _iou(old: _Floats, new: _Floats) -> npt.NDArray[np.float64]:
    """Return the intersection over union of each old box with each new one, ``(o, n)``."""
    one, other = old[:, None].astype(np.float64), new[None].astype(np.float64)
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    union = _areas(one) + _areas(other) - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float64).tiny))


def _areas(boxes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(np.prod(np.maximum(boxes[..., 2:4] - boxes[..., :2], 0), axis=-1))


def _probiou(old: _Floats, new: _Floats) -> npt.NDArray[np.float64]:
    """Return the overlap of each old rotated box with each new one, ``(o, n)``."""
    one, other = np.indices((len(old), len(new))).reshape(2, -1)
    overlaps = Gaussians.of(np.concatenate([old, new])).probiou(one, len(old) + other)
    return np.nan_to_num(overlaps.astype(np.float64)).reshape(len(old), len(new))


def _overlaps(old: DetectedObjects, new: DetectedObjects) -> _Floats:
    """Return the overlap of the objects at the same positions, in what their task finds."""
    if isinstance(old, OrientedBoxes) and isinstance(new, OrientedBoxes):
        found = np.diagonal(_probiou(old.xywhr, new.xywhr))
    elif isinstance(old, Segmentations) and isinstance(new, Segmentations):
        found = np.array([_mask_iou(*runs, old.orig_shape) for runs in zip(old.rle, new.rle, strict=True)])
    elif isinstance(old, Poses) and isinstance(new, Poses):
        found = _oks(old, new)
    else:
        found = np.diagonal(_iou(old.enclosing(), new.enclosing()))
    return found.astype(np.float32)


def _mask_iou(old: bytes, new: bytes, shape: tuple[int, int]) -> float:
    one, other = rle.decode(old, shape), rle.decode(new, shape)
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _oks(old: Poses, new: Poses) -> npt.NDArray[np.float64]:
    """Return the object keypoint similarity of each pair (https://cocodataset.org/#keypoints-eval).

    Keypoints that the old model sees count; a pair without them has the similarity 1. As Ultralytics does, the standard
    deviation is 1/K for K keypoints other than COCO's 17.
    """
    keypoints = old.keypoints.shape[1]
    sigmas = _COCO_SIGMAS / 10 if keypoints == len(_COCO_SIGMAS) else np.full(keypoints, 1 / max(keypoints, 1))
    distance2 = np.sum((old.keypoints[..., :2].astype(np.float64) - new.keypoints[..., :2]) ** 2, axis=-1)
    area = np.maximum(_areas(old.xyxy) * _AREA_OF_BOX, 1.0)
    similarity = np.exp(-distance2 / (2 * area[:, None] * (2 * sigmas) ** 2))
    seen = old.visibility > VISIBLE
    return np.asarray(np.where(seen.any(axis=1), (similarity * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1), 1))
