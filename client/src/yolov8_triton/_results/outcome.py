# SPDX-License-Identifier: Apache-2.0
"""The result of a call, and the outcome of one image of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from yolov8_triton._errors import YoloTritonError
from yolov8_triton._images import ImageInput
from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import Detections, OrientedBoxes, Poses, Segmentations

Result = Detections | Segmentations | Poses | OrientedBoxes | ClassProbabilities
"""What a call returns, by the task of its model."""

R = TypeVar("R", bound=Result)
ITEM_ERRORS = (YoloTritonError, OSError)
"""What goes wrong with one image, and leaves the others be."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome(Generic[R]):
    """One image of many, and its result or error.

    Attributes:
        image: What was given.

    Example:
        >>> for outcome in client.detect_many(paths):
        ...     if outcome.error is None:
        ...         print(outcome.image, outcome.result)
    """

    image: ImageInput
    _answer: R | YoloTritonError | OSError

    @property
    def error(self) -> YoloTritonError | OSError | None:
        """Why there is no result, if there is none."""
        return self._answer if isinstance(self._answer, ITEM_ERRORS) else None

    @property
    def result(self) -> R:
        """What was found.

        Raises:
            YoloTritonError: The image has no result; this is `error`.
            OSError: Likewise: its file can't be read.
        """
        if isinstance(self._answer, ITEM_ERRORS):
            raise self._answer
        return self._answer
