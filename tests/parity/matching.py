# SPDX-License-Identifier: Apache-2.0
"""Compare the served objects with the reference: two sets of objects, paired one to one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core import mask as coco_mask
from scipy.optimize import linear_sum_assignment

Arrays = dict[str, Any]

SCORE = 1e-4
CORNER_PX = 0.02
BOX_IOU = 0.999
KEYPOINT_PX = 0.05
VISIBILITY = 1e-4
MASK_IOU = 0.999
BORDERLINE = 2e-5
"""Objects so close to a threshold, to the cut or to a tie may fall on either side of it."""
BORDERLINE_SHARE = 0.001
RIVAL_PX = 1.0
ONE_PIXEL = "a mask's pixel at the threshold"
CROPPED = "a mask that its box cuts off at the next pixel"


@dataclass
class Comparison:
    """What a comparison of many images found.

    ``borderline`` and ``unmatched`` say image, side and object; the worst differences are over all pairs.
    """

    pairs: int = 0
    borderline: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=dict)

    @property
    def objects(self) -> int:
        return self.pairs + len(self.borderline) + len(self.unmatched)

    @property
    def holds(self) -> bool:
        return not self.unmatched and len(self.borderline) <= BORDERLINE_SHARE * self.objects

    def note(self, name: str, value: float) -> None:
        self.worst[name] = max(self.worst.get(name, 0.0), value)


def compared(
    images: Sequence[Path], served: Sequence[Arrays], reference: Sequence[Arrays], setting: Arrays, imgsz: int
) -> Comparison:
    """Compare the answers for many images, given the side of the network's square input."""
    total = Comparison()
    for image, mine, other in zip(images, served, reference, strict=True):
        compare(total, image.name, mine, other, setting, imgsz / max(other["orig_shape"]))
    return total


def compare(into: Comparison, image: str, served: Arrays, reference: Arrays, setting: Arrays, gain: float) -> None:
    """Pair the objects of one image and add what came of it to ``into``.

    Args:
        into: Collects over images.
        image: Its name, for the report.
        served: Arrays by name, as `reference.py` names them.
        reference: The same from Ultralytics.
        setting: conf, iou and max_det of both.
        gain: Pixels of the network's input per pixel of the image.
    """
    if tuple(served["orig_shape"]) != tuple(reference["orig_shape"]):
        into.unmatched.append(f"{image}: is {served['orig_shape']} served and {reference['orig_shape']} read")
        return
    close = _close(served, reference, gain)
    cost = np.where(close, np.abs(served["confidence"][:, None] - reference["confidence"][None]), 1e3)
    rows, columns = linear_sum_assignment(cost)
    paired = [(i, j) for i, j in zip(rows, columns, strict=True) if close[i, j]]
    for i, j in paired:
        fault = _differences(into, served, reference, i, j, gain)
        if fault in (ONE_PIXEL, CROPPED):
            into.borderline.append(f"{image}: {fault}")
        elif fault:
            into.unmatched.append(f"{image}: {fault}")
        else:
            into.pairs += 1
    for side, mine, other, used in (
        ("served", served, reference, {i for i, _ in paired}),
        ("reference", reference, served, {j for _, j in paired}),
    ):
        for index in set(range(len(mine["confidence"]))) - used:
            text = f"{image}: {side} alone has class {mine['class_id'][index]} at {mine['confidence'][index]:.6f}"
            excused = _borderline(mine, other, index, setting, gain)
            (into.borderline if excused else into.unmatched).append(f"{text}{' (' + excused + ')' if excused else ''}")


def _close(served: Arrays, reference: Arrays, gain: float) -> npt.NDArray[np.bool_]:
    same = served["class_id"][:, None] == reference["class_id"][None]
    same &= np.abs(served["confidence"][:, None] - reference["confidence"][None]) <= SCORE
    distance = _corner_distance(served, reference) * gain
    if "corners" in served:
        return same & (distance <= CORNER_PX)
    return same & ((distance <= CORNER_PX) | (box_iou(served["xyxy"], reference["xyxy"]) >= BOX_IOU))


def _corner_distance(served: Arrays, reference: Arrays) -> npt.NDArray[np.float64]:
    key, width = ("corners", 8) if "corners" in served else ("xyxy", 4)
    mine, other = (side[key].astype(float) for side in (served, reference))
    return np.abs(mine.reshape(-1, 1, width) - other.reshape(1, -1, width)).max(axis=-1)


