# SPDX-License-Identifier: Apache-2.0
"""Tell whether processes grow while they do the same all the time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from yolov8_loadtest.resources import ResourceSample, Usage

WINDOW = 0.1
"""The part of the samples at either end whose median counts: single samples jump with what is in flight."""
FEWEST_SAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What one process used after warm-up and at the end."""

    process: str
    memory_before_mb: float
    memory_after_mb: float
    descriptors_before: float
    descriptors_after: float

    @property
    def memory_ratio(self) -> float:
        """By which part its memory grew; below 0 if it shrank."""
        return self.memory_after_mb / self.memory_before_mb - 1 if self.memory_before_mb else math.nan

    @property
    def descriptors(self) -> float:
        """By how many its open files grew."""
        return self.descriptors_after - self.descriptors_before


def growth(samples: Sequence[ResourceSample], *, from_s: float, until_s: float) -> list[Growth]:
    """Compare the ends of a stretch of a run; nothing is returned where there are too few samples to tell."""
    stretch = [sample for sample in samples if from_s <= sample.at_s <= until_s]
    if len(stretch) < FEWEST_SAMPLES:
        return []
    window = max(math.ceil(len(stretch) * WINDOW), 2)
    first, last = stretch[:window], stretch[-window:]
    names = sorted(set.intersection(*(set(sample.usage) for sample in (*first, *last))))
    return [_growth(name, [s.usage[name] for s in first], [s.usage[name] for s in last]) for name in names]


def _growth(name: str, first: list[Usage], last: list[Usage]) -> Growth:
    return Growth(
        process=name,
        memory_before_mb=statistics.median(usage.memory_mb for usage in first),
        memory_after_mb=statistics.median(usage.memory_mb for usage in last),
        descriptors_before=statistics.median(usage.descriptors for usage in first),
        descriptors_after=statistics.median(usage.descriptors for usage in last),
    )
