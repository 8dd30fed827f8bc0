# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from yolov8_loadtest.monitor.processes import ResourceSample, Usage
from yolov8_loadtest.monitor.watch import WatchRecord
from yolov8_loadtest.results.recorder import Outcome, Recorder
from yolov8_loadtest.results.run import Run
from yolov8_loadtest.scenario.file import parse

SCENARIO = """
[load]
stages = [{ users = 1, duration_s = 10, warmup = true }, { users = 1, duration_s = 30 }]
[slo]
p95_ms = 150
throughput_per_s = 0.1
memory_growth_ratio = 0.02
"""


def run(*, latency_s: float = 0.1, memory_mb: float = 100, problems: tuple[str, ...] = ()) -> Run:
    """Return a run of three seconds with a request each, whose server holds ``memory_mb`` at the end."""
    recorder = Recorder()
    for second in range(12, 15):
        recorder.record(Outcome(stream="photos", due_s=second, sent_s=second, finished_s=second + latency_s))
    resources = [
        ResourceSample(
            at_s=second,
            usage={"server": Usage(memory_mb=memory_mb if second > 30 else 100, descriptors=9, cpu_s=second)},
        )
        for second in range(41)
    ]
    return Run(
        scenario=parse(SCENARIO, name="test"),
        url="localhost:8001",
        started_epoch_s=0,
        recorder=recorder,
        watch=WatchRecord(server="2.51.0", members={}, resources=resources),
        generators=1,
        problems=list(problems),
    )


def test_a_run_within_its_limits_passes() -> None:
    assert run().violations == []
    assert all(check.kept for check in run().checks)


def test_a_slow_run_breaks_its_threshold() -> None:
    (violation,) = run(latency_s=0.2).violations

    assert violation.startswith("p95_ms is 200")


def test_a_leak_after_the_warm_up_breaks_its_threshold() -> None:
    (violation,) = run(memory_mb=110).violations

    assert violation == "memory_growth_ratio is 0.1, the limit is 0.02"


def test_a_problem_of_the_run_itself_fails_it() -> None:
    assert run(problems=("a generator died",)).violations == ["a generator died"]


def test_what_the_slo_looks_at_leaves_the_warm_up_out() -> None:
    measured = run().measured

    assert (measured.requests, measured.error_ratio, measured.descriptor_growth) == (3, 0, 0)
    assert measured.throughput_per_s == pytest.approx(3 / 30)
