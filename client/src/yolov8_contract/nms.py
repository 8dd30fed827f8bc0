# SPDX-License-Identifier: Apache-2.0
"""Suppress overlapping upright boxes by greedy non-maximum suppression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CLASS_OFFSET = 7680
"""Offset in pixels between classes, so that only boxes of one class overlap; Ultralytics' ``max_wh``."""

_BLOCK = 128
"""Boxes per step. With fewer, call overhead dominates; with more, too many suppressed boxes are compared."""

_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.intp]


def suppress(
    corners: _Floats, classes: npt.NDArray[np.int32], *, iou: float, max_det: int, agnostic: bool = False
) -> _Indices:
    """Return the indices of the boxes to keep, at most ``max_det``, in ascending order.

    A box is suppressed if its overlap with a better box that is kept is above ``iou``. Time is proportional to the kept
    boxes times the compared boxes, and memory to the kept boxes. Boxes after the last kept box are not read.

    Args:
        corners: ``(n, 4)`` x1, y1, x2, y2, best first.
        classes: ``(n,)`` class ids; boxes of different classes don't suppress each other unless ``agnostic``.
        iou: The largest overlap (intersection over union) of two kept boxes.
        max_det: The largest number of boxes to keep.
        agnostic: Whether boxes of different classes suppress each other.
    """
    # The offset is added in float32, as in Ultralytics. Large coordinates lose precision (1/16 pixel at class 79), and
    # exact arithmetic would decide some close cases differently.
    moved = corners if agnostic else corners + class_offset(classes)[:, None]
    boxes = np.ascontiguousarray(moved.T)
    threshold = _round_down(iou)
    kept = np.empty(0, np.intp)
    with np.errstate(all="ignore"):  # two boxes without area give 0 / 0, which is not above any threshold
        for start in range(0, len(corners), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(corners)))
            if len(kept):
                block = block[~_overlap(boxes[:, kept], boxes[:, block], threshold).any(axis=0)]
            own = boxes[:, block]
            kept = np.concatenate([kept, block[_greedy(_overlap(own, own, threshold))]])
            if len(kept) >= max_det:
                break
    return kept[:max_det]


def class_offset(classes: npt.NDArray[np.int32]) -> _Floats:
    """Return the offset of each box along both axes."""
    return classes.astype(np.float32) * np.float32(CLASS_OFFSET)


def _overlap(first: _Floats, second: _Floats, threshold: np.float32) -> npt.NDArray[np.bool_]:
    """Return for each pair of boxes, ``(4, n)`` and ``(4, m)``, whether their IoU is above the threshold."""
    x1, y1, x2, y2 = first[:, :, None]
    u1, v1, u2, v2 = second
    # Each result is written over one that isn't needed any more, as most of the time goes into the many small arrays.
    inter, height = np.minimum(x2, u2), np.minimum(y2, v2)
    inter -= np.maximum(x1, u1)
    height -= np.maximum(y1, v1)
    np.maximum(inter, 0, out=inter)
    inter *= np.maximum(height, 0, out=height)
    union = np.add((x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1), out=height)
    union -= inter
    return np.asarray(np.divide(inter, union, out=union) > threshold)


def _greedy(overlap: npt.NDArray[np.bool_]) -> list[int]:
    """Return the boxes of one block that no better kept box overlaps, given the block's symmetric overlap matrix."""
    # Each row is packed into one integer, so that each step of this serial loop is one operation.
    packed = np.packbits(overlap, axis=1, bitorder="little")
    rows, width = packed.tobytes(), packed.shape[1]
    kept: list[int] = []
    fallen = 0
    for box in range(len(packed)):
        if not fallen >> box & 1:
            kept.append(box)
            fallen |= int.from_bytes(rows[box * width : (box + 1) * width], "little")
    return kept


def _round_down(threshold: float) -> np.float32:
    """Return the largest float32 that is not above a threshold.

    torchvision compares float32 overlaps with a double, so the overlap float32(0.6) is above 0.6. Comparing with this
    float32 gives the same result for every overlap.
    """
    rounded = np.float32(threshold)
    return rounded if float(rounded) <= threshold else np.nextafter(rounded, np.float32(-1))
