# SPDX-License-Identifier: Apache-2.0
"""Decide whether a run met its service-level objective."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Limits that a run has to keep; None for no limit.

    Attributes:
        p50_ms: Largest median latency, from the moment that a request was due.
        p95_ms: Largest 95th percentile of latency.
        p99_ms: Largest 99th percentile of latency.
        error_ratio: Largest share of failed requests; a wrong answer is a failure.
        throughput_per_s: Smallest number of successful answers a second.
        dropped_ratio: Largest share of the cameras' frames that is dropped.
        memory_growth_ratio: Largest growth of the server's and the generator's memory after the warm-up, as a ratio.
        descriptor_growth: Largest growth of the number of their open files.
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
"""Limits that a measurement must not fall below."""

NAMES = tuple(field.name for field in fields(Slo))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The measurements of a run without its warm-up, named as in `Slo`; NaN where nothing was measured."""

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
    """A limit, its measurement, and whether the run passes."""

    name: str
    limit: float
    measured: float
    kept: bool


def checks(slo: Slo, run: Measured) -> list[Check]:
    """Compare a run with each limit that is set; a value that was not measured does not pass."""
    limits = [(name, getattr(slo, name)) for name in NAMES]
    return [_check(name, limit, getattr(run, name)) for name, limit in limits if limit is not None]


def violations(slo: Slo, run: Measured) -> list[str]:
    """Describe every limit that a run broke; a run without requests fails, too."""
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
    """Return a number with four digits, or all digits of a large one, and never with an exponent."""
    return f"{value:.0f}" if value >= _LARGE else f"{value:.4g}"


def _check(name: str, limit: float, measured: float) -> Check:
    kept = measured >= limit if name in AT_LEAST else measured <= limit
    return Check(name, limit, measured, kept)
