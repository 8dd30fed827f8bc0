# SPDX-License-Identifier: Apache-2.0
"""Decide whether a run met its service-level objective."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Limits that a run has to keep; None sets none.

    Attributes:
        p50_ms: Half of all answers come within it, from the moment that the request was due.
        p95_ms: Likewise 95 of a hundred.
        p99_ms: Likewise 99 of a hundred.
        error_ratio: At most this part of the requests fails; a wrong answer is a failure.
        throughput_per_s: At least so many right answers a second.
        dropped_ratio: At most this part of the cameras' frames is dropped.
        memory_growth_ratio: The server's and the generator's memory grow by at most this part after warm-up.
        descriptor_growth: Their open files grow by at most so many.
    """

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    error_ratio: float | None = 0.0
    throughput_per_s: float | None = None
    dropped_ratio: float | None = None
    memory_growth_ratio: float | None = None
    descriptor_growth: float | None = None


_LARGE = 1000

AT_LEAST = frozenset({"throughput_per_s"})
"""Limits that are kept from above."""

NAMES = tuple(field.name for field in fields(Slo))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run showed, warm-up left out; names as in `Slo`, NaN where there was nothing to measure."""

    requests: int
    p50_ms: float = math.nan
    p95_ms: float = math.nan
    p99_ms: float = math.nan
    error_ratio: float = math.nan
    throughput_per_s: float = math.nan
    dropped_ratio: float = math.nan
    memory_growth_ratio: float = math.nan
    descriptor_growth: float = math.nan


class Check(NamedTuple):
    """One limit, what was measured, and whether it was kept."""

    name: str
    limit: float
    measured: float
    kept: bool


def checks(slo: Slo, run: Measured) -> list[Check]:
    """Hold a run against each limit that is set. What could not be measured is not kept."""
    limits = [(name, getattr(slo, name)) for name in NAMES]
    return [_check(name, limit, getattr(run, name)) for name, limit in limits if limit is not None]


def violations(slo: Slo, run: Measured) -> list[str]:
    """Name every limit that a run broke; a run without requests breaks the SLO, too."""
    if run.requests == 0:
        return ["no request was made"]
    return [describe(check) for check in checks(slo, run) if not check.kept]


def describe(check: Check) -> str:
    """Return a sentence such as ``p95_ms is 312, the limit is 200``."""
    if math.isnan(check.measured):
        return f"{check.name} was not measured, and its limit is {check.limit:g}"
    floor = " at least" if check.name in AT_LEAST else ""
    return f"{check.name} is {figure(check.measured)}, the limit is{floor} {check.limit:g}"


def figure(value: float) -> str:
    """Return four digits of a figure, and all of a large one's: never an exponent where milliseconds are meant."""
    return f"{value:.0f}" if value >= _LARGE else f"{value:.4g}"


def _check(name: str, limit: float, measured: float) -> Check:
    kept = measured >= limit if name in AT_LEAST else measured <= limit
    return Check(name, limit, measured, kept)
