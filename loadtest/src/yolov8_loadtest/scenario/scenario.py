# SPDX-License-Identifier: Apache-2.0
"""What is asked: one kind of request in a scenario's mix.

A load test as data: what is asked, how much and when, and which figures it has to show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Literal

from yolov8_contract.task import Task
from yolov8_loadtest.errors import ScenarioError
from yolov8_loadtest.scenario.load import Kind, Load
from yolov8_loadtest.scenario.slo import NAMES, Slo

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


SHIPPED = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One load test.

    Attributes:
        name: The file's name without its suffix.
        about: What it is for, in a sentence.
        deadline_s: How long one request may take, from the moment that it is sent.
        load: How much is asked, and when.
        traffic: What is asked.
        tolerance: How far answers may be from the expected ones.
        slo: What the figures have to be.
        seed: Of all that is drawn at random.
        text: The file's content, which says all of this again.
    """

    name: str
    about: str
    deadline_s: float
    load: Load
    traffic: tuple[Traffic, ...]
    tolerance: Tolerance
    slo: Slo
    seed: int
    text: str

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that the traffic needs models of."""
        return tuple(dict.fromkeys(traffic.task for traffic in self.traffic))


def shipped() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def find(name: str) -> Path:
    """Return the file of a scenario: a path, or the name of one that comes with the package.

    Raises:
        ScenarioError: There is neither.
    """
    for path in (Path(name), SHIPPED / f"{name}.toml"):
        if path.is_file():
            return path
    raise ScenarioError(f"no scenario {name!r}: it is neither a file nor one of {', '.join(shipped())}")


def scaled(scenario: Scenario, *, load_factor: float = 1.0, time_factor: float = 1.0) -> Scenario:
    """Return a scenario with so many times the users, rate or cameras, and stages so many times as long.

    Users and cameras are whole: they are rounded, and never fall to 0.
    """
    stages = tuple(
        replace(
            stage,
            level=_scaled_level(scenario.load.kind, stage.level, load_factor),
            duration_s=max(round(stage.duration_s * time_factor), 1),
        )
        for stage in scenario.load.stages
    )
    return replace(scenario, load=replace(scenario.load, stages=stages))


def with_limits(scenario: Scenario, limits: Iterable[str]) -> Scenario:
    """Return a scenario with some limits of its SLO set anew, each as ``p95_ms=200``.

    Raises:
        ScenarioError: A limit has another form, or no such name.
    """
    slo = scenario.slo
    for limit in limits:
        name, _, value = (part.strip() for part in limit.partition("="))
        try:
            slo = replace(slo, **{name: float(value)})
        except (TypeError, ValueError):
            choices = ", ".join(NAMES)
            raise ScenarioError(f"expected a limit such as p95_ms=200, of {choices}; got {limit!r}") from None
    return replace(scenario, slo=slo)


def _scaled_level(kind: Kind, level: float, factor: float) -> float:
    if kind is Kind.OPEN:
        return level * factor
    return max(round(level * factor), 1)
