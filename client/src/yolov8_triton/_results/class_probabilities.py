# SPDX-License-Identifier: Apache-2.0
"""The result of classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from yolov8_contract.task import Task
from yolov8_triton._extras import extra
from yolov8_triton._results.timings import Timings

if TYPE_CHECKING:
    import supervision as sv


DEFAULT_TOP = 5


class ClassScore(NamedTuple):
    """A class and its probability, 0 to 1."""

    class_id: int
    class_name: str
    confidence: float


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassProbabilities:
    """The probability of each class for one image.

    Attributes:
        scores: ``(classes,)`` float32, in the order of ``labels``; they add up to 1.
        labels: The model's class names.
        orig_shape: Height and width of the image as displayed, in pixels.
        timings: Where the time of the call went; None unless it was asked with ``timings=True``.
    """

    task: ClassVar[Task] = Task.CLASSIFY

    scores: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    orig_shape: tuple[int, int]
    timings: Timings | None = None

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.labels),):
            raise ValueError(f"scores: expected shape ({len(self.labels)},), one a label, got {self.scores.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary()}>"

    @property
    def top1(self) -> int:
        """Id of the most probable class."""
        return self.top(1)[0].class_id

    @property
    def top1_name(self) -> str:
        """Name of the most probable class."""
        return self.top(1)[0].class_name

    @property
    def top1_confidence(self) -> float:
        """Probability of the most probable class."""
        return self.top(1)[0].confidence

    def top(self, k: int = DEFAULT_TOP) -> tuple[ClassScore, ...]:
        """Return the ``k`` most probable classes, best first; of equal ones the lower class id comes first."""
        best = np.argsort(-self.scores, kind="stable")[: max(k, 0)]
        return tuple(ClassScore(int(i), self.labels[i], float(self.scores[i])) for i in best)

    def summary(self) -> str:
        """Return the three most probable classes as text: ``tabby 0.62, tiger cat 0.21, lynx 0.05``."""
        return ", ".join(f"{one.class_name} {one.confidence:.2f}" for one in self.top(3))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON: ``task``, ``orig_shape``, the five ``top`` classes, and any ``timings``."""
        return {
            "task": self.task.value,
            "orig_shape": list(self.orig_shape),
            "top": [{**one._asdict(), "confidence": float(str(self.scores[one.class_id]))} for one in self.top()],
            **({} if self.timings is None else {"timings": self.timings.to_dict()}),
        }

    def to_supervision(self) -> sv.Classifications:
        """Return the same probabilities for supervision (extra ``draw``)."""
        with extra("draw"):
            import supervision as sv
        return sv.Classifications(class_id=np.arange(len(self)), confidence=self.scores)
