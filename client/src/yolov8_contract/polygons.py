# SPDX-License-Identifier: Apache-2.0
"""Intersect rotated boxes exactly, as convex polygons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_Points = npt.NDArray[np.float64]


def corners_of(boxes: npt.NDArray[np.float32]) -> _Points:
    """Return the corners ``(n, 4, 2)`` of rotated boxes ``(n, 5)``: centre, width, height, radians."""
    centre, half, angle = (boxes[:, part].astype(np.float64) for part in (slice(0, 2), slice(2, 4), 4))
    half = half / 2
    cos, sin = np.cos(angle), np.sin(angle)
    along = np.stack([cos, sin], axis=-1) * half[:, :1]
    across = np.stack([-sin, cos], axis=-1) * half[:, 1:]
    corners = [centre + along + across, centre + along - across, centre - along - across, centre - along + across]
    return np.stack(corners, axis=1)


def intersection_area(one: _Points, other: _Points) -> float:
    """Return the area that two convex polygons ``(corners, 2)`` share (clipping by Sutherland and Hodgman, 1974)."""
    points = one - one[0]
    clip = _counterclockwise(other - one[0])
    for start, end in zip(clip, np.roll(clip, -1, axis=0), strict=True):
        if not len(points):
            return 0.0
        points = _clipped(points, start, end)
    return abs(_signed_area(points)) if len(points) else 0.0


def _clipped(points: _Points, start: _Points, end: _Points) -> _Points:
    """Return the part of a polygon to the left of a line."""
    edge = end - start
    sides = edge[0] * (points[:, 1] - start[1]) - edge[1] * (points[:, 0] - start[0])
    kept = []
    for here, side, there, other in zip(points, sides, np.roll(points, -1, axis=0), np.roll(sides, -1), strict=True):
        if side >= 0:
            kept.append(here)
        if side * other < 0:
            kept.append(here + (there - here) * (side / (side - other)))
    return np.array(kept).reshape(-1, 2)


def _counterclockwise(points: _Points) -> _Points:
    return points if _signed_area(points) >= 0 else points[::-1]


def _signed_area(points: _Points) -> float:
    x, y = points[:, 0], points[:, 1]
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)
