# SPDX-License-Identifier: AGPL-3.0-or-later
"""Find the objects in an image from a network's outputs, and measure how far two sets of objects overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from faster_coco_eval import mask as rle

from yolov8_contract import signature
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.probiou import Gaussians
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.precision.images import Picture
from yolov8_export.runtime import Array

Kind = Literal["bbox", "segm", "keypoints", "rotated", "top1"]
"""What is compared: boxes, masks, keypoints, rotated boxes, or the best class of an image."""

KINDS: dict[Task, tuple[Kind, ...]] = {
    Task.DETECT: ("bbox",),
    Task.SEGMENT: ("bbox", "segm"),
    Task.POSE: ("bbox", "keypoints"),
    Task.OBB: ("rotated",),
    Task.CLASSIFY: ("top1",),
}
"""The kinds by which a task is judged, the task's own kind last."""

AREA_OF_BOX = 0.53
"""The area of an object relative to its box, where no mask tells it; Ultralytics uses the same number for keypoints."""

_COCO_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
_VISIBLE = 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The objects in one image, in pixels of that image, best first.

    Attributes:
        boxes: ``(n, 4)`` corners, or ``(n, 5)`` rotated boxes.
        scores: ``(n,)`` scores.
        classes: ``(n,)`` class ids.
        masks: The masks as COCO run lengths, for segmentation.
        keypoints: ``(n, points, 2 or 3)`` keypoints, for pose.
        shape: The height and width of the image.
    """

    boxes: Array
    scores: Array
    classes: npt.NDArray[np.int32]
    masks: Sequence[dict[str, Any]] = ()
    keypoints: Array | None = None
    shape: tuple[int, int]

    @property
    def xywh(self) -> Floats:
        """The boxes as COCO writes them: left, top, width, height."""
        boxes = self.boxes.astype(np.float64)
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)

    @property
    def rotated(self) -> list[dict[str, Any]]:
        """The rotated boxes as COCO run lengths."""
        x, y, width, height, angle = self.boxes.astype(np.float64).T
        cos, sin = np.cos(angle), np.sin(angle)
        corners = [
            np.stack([x + i * width * cos - j * height * sin, y + i * width * sin + j * height * cos], axis=1)
            for i, j in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
        ]
        polygons = np.concatenate(corners, axis=1)
        return [rle.merge(rle.frPyObjects([polygon.tolist()], *self.shape)) for polygon in polygons]


def find_objects(
    model: ServedModel, picture: Picture, outputs: Sequence[Array], parameters: RequestParameters
) -> Objects:
    """Return the objects that the server would find from a network's outputs."""
    tensors = postprocess(model, [output[0] for output in outputs], picture.orig_shape, parameters)
    height, width = picture.orig_shape
    return Objects(
        boxes=tensors[signature.BOXES.name],
        scores=tensors[signature.SCORES.name],
        classes=tensors[signature.CLASSES.name],
        masks=[{"size": [height, width], "counts": text} for text in tensors.get(signature.MASKS.name, ())],
        keypoints=tensors.get(signature.KEYPOINTS),
        shape=(height, width),
    )


def overlaps(found: Objects, expected: Objects, kinds: Sequence[Kind]) -> Floats:
    """Return the ``(found, expected)`` overlaps from 0 to 1; with several kinds, the smallest."""
    by_kind = {"bbox": _box_iou, "segm": _mask_iou, "keypoints": _keypoint_similarity, "rotated": _rotated_iou}
    if not len(found.scores) or not len(expected.scores):
        return np.zeros((len(found.scores), len(expected.scores)))
    return np.asarray(np.minimum.reduce([by_kind[kind](found, expected) for kind in kinds]))


def sigmas(points: int) -> Floats:
    """Return the tolerance of each keypoint: COCO's for its 17 points of a person, else the same for all."""
    return _COCO_SIGMAS if points == len(_COCO_SIGMAS) else np.full(points, 1 / points)


def _box_iou(found: Objects, expected: Objects) -> Floats:
    return np.asarray(rle.iou(found.xywh, expected.xywh, [0] * len(expected.scores)))


def _mask_iou(found: Objects, expected: Objects) -> Floats:
    return np.asarray(rle.iou(list(found.masks), list(expected.masks), [0] * len(expected.scores)))


def _keypoint_similarity(found: Objects, expected: Objects) -> Floats:
    """Return COCO's object keypoint similarity at the points that the expected objects show."""
    assert found.keypoints is not None  # the task is pose
    assert expected.keypoints is not None
    apart = found.keypoints[:, None, :, :2].astype(np.float64) - expected.keypoints[None, :, :, :2]
    area = expected.xywh[:, 2:].prod(axis=1) * AREA_OF_BOX + np.spacing(1)
    near = np.exp(-(apart**2).sum(-1) / ((2 * sigmas(apart.shape[2])) ** 2 * area[None, :, None] * 2))
    visible = _visible(expected.keypoints)
    return np.asarray((near * visible).sum(-1) / visible.sum(-1))


def _visible(keypoints: Array) -> npt.NDArray[np.bool_]:
    """Return the points to compare: the visible ones, or all if there is none."""
    if keypoints.shape[2] < 3:
        return np.ones(keypoints.shape[:2], bool)
    visible = keypoints[:, :, 2] > _VISIBLE
    return np.where(visible.any(axis=1, keepdims=True), visible, True)


def _rotated_iou(found: Objects, expected: Objects) -> Floats:
    """Return the overlap by which Ultralytics judges rotated boxes."""
    rows, columns = len(found.scores), len(expected.scores)
    boxes = Gaussians.of(np.concatenate([found.boxes, expected.boxes]))
    first, second = np.divmod(np.arange(rows * columns), columns)
    return np.nan_to_num(boxes.probiou(first, second + rows)).reshape(rows, columns).astype(np.float64)
