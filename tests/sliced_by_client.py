# SPDX-License-Identifier: Apache-2.0
"""Slices without a server that cuts: supervision's ``InferenceSlicer`` over a client, a request for each tile."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import supervision as sv
from supervision.config import ORIENTED_BOX_COORDINATES

from tests.data import shapes

Image = npt.NDArray[np.uint8]
FILTERS = {"nmm": sv.OverlapFilter.NON_MAX_MERGE, "nms": sv.OverlapFilter.NON_MAX_SUPPRESSION}


def sliced_by_client(
    call: Callable[..., Any], image: Image, *, size: int, overlap: float = 0.2, merge: str = "nmm", **options: Any
) -> sv.Detections:
    """Return the objects in a BGR image, best first.

    Args:
        call: A method of a client, such as ``client.detect``; lossless if the client's ``array_format`` is ``bmp``.
        image: The image.
        size: The side of a tile.
        overlap: The share of a tile by which neighbours overlap.
        merge: ``nmm`` or ``nms``.
        **options: Options of the call.
    """
    slicer = sv.InferenceSlicer(
        lambda part: call(part, channels="BGR", **options).to_supervision(),
        slice_wh=size,
        overlap_wh=round(size * overlap),
        overlap_metric=sv.OverlapMetric.IOS,
        overlap_filter=FILTERS[merge],
        iou_threshold=0.5,
        thread_workers=8,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it runs the tiles of rotated boxes one by one, and says so
        found: Any = slicer(image)
    return best_first(found)


def best_first(found: sv.Detections) -> sv.Detections:
    """Return objects in the order of their scores, and equal scores from left to right."""
    return found[np.lexsort((found.xyxy[:, 0], -found.confidence))] if len(found) else found  # type: ignore[return-value]


def differences(one: sv.Detections, other: sv.Detections) -> dict[str, float]:
    """Return the largest differences between two lists of the same objects, best first in both."""
    assert len(one) == len(other), f"{len(one)} and {len(other)} objects"
    if not len(one):
        return {}
    found = {
        "box": float(np.abs(one.xyxy - other.xyxy).max()),
        "score": float(np.abs(one.confidence - other.confidence).max()),
        "class": float((one.class_id != other.class_id).sum()),
    }
    if one.mask is not None:
        found["mask"] = float(np.count_nonzero(np.asarray(one.mask) != np.asarray(other.mask)))
    if ORIENTED_BOX_COORDINATES in one.data:
        corners = [np.asarray(found.data[ORIENTED_BOX_COORDINATES]) for found in (one, other)]
        apart = np.linalg.norm(corners[0][:, :, None] - corners[1][:, None], axis=-1)
        found["corner"] = float(apart.min(axis=2).max())
    return found


def mosaic(seed: int, task: str, size: tuple[int, int], *, cell: int = 320) -> Image:
    """Draw a large image of many small scenes: height and width ``size``."""
    height, width = size
    image = np.full((height, width, 3), 114, np.uint8)
    number = seed * 10_000
    for top in range(0, height, cell):
        for left in range(0, width, cell):
            part = shapes.scene(number, task, size=(cell, cell)).image  # type: ignore[arg-type]
            number += 1
            image[top : top + cell, left : left + cell] = part[: height - top, : width - left]
    return image
