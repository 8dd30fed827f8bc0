# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measure how much a reduced network loses against its FP32 original, on images that it was not calibrated with.

Each task is judged by its own kind of result: boxes, masks, keypoints, rotated boxes, or the best class. Where masks or
keypoints are judged, the boxes are judged, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import AccuracyError, OptionError
from yolov8_export.precision.images import Picture
from yolov8_export.precision.objects import KINDS, Kind, Objects, find_objects, overlaps
from yolov8_export.precision.truth import Truth
from yolov8_export.runtime import Array, Run

SURE = RequestParameters(conf=0.25, iou=0.7)
ALL = RequestParameters(conf=0.001, iou=0.6)
MATCH_OVERLAP = 0.5

_Head = tuple[Picture, Sequence[Array], Sequence[Array]]
"""An image, and the outputs of the reduced and of the original network for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How much of what the FP32 network finds a reduced network finds.

    Attributes:
        engine: The engine that ran the reduced network.
        kind: The kind of result that the networks were judged by.
        images: The number of images.
        objects: The number of objects that the FP32 network finds at the default threshold; for a classifier, the
            number of images.
        matched: The share of these objects that the reduced network finds, too, or the share of its own objects that
            the FP32 network finds, whichever is less; for a classifier, the share of images with the same best class.
        score_shift: The mean change of a matched object's score.
        map_before: The mAP50-95 of the FP32 network by ``kind``, if annotations are given.
        map_after: The mAP50-95 of the reduced network by ``kind``.
        box_map_before: The mAP50-95 of the FP32 network by boxes, where masks or keypoints are judged.
        box_map_after: The mAP50-95 of the reduced network by boxes.
    """

    engine: str
    kind: Kind = "bbox"
    images: int
    objects: int
    matched: float
    score_shift: float
    map_before: float | None = None
    map_after: float | None = None
    box_map_before: float | None = None
    box_map_after: float | None = None

    @property
    def map_losses(self) -> list[float]:
        """The losses of mAP50-95 that have to keep the limit; empty without annotations."""
        pairs = (self.map_before, self.map_after), (self.box_map_before, self.box_map_after)
        return [before - after for before, after in pairs if before is not None and after is not None]

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        text = (
            f"on {self.images} images in {self.engine}: {self.matched:.1%} of {self.objects} matched, "
            f"scores move by {self.score_shift:.3f}"
        )
        if self.map_before is not None and self.map_after is not None:
            of_kind = "" if self.kind == "bbox" else f" ({self.kind})"
            text += f", mAP50-95{of_kind} {self.map_before:.4f} → {self.map_after:.4f}"
        if self.box_map_before is not None and self.box_map_after is not None:
            text += f", mAP50-95 (bbox) {self.box_map_before:.4f} → {self.box_map_after:.4f}"
        return text


def measure(
    reduced: Run, original: Run, model: ServedModel, pictures: Sequence[Picture], truth: Truth | None, *, engine: str
) -> Accuracy:
    """Compare two networks on images.

    Args:
        reduced: Runs the reduced network on images in [0, 1].
        original: Runs the FP32 network.
        model: The task, classes and input size of both networks.
        pictures: Images that the reduced network was not calibrated with.
        truth: The annotations of the images, if there are any.
        engine: The engine that runs the reduced network, for the report.
    """
    heads = [(picture, reduced(picture.images), original(picture.images)) for picture in pictures]
    if model.task is Task.CLASSIFY:
        return _of_classifier(heads, engine)
    kinds = KINDS[model.task]
    pairs = [(find_objects(model, p, after, SURE), find_objects(model, p, before, SURE)) for p, after, before in heads]
    shifts = [_score_shifts(after, before, kinds) for after, before in pairs]
    objects = sum(len(before.scores) for _, before in pairs)
    own = sum(len(after.scores) for after, _ in pairs)
    hits = sum(map(len, shifts))
    maps = {} if truth is None else _maps(heads, model, truth)
    return Accuracy(
        engine=engine,
        kind=kinds[-1],
        images=len(heads),
        objects=objects,
        matched=hits / max(objects, own, 1),
        score_shift=float(np.mean(np.concatenate(shifts))) if hits else 0.0,
        **maps,
    )


def check(accuracy: Accuracy, *, max_map_loss: float, min_matched: float) -> None:
    """Refuse a network that lost too much: by mAP where annotations are given, else by matched objects.

    Raises:
        AccuracyError: It lost too much.
    """
    if not accuracy.objects:
        raise AccuracyError("the FP32 network finds nothing on the evaluation images: give images of what it knows")
    if losses := accuracy.map_losses:
        too_bad = not all(loss <= max_map_loss for loss in losses)
        limit = f"--max-map-loss {max_map_loss:g}"
    else:
        too_bad, limit = not accuracy.matched >= min_matched, f"--min-matched {min_matched:g}"
    if too_bad:
        raise AccuracyError(
            f"the reduced network loses too much: {accuracy} ({limit}); nothing was written. Calibrate with more "
            "images of what it will see, or keep a higher --precision; a CPU without VNNI can't do INT8 well"
        )


def _of_classifier(heads: Sequence[_Head], engine: str) -> Accuracy:
    same = [int(after[0][0].argmax() == before[0][0].argmax()) for _, after, before in heads]
    shifts = [float(np.abs(after[0] - before[0]).max()) for _, after, before in heads]
    return Accuracy(
        engine=engine,
        kind="top1",
        images=len(heads),
        objects=len(heads),
        matched=float(np.mean(same)),
        score_shift=float(np.mean(shifts)),
    )


def _maps(heads: Sequence[_Head], model: ServedModel, truth: Truth) -> dict[str, float]:
    known = [head for head in heads if head[0].path.name in truth]
    if not known:
        raise OptionError("--truth: has annotations of none of the evaluation images")
    maps = {}
    *boxes, own = KINDS[model.task]
    for name in ("after", "before"):
        found = {
            picture.path.name: find_objects(model, picture, after if name == "after" else before, ALL)
            for picture, after, before in known
        }
        maps[f"map_{name}"] = truth.mean_average_precision(found, own)
        for kind in boxes:
            maps[f"box_map_{name}"] = truth.mean_average_precision(found, kind)
    return maps


def _score_shifts(after: Objects, before: Objects, kinds: Sequence[Kind]) -> Array:
    """Pair objects of the same class, best first; return the distances of their scores."""
    overlap = np.where(after.classes[:, None] == before.classes[None, :], overlaps(after, before, kinds), -1.0)
    shifts = []
    for index in range(len(after.scores) if len(before.scores) else 0):
        partner = int(overlap[index].argmax())
        if overlap[index, partner] >= MATCH_OVERLAP:
            overlap[:, partner] = -1.0
            shifts.append(abs(float(after.scores[index] - before.scores[partner])))
    return np.array(shifts, np.float32)
