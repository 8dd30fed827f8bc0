# SPDX-License-Identifier: Apache-2.0
"""The four scenarios of MLPerf Inference, and LoadGen's settings for each.

Names, percentiles and lengths are those of MLPerf's rules (``mlperf.conf`` of the benchmark suite, and the rules'
section on early stopping). A short run asks for fewer queries; the tables say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

FULL_S = 600
"""The least length of a run by MLPerf's rules."""
FULL_OFFLINE_SAMPLES = 24_576
MULTI_STREAM_SAMPLES = 8
"""Images in one query of MultiStream."""
SEED = 13
FEWEST_QUERIES = {0.9: 64, 0.99: 662}
"""The fewest queries with which early stopping can confirm a percentile (MLPerf's rules, "Early stopping")."""
_SLACK = 1.3
"""LoadGen makes the queries before it starts. It makes these times as many as the estimate needs, to fill the time."""
_NS = 1_000_000_000


class Scenario(Enum):
    """A scenario of MLPerf Inference."""

    SINGLE_STREAM = "SingleStream"
    MULTI_STREAM = "MultiStream"
    OFFLINE = "Offline"
    SERVER = "Server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a scenario is run.

    Attributes:
        seconds: The least length of a run.
        full: Whether percentiles and numbers of queries are those of MLPerf's rules. Otherwise MultiStream and Server
            are judged by their 90th percentile in place of the 99th, which needs a tenth of the queries.
    """

    seconds: int
    full: bool

    @property
    def percentile(self) -> float:
        """The percentile of MultiStream and Server."""
        return 0.99 if self.full else 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is expected of the system, from a first look at it.

    Attributes:
        latency_s: Latency of an image alone.
        rate: Images a second with many in flight.
        server_rate: Queries a second that Server is to send.
        server_limit_s: Latency that Server's percentile must not exceed.
    """

    latency_s: float
    rate: float
    server_rate: float
    server_limit_s: float


def settings(
    loadgen: Any, scenario: Scenario, length: Length, expected: Expected, images: int, *, accuracy: bool
) -> Any:
    """Return LoadGen's settings for a scenario.

    Args:
        loadgen: The module ``mlperf_loadgen``.
        scenario: The scenario.
        length: The length of the run.
        expected: What LoadGen plans the queries by.
        images: Number of images.
        accuracy: Whether each image is sent once before the run, and its answer is logged.
    """
    made = loadgen.TestSettings()
    made.scenario = getattr(loadgen.TestScenario, scenario.value)
    made.mode = loadgen.TestMode.SubmissionRun if accuracy else loadgen.TestMode.PerformanceOnly
    made.min_duration_ms = 1000 * length.seconds
    made.performance_sample_count_override = images
    made.qsl_rng_seed = made.sample_index_rng_seed = made.schedule_rng_seed = SEED
    if scenario is Scenario.SINGLE_STREAM:
        made.single_stream_expected_latency_ns = round(expected.latency_s / _SLACK * _NS)
        made.min_query_count = FEWEST_QUERIES[0.9]
    elif scenario is Scenario.MULTI_STREAM:
        made.multi_stream_samples_per_query = MULTI_STREAM_SAMPLES
        made.multi_stream_expected_latency_ns = round(MULTI_STREAM_SAMPLES / expected.rate / _SLACK * _NS)
        made.multi_stream_target_latency_percentile = length.percentile
        made.min_query_count = FEWEST_QUERIES[length.percentile]
    elif scenario is Scenario.OFFLINE:
        made.offline_expected_qps = expected.rate * _SLACK
        made.min_query_count = FULL_OFFLINE_SAMPLES if length.full else 1
    else:
        made.server_target_qps = expected.server_rate
        made.server_target_latency_ns = round(expected.server_limit_s * _NS)
        made.server_target_latency_percentile = length.percentile
        made.min_query_count = FEWEST_QUERIES[length.percentile]
    return made
