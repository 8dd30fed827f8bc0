# SPDX-License-Identifier: Apache-2.0
"""What is asked: one kind of request in a scenario's mix."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from yolov8_contract.task import Task

Format = Literal["jpeg", "png", "webp", "bmp"]
Parameter = bool | int | float | str

DEFAULT_IMAGES = 8


class Damage(Enum):
    """What was done to an image, so that a server has to refuse it."""

    EMPTY = "empty"
    """No bytes at all."""
    TEXT = "text"
    """Words instead of an image."""
    GIF = "gif"
    """An image in a format that no model takes."""
    TRUNCATED = "truncated"
    """The first half of the file."""
    BOMB = "bomb"
    """A small PNG that says it has 60,000 x 60,000 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One kind of request.

    Attributes:
        name: What figures are reported under.
        weight: How often it is chosen, against the others'.
        task: What its model was trained for.
        model: The model to ask; None asks the run's own, or the only one that serves the task.
        images: How many different images are prepared, for each of ``longest_side``.
        longest_side: Images are resized to each of these, in pixels; empty leaves them as they are.
        format: Images are compressed anew to it; None leaves those as they are that aren't resized.
        damage: What is done to the images.
        parameters: Request parameters, as they travel.
        expect: The SDK's error that is the right answer, by class name; None expects a result.
    """

    name: str
    weight: float = 1.0
    task: Task = Task.DETECT
    model: str | None = None
    images: int = DEFAULT_IMAGES
    longest_side: tuple[int, ...] = ()
    format: Format | None = None
    damage: Damage | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict)
    expect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an answer may be from the expected one.

    A server that batches may compute the last bits differently in another batch.

    Attributes:
        score: Scores and probabilities differ by at most so much. Objects that are no farther from the threshold
            may be missing, or be there.
        iou: Boxes and masks overlap at least so much.
        keypoint_px: Keypoints are at most so far away.
    """

    score: float = 0.01
    iou: float = 0.98
    keypoint_px: float = 1.0
