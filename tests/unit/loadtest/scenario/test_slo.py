# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from yolov8_loadtest.scenario.slo import Measured, Slo, violations

GOOD = {
    "p50_ms": 10.0,
    "p95_ms": 20.0,
    "p99_ms": 30.0,
    "error_ratio": 0.0,
    "throughput_per_s": 100.0,
    "dropped_ratio": 0.1,
    "memory_growth_ratio": 0.01,
    "descriptor_growth": 0.0,
}
LIMITS = GOOD | {"p95_ms": 25.0, "throughput_per_s": 90.0}


def test_a_run_within_all_limits_passes() -> None:
    assert violations(Slo(**LIMITS), Measured(requests=1, **GOOD)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p50_ms", 11.0),
        ("p95_ms", 26.0),
        ("p99_ms", 31.0),
        ("error_ratio", 0.001),
        ("throughput_per_s", 89.0),
        ("dropped_ratio", 0.2),
        ("memory_growth_ratio", 0.03),
        ("descriptor_growth", 1.0),
    ],
)
def test_each_limit_is_named_when_it_is_broken(name: str, value: float) -> None:
    (violation,) = violations(Slo(**LIMITS), Measured(requests=1, **(GOOD | {name: value})))

    assert name in violation
    assert f"{value:g}" in violation


def test_what_could_not_be_measured_is_not_kept() -> None:
    (violation,) = violations(Slo(error_ratio=None, memory_growth_ratio=0.02), Measured(requests=1))

    assert "memory_growth_ratio was not measured" in violation


def test_a_run_without_requests_fails_whatever_the_limits() -> None:
    assert violations(Slo(error_ratio=None), Measured(requests=0)) == ["no request was made"]


def test_any_failure_breaks_the_default() -> None:
    assert violations(Slo(), Measured(requests=10, error_ratio=0.1))


def test_large_figures_have_no_exponent() -> None:
    (said,) = violations(Slo(p50_ms=250, error_ratio=None), Measured(requests=1, p50_ms=10_007.4))

    assert said == "p50_ms is 10007, the limit is 250"
