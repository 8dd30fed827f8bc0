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
"""The result of a call, by the task of its model."""

R = TypeVar("R", bound=Result)
ITEM_ERRORS = (YoloTritonError, OSError)
"""The errors of one image, which do not affect others."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome(Generic[R]):
    """One image of many, and its result or error.

    Attributes:
        image: The image that was given.

    Example:
        >>> for outcome in client.detect_many(paths):
        ...     if outcome.error is None:
        ...         print(outcome.image, outcome.result)
    """

    image: ImageInput
    _answer: R | YoloTritonError | OSError

    @property
    def error(self) -> YoloTritonError | OSError | None:
        """The error of the image; None where it has a result."""
        return self._answer if isinstance(self._answer, ITEM_ERRORS) else None

    @property
    def result(self) -> R:
        """The result of the image.

        Raises:
            YoloTritonError: The image has no result; this is `error`.
            OSError: The file of the image can't be read; this is `error`.
        """
        if isinstance(self._answer, ITEM_ERRORS):
            raise self._answer
        return self._answer
