# SPDX-License-Identifier: Apache-2.0
"""Make one result of the objects that were found in overlapping tiles, as supervision's ``InferenceSlicer`` does.

Objects of one class are the same object if their intersection is more than half of the smaller one: a tile may show
only a part of an object, and the part has a small share of the whole. Masks are compared by pixels, rotated boxes by
their areas, and other boxes as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import rle, signature
from .mask_window import MaskWindow
from .parameters import RequestParameters
from .polygons import corners_of, intersection_area
from .served_model import ServedModel
from .slices import Tile
from .task import Task

SAME = 0.5
"""The intersection over the smaller area above which two objects are one."""
MAX_OBJECTS = 4000
"""The most objects of all tiles that are compared, the best ones."""

_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.intp]
_Tensors = dict[str, npt.NDArray[Any]]


def packed(model: ServedModel, tensors: Sequence[Mapping[str, Any]], tiles: Sequence[Tile], first: int) -> _Tensors:
    """Return the objects of some tiles as the tensors of ``signature.sliced(model)``, without a batch axis.

    Args:
        model: The served model.
        tensors: What `yolov8_contract.postprocess.postprocess` returned for each tile.
        tiles: All tiles of the image.
        first: The index of the first of them.
    """
    rows = [_rows(found, tiles[index], index) for index, found in enumerate(tensors, first)]
    columns = signature.sliced(model)[0].shape[-1]
    packs: _Tensors = {signature.SLICED: np.concatenate([np.empty((0, columns), np.float32), *rows])}
    if model.task is Task.SEGMENT:
        masks = [found[signature.MASKS.name] for found in tensors]
        packs[signature.SLICED_MASKS] = np.concatenate([np.empty(0, np.object_), *masks])
    return packs


def merge(
    model: ServedModel, orig_shape: tuple[int, int], parameters: RequestParameters, packs: Sequence[_Tensors]
) -> _Tensors:
    """Return the tensors of ``signature.detections(model)`` for an image, without a batch axis.

    Args:
        model: The served model.
        orig_shape: Height and width of the image as displayed, in pixels.
        parameters: The parameters of the request, with ``slicing``.
        packs: The objects of all tiles, from `packed`.
    """
    assert parameters.slicing is not None
    rows = np.concatenate([pack[signature.SLICED] for pack in packs])
    best = np.argsort(-rows[:, -3], kind="stable")[:MAX_OBJECTS]
    tiles = parameters.slicing.tiles(orig_shape)
    masks: list[MaskWindow] = []
    if model.task is Task.SEGMENT:
        texts = np.concatenate([pack[signature.SLICED_MASKS] for pack in packs])
        masks = [MaskWindow.of(texts[index], tiles[int(rows[index, -1])]) for index in best]
    objects = _Objects(
        boxes=rows[best, :-3], scores=rows[best, -3], classes=rows[best, -2].astype(np.int32), masks=masks
    )
    groups = _groups(objects, agnostic=parameters.agnostic, grow=parameters.slicing.merge == "nmm")
    if parameters.slicing.merge == "nms":
        objects = objects.chosen([group[0] for group in groups])
    else:
        objects = _joined(objects, groups)
    order = np.argsort(-objects.scores, kind="stable")[: parameters.max_det]
    return objects.chosen(order.tolist()).tensors(orig_shape, model.task)


def _rows(found: Mapping[str, Any], tile: Tile, index: int) -> _Floats:
    """Return a row for each object: its box in the image's pixels, score, class and the index of its tile."""
    boxes = found[signature.BOXES.name].copy()
    moved = 2 if boxes.shape[1] == signature.ROTATED else 4  # of a rotated box, the centre alone
    boxes[:, :moved] += np.array((tile.left, tile.top) * 2, np.float32)[:moved]
    columns = found[signature.SCORES.name], found[signature.CLASSES.name], np.full(len(boxes), index)
    rows: _Floats = np.concatenate([boxes, np.stack(columns, axis=1)], axis=1).astype(np.float32)
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objects:
    """Objects of one image, best first.

    Attributes:
        boxes: ``(n, 4)`` corners or ``(n, 5)`` rotated boxes in the image's pixels.
        scores: ``(n,)`` scores.
        classes: ``(n,)`` class ids.
        masks: The masks, for task segment.
    """

    boxes: _Floats
    scores: _Floats
    classes: npt.NDArray[np.int32]
    masks: list[MaskWindow]

    def __len__(self) -> int:
        return len(self.scores)

    def chosen(self, indices: Sequence[int]) -> _Objects:
        index = np.array(indices, np.intp)
        masks = [self.masks[one] for one in indices] if self.masks else []
        return _Objects(boxes=self.boxes[index], scores=self.scores[index], classes=self.classes[index], masks=masks)

    @property
    def upright(self) -> npt.NDArray[np.float64]:
        """``(n, 4)`` corners of the upright boxes around the objects."""
        if self.boxes.shape[1] != signature.ROTATED:
            return np.asarray(self.boxes, np.float64)
        corners = corners_of(self.boxes)
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    def tensors(self, orig_shape: tuple[int, int], task: Task) -> _Tensors:
        tensors: _Tensors = {
            signature.NUM_DETECTIONS.name: np.array([len(self)], np.int32),
            signature.BOXES.name: self.boxes,
            signature.SCORES.name: self.scores,
            signature.CLASSES.name: self.classes,
        }
        if task is Task.SEGMENT:
            texts = np.empty(len(self), np.object_)
            texts[:] = rle.encode([mask.counts(orig_shape) for mask in self.masks])
            tensors[signature.MASKS.name] = texts
        return tensors


