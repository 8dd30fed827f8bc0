# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import tracemalloc

import pytest

from yolov8_loadtest.results.recorder import Outcome, Recorder
from yolov8_loadtest.results.statistics import RunStatistics, run_statistics
from yolov8_loadtest.scenario.load import Kind, Load, Stage

LOAD = Load(
    kind=Kind.OPEN,
    stages=(Stage(duration_s=2, level=10, warmup=True), Stage(duration_s=4, level=10), Stage(duration_s=4, level=20)),
)


def outcome(due_s: float, latency_s: float = 0.1, **more: object) -> Outcome:
    fields = {"stream": "photos", "sent_s": due_s, "finished_s": due_s + latency_s} | more
    return Outcome(due_s=due_s, **fields)  # type: ignore[arg-type]


def of(*outcomes: Outcome, load: Load = LOAD) -> RunStatistics:
    recorder = Recorder()
    for one in outcomes:
        recorder.record(one)
    return run_statistics(recorder, load)


def test_latency_counts_from_the_moment_a_request_was_due() -> None:
    total = of(outcome(3.0, latency_s=0.5, sent_s=3.4)).total

    assert total.p50_ms == pytest.approx(500, rel=1e-3)
    assert total.lag_p99_ms == pytest.approx(400, rel=1e-3)


def test_the_total_leaves_the_warm_up_out() -> None:
    result = of(outcome(1.0, latency_s=9), outcome(3.0), outcome(7.0))

    assert result.total.requests == 2
    assert result.total.max_ms == pytest.approx(100)
    assert [stage.summary.requests for stage in result.stages] == [1, 1, 1]


def test_throughput_counts_right_answers_when_they_come() -> None:
    result = of(outcome(5.9, latency_s=0.5), outcome(3.0), outcome(4.0, failure="WrongAnswerError"))

    assert [stage.summary.throughput_per_s for stage in result.stages] == [0, 0.25, 0.25]
    assert result.total.throughput_per_s == pytest.approx(2 / 8)


def test_answers_after_the_end_count_for_latency_and_not_for_throughput() -> None:
    total = of(outcome(9.9, latency_s=1)).total

    assert total.throughput_per_s == 0
    assert total.p99_ms == pytest.approx(1000, rel=1e-3)


def test_a_request_that_was_too_late_is_a_failure_and_a_latency() -> None:
    total = of(outcome(3.0, latency_s=5, failure="DeadlineExceededError", message="no answer within 5 s")).total

    assert total.failures == {"DeadlineExceededError": 1}
    assert total.error_ratio == 1
    assert total.p50_ms == pytest.approx(5000, rel=1e-3)


def test_a_quick_refusal_does_not_flatter_the_latency() -> None:
    total = of(outcome(3.0), outcome(3.1, latency_s=0.001, failure="ServerOverloadedError")).total

    assert total.p50_ms == pytest.approx(100, rel=1e-3)
    assert total.error_ratio == 0.5


def test_dropped_frames_are_counted_beside_the_requests() -> None:
    recorder = Recorder()
    recorder.record(outcome(3.0))
    recorder.drop("photos", 3.2, 3)

    total = run_statistics(recorder, LOAD).total

    assert total.dropped_ratio == 0.75
    assert total.requests == 1


def test_processes_together_give_what_one_process_would() -> None:
    outcomes = [
        outcome(0.05 * number, latency_s=0.001 * number, stream=f"s{number % 2}", failure=None if number % 3 else "E")
        for number in range(200)
    ]
    together = Recorder()
    for part in range(3):
        worker = Recorder()
        for one in outcomes[part::3]:
            worker.record(one)
            together.merge(json.loads(json.dumps(worker.take())))

    assert run_statistics(together, LOAD) == of(*outcomes)


def test_what_was_taken_is_not_told_again() -> None:
    recorder = Recorder()
    recorder.record(outcome(3.0))
    recorder.take()

    assert recorder.take()["cells"] == []


def test_the_first_message_of_each_failure_is_kept() -> None:
    recorder = Recorder()
    for text in ("first", "second"):
        recorder.record(outcome(3.0, failure="WrongAnswerError", message=text))

    assert recorder.messages == {"WrongAnswerError": "first"}


def test_the_curve_rises_to_the_maximum_and_ends_beyond_the_last_value() -> None:
    curve = of(*(outcome(3.0, latency_s=0.001 * number) for number in range(1, 1001))).curve

    assert [point.ms for point in curve] == sorted(point.ms for point in curve)
    assert curve[-1].ms == pytest.approx(1000)
    assert curve[-1].percent > 99.9


def test_a_run_without_requests_has_figures_without_numbers() -> None:
    result = of()

    assert result.total.requests == 0
    assert result.curve == []


def test_packed_seconds_say_what_they_said_and_take_late_answers() -> None:
    plain, packed = Recorder(), Recorder()
    for recorder in (plain, packed):
        for one in (outcome(3.0), outcome(3.5, latency_s=2), outcome(4.0, failure="WrongAnswerError", message="none")):
            recorder.record(one)
        recorder.drop("photos", 3.2, 2)
        if recorder is packed:
            recorder.pack(4)
        recorder.record(outcome(3.9, latency_s=9))

    assert run_statistics(packed, LOAD) == run_statistics(plain, LOAD)
    assert [second for second, _, _ in packed.cells(from_s=4)] == [second for second, _, _ in plain.cells(from_s=4)]


def test_packed_seconds_take_little_memory() -> None:
    recorder = Recorder()
    tracemalloc.start()
    try:
        for number in range(8_000):  # enough that what Python keeps of a first call (free lists) does not count
            recorder.record(outcome(number / 20, latency_s=0.1 + number / 997))
        before, _ = tracemalloc.get_traced_memory()
        recorder.pack(400)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after < before / 3
