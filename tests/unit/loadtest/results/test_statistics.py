# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from yolov8_loadtest.results.recorder import Outcome, Recorder
from yolov8_loadtest.results.statistics import run_statistics
from yolov8_loadtest.scenario.load import Kind, Load, Stage

LOAD = Load(
    kind=Kind.CLOSED,
    stages=(Stage(duration_s=2, level=1, warmup=True), Stage(duration_s=4, level=2), Stage(duration_s=4, level=4)),
)


def recorded(*outcomes: tuple[float, float, str | None], stream: str = "photos") -> Recorder:
    """Record requests: when each was due, how long it took, and its failure."""
    recorder = Recorder()
    for due_s, took_s, failure in outcomes:
        recorder.record(
            Outcome(stream=stream, due_s=due_s, sent_s=due_s, finished_s=due_s + took_s, failure=failure, message="no")
        )
    return recorder


def test_failures_are_counted_by_name_and_give_the_error_ratio() -> None:
    found = run_statistics(recorded((2.1, 0.1, None), (2.2, 0.1, "A"), (2.3, 0.1, "A"), (2.4, 0.1, "B")), LOAD)

    assert found.total.failures == {"A": 2, "B": 1}
    assert found.total.error_ratio == 0.75


def test_stages_and_streams_have_statistics_of_their_own() -> None:
    recorder = recorded((2.5, 0.1, None), (6.5, 0.2, None), (7.5, 0.2, None))
    recorder.merge(recorded((6.6, 0.4, None), stream="thumbnails").take())

    found = run_statistics(recorder, LOAD)

    assert [stage.summary.requests for stage in found.stages] == [0, 1, 3]
    assert [(stage.start_s, stage.level, stage.warmup) for stage in found.stages] == [
        (0, 1, True),
        (2, 2, False),
        (6, 4, False),
    ]
    assert [(stream.name, stream.requests) for stream in found.streams] == [("photos", 3), ("thumbnails", 1)]


def test_dropped_frames_are_a_part_of_all_frames() -> None:
    recorder = recorded((2.5, 0.1, None))
    recorder.drop("photos", 3.0, 3)

    assert run_statistics(recorder, LOAD).total.dropped_ratio == 0.75


def test_a_run_without_requests_has_no_figures_but_no_error_either() -> None:
    found = run_statistics(Recorder(), LOAD)

    assert found.total.requests == 0
    assert all(math.isnan(value) for value in (found.total.p99_ms, found.total.error_ratio, found.total.dropped_ratio))
    assert (found.curve, found.seconds, found.streams) == ([], [], [])


def test_the_latency_curve_rises_from_the_fastest_answer_to_the_slowest() -> None:
    found = run_statistics(recorded(*((2 + index / 100, index / 1000, None) for index in range(1, 101))), LOAD)

    assert found.curve[0].ms == pytest.approx(1, abs=0.01)
    assert found.curve[-1].ms == pytest.approx(100, rel=1e-3)
    assert [point.ms for point in found.curve] == sorted(point.ms for point in found.curve)
