# SPDX-License-Identifier: Apache-2.0
"""Compare two models over many images, and say when the differences are within limits, or beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from yolov8_contract.task import Task
from yolov8_triton._canary.evidence import Evidence
from yolov8_triton._canary.matching import ImageChange

FALSE_ALARM = 0.001
"""The largest probability that a model within all limits is ever rolled back."""
FALSE_PROMOTION = 0.05
"""The largest probability that a model beyond a limit is ever promoted."""
_GREATEST_SHIFT = 0.25
"""The shift of scores to which an image's mean is cut off, so that a few images don't decide."""
_GREATEST_LACK = 0.5
"""What a pair of boxes can lack of a full overlap, from `PAIR_OVERLAP` on; an image's mean is cut off there."""

Verdict = Literal["promote", "roll back", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CanaryLimits:
    """The largest differences between the old and the new model, as means over images.

    Attributes:
        changed: Share of an image's objects that only one of the models finds.
        class_changed: The same among the objects of one class, over the images that have it.
        score: Shift of the scores of the objects that both find, up or down.
        overlap: What the objects that both find lack of a full overlap: 1 - IoU (boxes, masks), 1 - OKS, 1 - probIoU.
        failed: Share of the images to which the new model answers with an error.

    Raises:
        ValueError: A limit is not between 0 and 1 (`score`: 0.25, `overlap`: 0.5).
    """

    changed: float = 0.02
    class_changed: float = 0.2
    score: float = 0.01
    overlap: float = 0.01
    failed: float = 0.02

    def __post_init__(self) -> None:
        for item in fields(self):
            most = {"score": _GREATEST_SHIFT, "overlap": _GREATEST_LACK}.get(item.name, 1.0)
            if not 0 < (value := getattr(self, item.name)) < most:
                raise ValueError(f"{item.name}: expected a limit between 0 and {most:g}, got {value!r}")


DEFAULT_LIMITS = CanaryLimits()


@dataclass(slots=True)
class ClassChange:
    """The objects of one class in all images: counts, and sums over the objects that both models found."""

    matched: int = 0
    lost: int = 0
    new: int = 0
    score_shift: float = 0.0
    overlap: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, and the means over the objects that both models found; null without such objects."""
        return {
            "matched": self.matched,
            "lost": self.lost,
            "new": self.new,
            "matched_share": self.matched_share,
            "score_shift": round(self.score_shift / self.matched, 5) if self.matched else None,
            "overlap": round(self.overlap / self.matched, 5) if self.matched else None,
        }

    @property
    def matched_share(self) -> float | None:
        """Twice the pairs among the objects of both models, 0 to 1; None without objects."""
        objects = 2 * self.matched + self.lost + self.new
        return round(2 * self.matched / objects, 5) if objects else None


@dataclass(kw_only=True)
class Comparison:
    """What the comparison of two models has found so far. Not thread-safe.

    Attributes:
        labels: The class names of the models.
        limits: The limits.
        images: The number of images that were compared.
        failed: The number of images to which only the old model had an answer.
        classes: The objects by class id.
    """

    task: Task
    labels: Sequence[str]
    limits: CanaryLimits = DEFAULT_LIMITS
    images: int = 0
    failed: int = 0
    classes: dict[int, ClassChange] = field(default_factory=dict)
    _by_class: dict[int, Evidence] = field(default_factory=dict)

    def __post_init__(self) -> None:
        score = (1 + self.limits.score / _GREATEST_SHIFT) / 2
        self._measures = {
            "changed": Evidence(self.limits.changed),
            "score up": Evidence(score),
            "score down": Evidence(score),
            "overlap": Evidence(self.limits.overlap / _GREATEST_LACK),
            "failed": Evidence(self.limits.failed),
        }

    def add(self, change: ImageChange | Literal["failed"]) -> None:
        """Take one image's comparison; "failed" for an image to which only the old model had an answer."""
        if change == "failed":
            self.failed += 1
            self._measures["failed"].add(1.0)
            return
        self.images += 1
        self._measures["failed"].add(0.0)
        self._measures["changed"].add(change.changed())
        if len(change.matched):
            shift = float(np.clip(np.mean(change.score_shift), -_GREATEST_SHIFT, _GREATEST_SHIFT)) / _GREATEST_SHIFT
            self._measures["score up"].add((1 + shift) / 2)
            self._measures["score down"].add((1 - shift) / 2)
            lack = float(np.clip(1 - np.mean(change.overlap), 0, _GREATEST_LACK))
            self._measures["overlap"].add(lack / _GREATEST_LACK)
        for number in change.classes():
            self._by_class.setdefault(number, Evidence(self.limits.class_changed)).add(change.changed(number))
            self._count(number, change)

    @property
    def verdict(self) -> Verdict:
        """What the evidence says; "undecided" until it is enough."""
        if self.reasons():
            return "roll back"
        needed = set(self._measures) - ({"overlap"} if self.task is Task.CLASSIFY else set())
        within = all(self._measures[name].is_below(FALSE_PROMOTION) for name in needed)
        return "promote" if within else "undecided"

    def reasons(self) -> list[str]:
        """Return the limits that the new model is beyond, as sentences."""
        alpha = FALSE_ALARM / (len(self._measures) + 1)  # the classes share one part
        found = [
            f"{_MEASURES[name]}: {self._value(name):.4f}, beyond the limit {self._limit(name):g}"
            for name, evidence in self._measures.items()
            if evidence.is_above(alpha)
        ]
        of_classes = {
            number: evidence
            for number, evidence in self._by_class.items()
            if evidence.is_above(alpha / max(len(self.labels), 1))
        }
        return found + [
            f"objects of {self.labels[number]!r} without a partner: {evidence.mean:.4f} of an image's, beyond the "
            f"limit {evidence.limit:g}"
            for number, evidence in of_classes.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        total = ClassChange()
        for one in self.classes.values():
            for item in fields(ClassChange):
                setattr(total, item.name, getattr(total, item.name) + getattr(one, item.name))
        return {
            "verdict": self.verdict,
            "reasons": self.reasons(),
            "images": self.images,
            "failed": self.failed,
            "measures": {name: self._measure(name) for name in self._measures},
            "objects": total.to_dict(),
            "classes": {self.labels[number]: self.classes[number].to_dict() for number in sorted(self.classes)},
        }

    def _count(self, number: int, change: ImageChange) -> None:
        counts = self.classes.setdefault(number, ClassChange())
        pairs = change.matched == number
        counts.matched += int(np.count_nonzero(pairs))
        counts.lost += int(np.count_nonzero(change.lost == number))
        counts.new += int(np.count_nonzero(change.new == number))
        counts.score_shift += float(change.score_shift[pairs].sum())
        counts.overlap += float(change.overlap[pairs].sum())

    def _measure(self, name: str) -> Mapping[str, Any]:
        evidence = self._measures[name]
        return {
            "mean": round(self._value(name), 5) if evidence.count else None,
            "limit": self._limit(name),
            "images": evidence.count,
            "within": evidence.is_below(FALSE_PROMOTION),
        }

    def _value(self, name: str) -> float:
        mean = self._measures[name].mean
        if name.startswith("score"):
            return (2 * mean - 1) * _GREATEST_SHIFT
        return mean * _GREATEST_LACK if name == "overlap" else mean

    def _limit(self, name: str) -> float:
        value: float = getattr(self.limits, name.partition(" ")[0])
        return value


_MEASURES = {
    "changed": "share of an image's objects without a partner",
    "score up": "rise of the scores of matched objects",
    "score down": "fall of the scores of matched objects",
    "overlap": "what matched objects lack of a full overlap",
    "failed": "share of images without an answer of the new model",
}
