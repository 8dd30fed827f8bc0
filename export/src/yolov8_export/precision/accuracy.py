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


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSelection:
    """The layers that a search has left in FP32, so that an INT8 network keeps a share of what FP32 reaches.

    Attributes:
        wanted: The share to be kept.
        fp32_layers: The names of the layers with weights that stay in FP32, the most sensitive first.
        layers: The number of layers with weights.
        int8_multiplications: The share of the network's multiplications that INT8 does. By Amdahl's law the network
            gets at most ``1 / (1 - share)`` times as fast, however fast INT8 is.
        judged: The number of networks among which the search has chosen by the evaluation images.
    """

    wanted: float
    fp32_layers: tuple[str, ...]
    layers: int
    int8_multiplications: float
    judged: int

    def __str__(self) -> str:
        return (
            f"with {len(self.fp32_layers)} of {self.layers} layers in FP32; INT8 does {self.int8_multiplications:.1%} "
            f"of the multiplications; chosen among {self.judged} networks"
        )


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
        selection: The layers that stay in FP32, if they were searched.
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
    selection: LayerSelection | None = None

    @property
    def map_losses(self) -> list[float]:
        """The losses of mAP50-95 that have to keep the limit; empty without annotations."""
        return [before - after for before, after in self._maps]

    @property
    def share_kept(self) -> float | None:
        """The share of FP32's mAP50-95 that the reduced network keeps; with two kinds, the smaller one.

        For a classifier it is the share of images whose best class stays. It is unknown (None) without
        annotations, and where the FP32 network finds nothing that is annotated.
        """
        if self.kind == "top1":
            return self.matched
        return min((after / before for before, after in self._maps if before > 0), default=None)

    @property
    def _maps(self) -> list[tuple[float, float]]:
        pairs = (self.map_before, self.map_after), (self.box_map_before, self.box_map_after)
        return [(before, after) for before, after in pairs if before is not None and after is not None]

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        return asdict(self) | {"share_kept": self.share_kept}

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
        if self.selection is not None and self.share_kept is not None:
            text += f"; {self.share_kept:.2%} kept {self.selection}"
        return text


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a network finds in an image: ``sure`` objects at the default threshold, and all where they are annotated."""

    sure: Objects
    all_found: Objects | None


class Judge:
    """Compares reduced networks with one FP32 network, which runs only once."""

    def __init__(
        self, original: Run, model: ServedModel, pictures: Sequence[Picture], truth: Truth | None, *, engine: str
    ) -> None:
        """Run the FP32 network on images.

        Args:
            original: Runs the FP32 network on images in [0, 1].
            model: The task, classes and input size of the networks.
            pictures: Images that no reduced network was calibrated with.
            truth: The annotations of the images, if there are any.
            engine: The engine that runs the reduced networks, for the report.

        Raises:
            OptionError: The annotations are of other images.
        """
        self._model, self._pictures, self._truth, self._engine = model, pictures, truth, engine
        if model.task is Task.CLASSIFY:
            self._best = [original(picture.images)[0] for picture in pictures]
            return
        if truth is not None and not any(picture.path.name in truth for picture in pictures):
            raise OptionError("--truth: has annotations of none of the evaluation images")
        self._before = self._seen(original)
        self._maps = self._average_precisions(self._before, "before")

    def __call__(self, reduced: Run) -> Accuracy:
        """Return how much of what the FP32 network finds a reduced network finds."""
        if self._model.task is Task.CLASSIFY:
            return self._of_classifier(reduced)
        kinds, seen = KINDS[self._model.task], self._seen(reduced)
        pairs = [(after.sure, before.sure) for after, before in zip(seen, self._before, strict=True)]
        shifts = [_score_shifts(after, before, kinds) for after, before in pairs]
        objects = sum(len(before.scores) for _, before in pairs)
        own = sum(len(after.scores) for after, _ in pairs)
        hits = sum(map(len, shifts))
        return Accuracy(
            engine=self._engine,
            kind=kinds[-1],
            images=len(pairs),
            objects=objects,
            matched=hits / max(objects, own, 1),
            score_shift=float(np.mean(np.concatenate(shifts))) if hits else 0.0,
            **self._maps,
            **self._average_precisions(seen, "after"),
        )

    def _seen(self, run: Run) -> list[_Seen]:
        """Run a network on each image; its outputs are not kept, since those of many images fill the memory."""
        seen = []
        for picture in self._pictures:
            outputs = run(picture.images)
            annotated = self._truth is not None and picture.path.name in self._truth
            every = find_objects(self._model, picture, outputs, ALL) if annotated else None
            seen.append(_Seen(find_objects(self._model, picture, outputs, SURE), every))
        return seen

    def _average_precisions(self, seen: Sequence[_Seen], when: str) -> dict[str, Any]:
        if self._truth is None:
            return {}
        objects = zip(self._pictures, (one.all_found for one in seen), strict=True)
        found = {picture.path.name: every for picture, every in objects if every is not None}
        *boxes, own = KINDS[self._model.task]
        maps = {f"map_{when}": self._truth.mean_average_precision(found, own)}
        return maps | {f"box_map_{when}": self._truth.mean_average_precision(found, kind) for kind in boxes}

    def _of_classifier(self, reduced: Run) -> Accuracy:
        pairs = [(reduced(picture.images)[0], best) for picture, best in zip(self._pictures, self._best, strict=True)]
        return Accuracy(
            engine=self._engine,
            kind="top1",
            images=len(pairs),
            objects=len(pairs),
            matched=float(np.mean([after.argmax() == before.argmax() for after, before in pairs])),
            score_shift=float(np.mean([np.abs(after - before).max() for after, before in pairs])),
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
