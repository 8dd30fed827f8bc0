# SPDX-License-Identifier: Apache-2.0
"""Tell a right answer from a wrong one, by the one that was expected."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from yolov8_loadtest.traffic import Tolerance
from yolov8_triton import ClassProbabilities, OrientedBoxes, Poses, Result, Segmentations

DEFAULT_CONF = 0.25
"""The threshold of a deployment that says nothing else."""

Boxes = npt.NDArray[np.float32]


def difference(expected: Result, actual: Result, tolerance: Tolerance, *, conf: float = DEFAULT_CONF) -> str | None:
    """Return what is wrong with an answer in a few words, None if it is right.

    Objects are compared as sets: their order says nothing where scores are equal. Those with a score next to ``conf``
    may be on one side alone.
    """
    if type(expected) is not type(actual):
        return f"it is {type(actual).__name__}, not {type(expected).__name__}"
    if expected.orig_shape != actual.orig_shape:
        return f"its image has {actual.orig_shape} pixels, not {expected.orig_shape}"
    if isinstance(expected, ClassProbabilities):
        assert isinstance(actual, ClassProbabilities)
        worst = float(np.abs(expected.scores - actual.scores).max())
        return f"a probability is off by {worst:.3g}" if worst > tolerance.score else None
    assert not isinstance(actual, ClassProbabilities)
    pairs = _pairs(expected, actual, tolerance)
    surplus = [
        _unpaired(pairs[:, side], result, conf + tolerance.score) for side, result in enumerate((expected, actual))
    ]
    if any(surplus):
        missing, unexpected = surplus
        return f"of {len(expected)} objects {missing} are missing or differ, and {unexpected} others are there"
    return _details(expected[pairs[:, 0]], actual[pairs[:, 1]], tolerance)


def iou(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Return the ``(n, m)`` overlaps of ``(n, 4)`` and ``(m, 4)`` boxes; two equal boxes without area overlap fully."""
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    same = (a == b).all(axis=-1)
    return np.where(same, 1.0, shared / np.where(union > 0, union, 1.0))


def _pairs(
    expected: Segmentations | Poses | OrientedBoxes | Result, actual: Result, tolerance: Tolerance
) -> npt.NDArray[np.intp]:
    """Return ``(k, 2)`` indices of objects that are the same one, best expected first."""
    assert not isinstance(expected, ClassProbabilities)
    assert not isinstance(actual, ClassProbabilities)
    overlap = iou(expected.xyxy, actual.xyxy)
    overlap[expected.class_id[:, None] != actual.class_id[None]] = 0
    overlap[np.abs(expected.confidence[:, None] - actual.confidence[None]) > tolerance.score] = 0
    pairs = []
    for row in range(len(expected)):
        if len(actual) and overlap[row, best := int(overlap[row].argmax())] >= max(tolerance.iou, 1e-9):
            pairs.append((row, best))
            overlap[:, best] = 0
    return np.array(pairs, np.intp).reshape(-1, 2)


def _unpaired(paired: npt.NDArray[np.intp], result: Result, sure: float) -> int:
    """Count the objects without a partner whose score is surely above the threshold."""
    assert not isinstance(result, ClassProbabilities)
    alone = np.ones(len(result), np.bool_)
    alone[paired] = False
    return int((alone & (result.confidence > sure)).sum())


def _details(expected: Result, actual: Result, tolerance: Tolerance) -> str | None:
    """Compare what objects have beside their boxes, pair by pair."""
    if isinstance(expected, Segmentations) and isinstance(actual, Segmentations):
        return _masks(expected, actual, tolerance)
    if isinstance(expected, Poses) and isinstance(actual, Poses):
        points = expected.keypoints[..., :2] - actual.keypoints[..., :2]
        return _distance("a keypoint", points, tolerance.keypoint_px)
    if isinstance(expected, OrientedBoxes) and isinstance(actual, OrientedBoxes):
        return _distance("a corner", expected.xyxyxyxy - actual.xyxyxyxy, tolerance.keypoint_px)
    return None


def _masks(expected: Segmentations, actual: Segmentations, tolerance: Tolerance) -> str | None:
    for one, other in zip(expected, actual, strict=True):
        if one.rle[0] == other.rle[0]:
            continue
        first, second = one.masks[0], other.masks[0]
        overlap = (first & second).sum() / max((first | second).sum(), 1)
        if overlap < tolerance.iou:
            return f"a mask overlaps the expected one by {overlap:.3f}"
    return None


def _distance(what: str, offsets: Boxes, limit_px: float) -> str | None:
    worst = float(np.linalg.norm(offsets, axis=-1).max(initial=0))
    return f"{what} is off by {worst:.2f} px" if worst > limit_px else None