def _groups(objects: _Objects, *, agnostic: bool, grow: bool) -> list[list[int]]:
    """Return the indices of objects that are one object, best first in each group.

    Args:
        objects: The objects of all tiles.
        agnostic: Whether objects of different classes may be one.
        grow: Whether a group of masks takes in what its union covers.
    """
    upright = objects.upright
    left = np.arange(len(objects))
    groups = []
    while len(left):
        best, left = left[0], left[1:]
        group = [int(best)]
        joint = objects.masks[best] if objects.masks else None
        while len(left):
            rivals = left if agnostic else left[objects.classes[left] == objects.classes[best]]
            same = rivals[_are_same(objects, upright, int(best), rivals, joint, grow)]
            group += same.tolist()
            left = left[~np.isin(left, same)]
            if joint is None or not grow or not len(same):
                break
            for one in same:
                joint = joint.union(objects.masks[one])
        groups.append(group)
    return groups


def _are_same(
    objects: _Objects,
    upright: npt.NDArray[np.float64],
    best: int,
    rivals: _Indices,
    joint: MaskWindow | None,
    inclusive: bool,
) -> npt.NDArray[np.bool_]:
    """Return which objects are the same one as the best, or as the union of masks that it has become."""
    if joint is not None:
        area = joint.area
        shares = [joint.intersection(mask) / min(area, mask.area) for mask in (objects.masks[one] for one in rivals)]
        return np.array([share >= SAME if inclusive else share > SAME for share in shares], bool)
    intersection = _overlap(upright[best], upright[rivals])
    areas = _areas(upright)
    if objects.boxes.shape[1] == signature.ROTATED:
        near = np.flatnonzero(intersection > 0)
        corners = corners_of(objects.boxes)
        intersection[near] = [intersection_area(corners[best], corners[one]) for one in rivals[near]]
        areas = (objects.boxes[:, 2] * objects.boxes[:, 3]).astype(np.float64)
    smaller = np.minimum(areas[best], areas[rivals])
    share = np.divide(intersection, smaller, out=np.zeros_like(intersection), where=smaller > 0).astype(np.float32)
    return np.asarray(share >= SAME if inclusive else share > SAME)


def _overlap(box: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=1))


def _areas(upright: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((upright[:, 2:] - upright[:, :2]).prod(axis=1))


def _joined(objects: _Objects, groups: Sequence[Sequence[int]]) -> _Objects:
    """Return an object for each group: around all of it, with the class of the best and the mean score by area."""
    upright = objects.upright
    boxes, scores, masks = [], [], []
    for group in groups:
        best = group[0]
        alone = len(group) == 1
        boxes.append(objects.boxes[best] if alone else _around(objects.boxes[list(group)]))
        weights = _areas(upright[list(group)])
        mean = alone or not weights.sum() > 0
        scores.append(objects.scores[best] if mean else np.average(objects.scores[list(group)], weights=weights))
        if objects.masks:
            joint = objects.masks[best]
            for one in group[1:]:
                joint = joint.union(objects.masks[one])
            masks.append(joint)
    return _Objects(
        boxes=np.array(boxes, np.float32).reshape(-1, objects.boxes.shape[1]),
        scores=np.array(scores, np.float32),
        classes=objects.classes[[group[0] for group in groups]],
        masks=masks,
    )


def _around(boxes: _Floats) -> npt.NDArray[np.float64]:
    """Return the box around some boxes; a rotated one keeps the angle of the first."""
    if boxes.shape[1] != signature.ROTATED:
        return np.asarray([*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)], np.float64)
    angle = float(boxes[0, 4])
    cos, sin = np.cos(angle), np.sin(angle)
    origin = boxes[0, :2].astype(np.float64)
    points = corners_of(boxes).reshape(-1, 2) - origin
    turned = points @ np.array([[cos, -sin], [sin, cos]])
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = (low + high) / 2 @ np.array([[cos, sin], [-sin, cos]]) + origin
    return np.array([*centre, *(high - low), angle])
