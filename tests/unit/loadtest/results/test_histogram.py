# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math

import numpy as np
import pytest

from yolov8_loadtest.results.recorder import LatencyHistogram

RNG = np.random.default_rng(0)
SAMPLES_S = {
    "microseconds": RNG.uniform(1e-6, 2e-4, 999),
    "milliseconds": RNG.lognormal(-4, 1, 5000),
    "minutes": RNG.exponential(60, 3000),
    "one": np.array([0.0123]),
}


def recorded(seconds: object) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in np.asarray(seconds, float):
        histogram.record_s(value)
    return histogram


@pytest.mark.parametrize("percent", [0, 1, 50, 90, 99, 99.9, 100])
@pytest.mark.parametrize("name", SAMPLES_S)
def test_percentiles_are_those_of_the_values_within_a_thousandth(name: str, percent: float) -> None:
    values = np.sort(SAMPLES_S[name])
    rank = max(math.ceil(round(percent * len(values) / 100, 6)), 1)  # 99.9 is no binary number
    exact_ms = values[rank - 1] * 1000

    assert recorded(SAMPLES_S[name]).percentile_ms(percent) == pytest.approx(exact_ms, rel=1e-3, abs=1e-3)


def test_mean_and_maximum_are_exact() -> None:
    histogram = recorded(SAMPLES_S["minutes"])

    assert histogram.max_ms == pytest.approx(SAMPLES_S["minutes"].max() * 1000, abs=1e-3)
    assert histogram.mean_ms == pytest.approx(SAMPLES_S["minutes"].mean() * 1000, abs=1e-3)


def test_merging_after_a_journey_gives_the_histogram_of_all_values() -> None:
    parts = [recorded(part) for part in np.array_split(SAMPLES_S["milliseconds"], 7)]
    travelled = [LatencyHistogram.from_wire(json.loads(json.dumps(part.to_wire()))) for part in parts]

    merged = LatencyHistogram.merged(travelled)

    assert list(merged.bins()) == list(recorded(SAMPLES_S["milliseconds"]).bins())
    assert len(merged) == 5000


def test_an_empty_histogram_has_no_percentile() -> None:
    assert np.isnan(LatencyHistogram().percentile_ms(50))


def test_a_clock_that_jittered_backwards_counts_as_no_time() -> None:
    assert recorded([-1e-5]).percentile_ms(50) == 0
