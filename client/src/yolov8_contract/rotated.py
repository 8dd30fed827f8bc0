# SPDX-License-Identifier: Apache-2.0
"""Suppress overlapping rotated boxes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .nms import class_offset
from .probiou import Gaussians

_FIRST_ROUND = 64
_ROUND_GROWTH = 8
_PAIRS_AT_ONCE = 1 << 16
"""The pairs of one chunk, which limits memory; a chunk's arrays fit into the second-level cache."""

_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.intp]


def suppress_rotated(
    boxes: _Floats, classes: npt.NDArray[np.int32], *, iou: float, max_det: int, agnostic: bool = False
) -> _Indices:
    """Return the indices of the boxes to keep, at most ``max_det``, in ascending order.

    A box is suppressed if its overlap (probIoU) with any better box is above ``iou``, even if that box is suppressed
    itself: Ultralytics uses Fast-NMS for rotated boxes, not greedy NMS. Only nearby pairs are compared, so time grows
    almost linearly with the number of boxes, and memory does not grow with the number of pairs.

    Args:
        boxes: ``(n, 5)`` centre x, centre y, width, height, radians; best first.
        classes: ``(n,)`` class ids; boxes of different classes don't suppress each other unless ``agnostic``.
        iou: The overlap above which the worse of two boxes is suppressed.
        max_det: The largest number of boxes to keep.
        agnostic: Whether boxes of different classes suppress each other.
    """
    moved = boxes.copy()
    if not agnostic:
        moved[:, :2] += class_offset(classes)[:, None]
    gaussians = Gaussians.of(moved)
    near = _Neighbours(gaussians, iou)
    stays = np.ones(len(boxes), bool)
    start, stop = 0, _FIRST_ROUND
    while start < len(boxes) and np.count_nonzero(stays[:start]) < max_det:
        # The best boxes come first, because they suppress most of the others before the later, larger rounds.
        better = np.arange(start, min(stop, len(boxes)))
        worse = start + np.flatnonzero(stays[start:])
        for first, second in near.pairs(better, worse):
            alive = stays[second]
            first, second = first[alive], second[alive]
            stays[second[gaussians.probiou(first, second) > np.float32(iou)]] = False
        start, stop = stop, stop * _ROUND_GROWTH
    return np.flatnonzero(stays)[:max_det]


class _Neighbours:
    """Finds the pairs of boxes whose reaches meet, by sorting the ends of their reaches along x."""

    def __init__(self, gaussians: Gaussians, iou: float) -> None:
        reach_x, reach_y = gaussians.reach(iou)
        self._left, self._right = gaussians.x - reach_x, gaussians.x + reach_x
        self._low, self._high = gaussians.y - reach_y, gaussians.y + reach_y

    def pairs(self, better: _Indices, worse: _Indices) -> Iterator[tuple[_Indices, _Indices]]:
        """Yield each near pair of ``better`` and ``worse`` once, in chunks, the better box first."""
        better = better[np.argsort(self._left[better])]
        worse = worse[np.argsort(self._left[worse])]
        left_b, left_w = self._left[better], self._left[worse]
        # If two intervals meet, one begins within the other: either the better box's interval ...
        first = np.searchsorted(left_b, left_w), np.searchsorted(left_b, self._right[worse], side="right")
        for own, other in _ranges(*first):
            yield self._near(better[other], worse[own])
        # ... or the worse box's interval, strictly later.
        second = np.searchsorted(left_w, left_b, side="right"), np.searchsorted(left_w, self._right[better], "right")
        for own, other in _ranges(*second):
            yield self._near(better[own], worse[other])

    def _near(self, better: _Indices, worse: _Indices) -> tuple[_Indices, _Indices]:
        meet = (better < worse) & (self._low[better] <= self._high[worse]) & (self._low[worse] <= self._high[better])
        return better[meet], worse[meet]


def _ranges(starts: _Indices, stops: _Indices) -> Iterator[tuple[_Indices, _Indices]]:
    """Yield all ``(i, k)`` with ``starts[i] <= k < stops[i]``, about `_PAIRS_AT_ONCE` at a time."""
    counts = np.maximum(stops - starts, 0)
    ends = np.cumsum(counts)
    total = int(counts.sum())
    cuts = np.searchsorted(ends, np.arange(0, total, _PAIRS_AT_ONCE), side="right").tolist()
    for begin, end in zip(cuts, [*cuts[1:], len(counts)], strict=False):  # no pairs: no cuts
        some = counts[begin:end]
        own = np.repeat(np.arange(begin, end), some)
        yield own, np.arange(len(own)) - np.repeat(np.cumsum(some) - some - starts[begin:end], some)
