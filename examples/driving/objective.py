# SPDX-License-Identifier: Apache-2.0
"""The service-level objective of a camera: how old answers may be, with missed frames counted as infinitely old."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Record:
    """What became of a camera's frames in a phase of the drive.

    Attributes:
        ages_s: Seconds from capture to answer, of the frames that were answered.
        missed: Number of frames without an answer, by reason.
        objects: Number of objects found.
    """

    ages_s: list[float] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)
    objects: int = 0

    @property
    def frames(self) -> int:
        """The number of frames."""
        return len(self.ages_s) + self.missed.total()

    def percentile_s(self, percent: float) -> float:
        """Return the age that so many percent of all frames keep; infinity if a missed frame is among them.

        NaN without frames.
        """
        if not self.frames:
            return math.nan
        ages = sorted(self.ages_s) + [math.inf] * self.missed.total()
        return ages[max(math.ceil(percent / 100 * len(ages)) - 1, 0)]

    def __str__(self) -> str:
        p50, p99 = (milliseconds(self.percentile_s(percent)) for percent in (50, 99))
        reasons = "".join(f", {count} {reason}" for reason, count in sorted(self.missed.items()))
        return f"{len(self.ages_s)} of {self.frames} frames answered, p50 {p50}, p99 {p99}{reasons}"


def milliseconds(seconds: float) -> str:
    """Return a time for people."""
    if math.isnan(seconds):
        return "unknown"
    return "missed" if math.isinf(seconds) else f"{seconds * 1e3:.0f} ms"


def verdict(phase: str, record: Record, limit_s: float) -> tuple[bool, str]:
    """Return whether the front camera kept its limit in a phase, and the line that says so."""
    p99 = record.percentile_s(99)
    kept = p99 <= limit_s
    shown = "kept" if kept else "MISSED"
    return kept, f"SLO {shown}: {phase}: front p99 {milliseconds(p99)}, limit {limit_s * 1e3:.0f} ms"
