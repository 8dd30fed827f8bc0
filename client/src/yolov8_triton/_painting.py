# SPDX-License-Identifier: Apache-2.0
"""Paint results with supervision's annotators; imported by `_draw` alone, since supervision is slow to load."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import supervision as sv
from PIL.Image import Image

from yolov8_triton._class_panel import paint_panel
from yolov8_triton._class_probabilities import ClassProbabilities
from yolov8_triton._detections import Detections
from yolov8_triton._objects import Objects
from yolov8_triton._oriented_boxes import OrientedBoxes
from yolov8_triton._poses import Poses
from yolov8_triton._protocol import Result
from yolov8_triton._segmentations import Segmentations
from yolov8_triton._skeleton import COCO_LIMBS, COCO_POINTS
from yolov8_triton._style import LETTERS, PALETTE, Sizes, font_path
from yolov8_triton._supervision import upright

_MASK_OPACITY = 0.45


def paint(picture: Image, result: Result) -> Image:
    """Return the picture with the result over it."""
    sizes = Sizes.of(*picture.size)
    if isinstance(result, ClassProbabilities):
        return paint_panel(picture, result, sizes)
    result = result[::-1]  # the best come last, on top
    if isinstance(result, Poses):
        return _poses(picture, result, sizes)
    if isinstance(result, OrientedBoxes):
        return _rotated(picture, result, sizes)
    if isinstance(result, Segmentations):
        return _masks(picture, result, sizes)
    return _boxes(picture, result, sizes)


def _boxes(picture: Image, found: Detections, sizes: Sizes) -> Image:
    objects, colors = found.to_supervision(), _by_class(found)
    boxes = sv.BoxAnnotator(color=PALETTE, thickness=sizes.line)
    return _labels(boxes.annotate(picture, objects, custom_color_lookup=colors), objects, sizes, colors)


def _masks(picture: Image, found: Segmentations, sizes: Sizes) -> Image:
    objects, colors = found.to_supervision(), _by_object(found)
    fill = sv.MaskAnnotator(color=PALETTE, opacity=_MASK_OPACITY)
    outline = sv.PolygonAnnotator(color=PALETTE, thickness=sizes.thin)
    picture = fill.annotate(picture, objects, custom_color_lookup=colors)
    picture = outline.annotate(picture, objects, custom_color_lookup=colors)
    # Without a frame a corner of it may be far from the object; the middle of its upper side is over most heads.
    return _labels(picture, objects, sizes, colors, sv.Position.TOP_CENTER)


def _rotated(picture: Image, found: OrientedBoxes, sizes: Sizes) -> Image:
    objects, colors = found.to_supervision(), _by_class(found)
    boxes = sv.OrientedBoxAnnotator(color=PALETTE, thickness=sizes.line)
    return _labels(boxes.annotate(picture, objects, custom_color_lookup=colors), objects, sizes, colors)


def _poses(picture: Image, found: Poses, sizes: Sizes) -> Image:
    poses, colors = found.to_supervision(), _by_object(found)
    boxes = upright(found, found.xyxy)
    frame = sv.BoxAnnotator(color=PALETTE, thickness=sizes.thin)
    picture = frame.annotate(picture, boxes, custom_color_lookup=colors)
    if found.keypoints.shape[1] == COCO_POINTS:
        for color, edges in COCO_LIMBS:
            limbs = sv.EdgeAnnotator(color=sv.Color.from_hex(color), thickness=sizes.line, edges=edges)
            picture = limbs.annotate(picture, poses)
    for ink, radius in ((sv.Color.BLACK, sizes.point + 1), (sv.Color.WHITE, sizes.point)):
        picture = sv.VertexAnnotator(color=ink, radius=radius).annotate(picture, poses)
    return _labels(picture, boxes, sizes, colors)


def _by_object(found: Objects) -> npt.NDArray[np.int_]:
    """Return the number of each object's colour: things of one class lie beside and upon each other."""
    return np.arange(len(found))[::-1] if found.tracker_id is None else found.tracker_id.astype(np.int_)


def _by_class(found: Objects) -> npt.NDArray[np.int_]:
    """Return the number of each object's colour: that of its class, or its own where it is tracked."""
    return (found.class_id if found.tracker_id is None else found.tracker_id).astype(np.int_)


def _labels(
    picture: Image,
    objects: sv.Detections,
    sizes: Sizes,
    colors: npt.NDArray[np.integer[Any]],
    position: sv.Position = sv.Position.TOP_LEFT,
) -> Image:
    confidence = objects.confidence if objects.confidence is not None else ()
    texts = [f"{name} {score:.2f}" for name, score in zip(objects.data["class_name"], confidence, strict=True)]
    if objects.tracker_id is not None:
        texts = [f"#{number} {text}" for number, text in zip(objects.tracker_id, texts, strict=True)]
    labels = sv.RichLabelAnnotator(
        color=PALETTE,
        text_color=LETTERS,
        font_path=font_path(),
        font_size=sizes.letter,
        text_padding=sizes.padding,
        text_position=position,
        smart_position=True,
    )
    return labels.annotate(picture, objects, labels=texts, custom_color_lookup=colors.astype(np.int_))
