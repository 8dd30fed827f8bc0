# SPDX-License-Identifier: Apache-2.0
"""The load of a scenario: stages of users, a request rate or cameras; times are seconds from the start."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

Arrivals = Literal["constant", "poisson"]
Channels = Literal["process", "user"]

DEFAULT_MAX_IN_FLIGHT = 1000
_ROUNDING = 1e-9


class Kind(Enum):
    """What a stage's level counts; the value is its key in a scenario file."""

    CLOSED = "users"
    """Each user asks again when it has its answer: a slow server slows the load."""
    OPEN = "rate_per_s"
    """Requests are due at their times, whatever the server does."""
    CAMERAS = "cameras"
    """Each camera has a new frame at a fixed rate and sends the newest when its last one is answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stretch of time with one level of load.

    Attributes:
        duration_s: Length in whole seconds, so that statistics by second add up to those by stage.
        level: Number of users, requests a second, or number of cameras.
        warmup: Whether the SLO ignores the stage; its statistics are reported all the same.
    """

    duration_s: int
    level: float
    warmup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of a scenario.

    Attributes:
        kind: What the stages' levels count.
        stages: The stages in their order.
        arrivals: Distances between requests of an open loop: equal, or random as those of independent callers.
        fps: Frames a second of each camera.
        channels: One gRPC channel for all users of a process, or one for each user.
        max_in_flight: Requests in flight of one process in an open loop; further ones count as failed.
    """

    kind: Kind
    stages: tuple[Stage, ...]
    arrivals: Arrivals = "constant"
    fps: float = 1.0
    channels: Channels = "process"
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT

    @property
    def duration_s(self) -> int:
        """The length of all stages in seconds."""
        return sum(stage.duration_s for stage in self.stages)

    def stage_at(self, offset_s: float) -> int | None:
        """Return the index of the stage that a moment lies in, None after the last one."""
        end = 0
        for index, stage in enumerate(self.stages):
            end += stage.duration_s
            if offset_s < end:
                return index
        return None

    def users_at(self, offset_s: float, processes: int) -> int | None:
        """Return the number of Locust users at a moment; an open loop has one user a process."""
        index = self.stage_at(offset_s)
        if index is None:
            return None
        return processes if self.kind is Kind.OPEN else math.ceil(self.stages[index].level)

    def starts(self) -> list[int]:
        """Return the second at which each stage begins."""
        return [sum(stage.duration_s for stage in self.stages[:index]) for index in range(len(self.stages))]


class Share(NamedTuple):
    """The number of a source, counted from 0, and how many sources there are."""

    number: int
    of: int


def arrivals(load: Load, share: Share, seed: int) -> Iterator[float]:
    """Yield the seconds at which the requests of one source are due; all sources together make up the load."""
    if load.arrivals == "constant":
        return _constant(load.stages, share)
    return _poisson(load.stages, share, random.Random(f"{seed} {share.number}"))


def _constant(stages: tuple[Stage, ...], share: Share) -> Iterator[float]:
    """Yield every ``of``-th arrival, so that the arrivals of all sources together have equal distances."""
    number, before, start = share.number, 0.0, 0.0
    for stage in stages:
        until = before + stage.level * stage.duration_s
        while number < until - _ROUNDING:
            yield start + (number - before) / stage.level
            number += share.of
        before, start = until, start + stage.duration_s


def _poisson(stages: tuple[Stage, ...], share: Share, chance: random.Random) -> Iterator[float]:
    start = 0.0
    for stage in stages:
        offset = 0.0
        while (offset := offset + chance.expovariate(stage.level / share.of)) < stage.duration_s:
            yield start + offset
        start += stage.duration_s
