# SPDX-License-Identifier: Apache-2.0
"""A load test as data: its requests, its load, and the limits that it has to keep."""

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
    """How an image is corrupted, so that a server has to refuse it."""

    EMPTY = "empty"
    """No bytes."""
    TEXT = "text"
    """Text instead of an image."""
    GIF = "gif"
    """An image in a format that no model accepts."""
    TRUNCATED = "truncated"
    """The first half of the file."""
    BOMB = "bomb"
    """A small PNG whose header claims 60,000 x 60,000 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One kind of request.

    Attributes:
        name: Name in the statistics.
        weight: Relative frequency among the kinds of traffic.
        task: Task of its model.
        model: The model to ask; None for the run's own, or the only one that serves the task.
        images: Number of different images for each of ``longest_side``.
        longest_side: Longest sides in pixels to which images are resized; empty leaves them as they are.
        format: Format to which images are compressed again; None leaves images that are not resized as they are.
        damage: How the images are corrupted; None for intact ones.
        parameters: Request parameters.
        priority: Level at which the server queues the requests, 1 for the one served first; None for its default.
        expect: Class name of the SDK's error that is expected; None expects a result.
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
    priority: int | None = None
    expect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an answer may differ from the expected one.

    The last bits of an answer may depend on the batch in which the server computed it.

    Attributes:
        score: Largest difference of scores and probabilities. An object whose score is this near to the threshold may
            be found or missing.
        iou: Smallest overlap of boxes and masks.
        keypoint_px: Largest distance of keypoints in pixels.
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
        about: One sentence about its purpose.
        deadline_s: How long a request may take from the moment that it is sent.
        load: The stages of load.
        traffic: The kinds of requests.
        tolerance: How far answers may differ from the expected ones.
        slo: The limits that the statistics have to keep.
        seed: Seed of all random choices.
        text: The content of the scenario file.
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
        """The tasks for which the traffic needs models."""
        return tuple(dict.fromkeys(traffic.task for traffic in self.traffic))


def shipped() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def find(name: str) -> Path:
    """Return the file of a scenario: a path, or the name of one that comes with the package.

    Raises:
        ScenarioError: Neither exists.
    """
    for path in (Path(name), SHIPPED / f"{name}.toml"):
        if path.is_file():
            return path
    raise ScenarioError(f"no scenario {name!r}: it is neither a file nor one of {', '.join(shipped())}")


def scaled(scenario: Scenario, *, load_factor: float = 1.0, time_factor: float = 1.0) -> Scenario:
    """Return a scenario with its load and its times multiplied by factors.

    Numbers of users and cameras are rounded to at least 1.
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
    """Return a scenario with some limits of its SLO replaced, each written as ``p95_ms=200``.

    Raises:
        ScenarioError: A limit is written otherwise, or its name is unknown.
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
