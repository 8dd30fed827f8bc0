# SPDX-License-Identifier: Apache-2.0
"""What one tool said of one round, and what its rounds come to."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One round: answers a second, and latencies in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of requests in flight, measured by both tools in turn.

    Attributes:
        model: Which model was asked.
        processes: Of the load generator.
        in_flight: Requests at once.
        ours: The load generator's rounds.
        theirs: perf_analyzer's, each measured next to the one of ours in its place.
    """

    model: str
    processes: int
    in_flight: int
    ours: Sequence[Reading]
    theirs: Sequence[Reading]

    @property
    def throughput_ratio(self) -> float:
        """The load generator's throughput by perf_analyzer's: the median over the rounds."""
        return statistics.median(a.per_s / b.per_s for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def p50_ratio(self) -> float:
        """Likewise for p50."""
        return statistics.median(a.p50_ms / b.p50_ms for a, b in zip(self.ours, self.theirs, strict=True))

    def misses(self, limit: float) -> list[str]:
        """Say which ratio is farther from 1 than ``limit``."""
        ratios = {"throughput": self.throughput_ratio, "p50": self.p50_ratio}
        return [
            f"{self.model}, {self.in_flight} in flight: {name} is {ratio:.3f} of perf_analyzer's"
            for name, ratio in ratios.items()
            if abs(ratio - 1) > limit
        ]


def middle(readings: Sequence[Reading]) -> Reading:
    """Return the medians of several rounds."""
    return Reading(
        per_s=statistics.median(one.per_s for one in readings),
        p50_ms=statistics.median(one.p50_ms for one in readings),
        p99_ms=statistics.median(one.p99_ms for one in readings),
    )