def _differences(into: Comparison, served: Arrays, reference: Arrays, i: int, j: int, gain: float) -> str | None:
    """Note how far a pair is apart; name what is beyond its limit."""
    into.note("score", float(abs(served["confidence"][i] - reference["confidence"][j])))
    pick = {name: value[i : i + 1] for name, value in served.items() if name in ("xyxy", "corners")}
    pack = {name: value[j : j + 1] for name, value in reference.items() if name in ("xyxy", "corners")}
    into.note("corner px", float(_corner_distance(pick, pack)[0, 0]) * gain)
    if "keypoints" in served:
        mine, other = served["keypoints"][i], reference["keypoints"][j]
        into.note("keypoint px", offset := float(np.abs(mine[:, :2] - other[:, :2]).max()) * gain)
        into.note("visibility", visible := float(np.abs(mine[:, 2:] - other[:, 2:]).max(initial=0.0)))
        if offset > KEYPOINT_PX or visible > VISIBILITY:
            return f"keypoints are {offset:.3f} px and {visible:.1e} apart"
    if "masks" in served:
        height, width = reference["orig_shape"]
        runs = [{"size": [height, width], "counts": side} for side in (served["masks"][i], reference["masks"][j])]
        iou = float(coco_mask.iou(runs[:1], runs[1:], [0])[0, 0])
        into.note("1 - mask IoU", 1 - iou)
        if iou < MASK_IOU:
            # One pixel at the threshold is more than the limit allows in a small mask.
            areas = [int(area) for area in coco_mask.area(runs)]
            apart = sum(areas) - 2 * round(iou * sum(areas) / (1 + iou))
            if apart == 1:
                return ONE_PIXEL
            differ = coco_mask.decode(runs[0]) != coco_mask.decode(runs[1])
            if not _inside_both(differ, served["xyxy"][i], reference["xyxy"][j]).any():
                return CROPPED
            return f"mask IoU {iou:.5f}, {apart} pixels apart"
    return None


def _inside_both(
    differ: npt.NDArray[np.bool_], a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return where masks differ, without the rows and columns that only one of two nearly equal boxes contains.

    Ultralytics cuts a mask off at its box: pixels from the left (upper) edge to before the right (lower) one, or, of
    few masks, at the rounded edges. Edges at 138.999 and 139.001 are one row of pixels apart.
    """
    left = differ.copy()
    for edge, (one, other) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        for snap in (math.ceil, round):
            first, end = sorted((snap(one), snap(other)))
            if edge % 2:
                left[first:end] = False
            else:
                left[:, first:end] = False
    return left


def _borderline(mine: Arrays, other: Arrays, index: int, setting: Arrays, gain: float) -> str | None:
    """Say why an object may lack its partner, or None where it may not."""
    score = mine["confidence"][index]
    if abs(score - setting["conf"]) <= BORDERLINE:
        return "at the confidence threshold"
    scores = other["confidence"]
    if len(scores) == setting["max_det"] and score <= scores.min() + BORDERLINE:
        return "at the max_det cut"
    if "xyxy" not in mine:
        return None
    for side in (mine, other):
        rivals = np.flatnonzero(side["class_id"] == mine["class_id"][index])
        overlap = box_iou(mine["xyxy"][index : index + 1], side["xyxy"][rivals])[0]
        if (np.abs(overlap - setting["iou"]) <= BORDERLINE).any():
            return "at the overlap threshold"
        # A rival is another candidate for the object, not this one moved by a fault.
        apart = np.abs(mine["xyxy"][index] - side["xyxy"][rivals]).max(axis=-1) * gain > RIVAL_PX
        tied = (np.abs(side["confidence"][rivals] - score) <= BORDERLINE) & apart
        if side is other and (tied & (overlap > setting["iou"])).any():
            return "a tie of two overlapping objects"
    return None


def box_iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the overlap of each box of ``a`` (n, 4) with each of ``b`` (m, 4); equal empty boxes overlap fully."""
    a, b = a.astype(float)[:, None], b.astype(float)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    return np.where((a == b).all(-1), 1.0, common / np.maximum(union, 1e-12))
