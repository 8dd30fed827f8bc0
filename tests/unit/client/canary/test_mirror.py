# SPDX-License-Identifier: Apache-2.0
"""A program's calls go to the old model alone; a share of its images also goes to the new one."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from tests.fakes.answers import arrays
from tests.fakes.fake_triton import refusing
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import Canary, CanaryReport, Client, InvalidImageError, ServerOverloadedError

IMAGE = b"\x89PNG"
CALLS = [
    pytest.param(Task.DETECT, Canary.detect, id="detect"),
    pytest.param(Task.SEGMENT, Canary.segment, id="segment"),
    pytest.param(Task.POSE, Canary.pose, id="pose"),
    pytest.param(Task.OBB, Canary.obb, id="obb"),
    pytest.param(Task.CLASSIFY, Canary.classify, id="classify"),
]


@pytest.mark.parametrize(("task", "call"), CALLS)
def test_each_task_is_mirrored_and_compared(
    serve: Serve, connect: Connect, task: Task, call: Callable[..., Any]
) -> None:
    old, new = serve(task), serve(task)

    with Canary(connect(old), connect(new), share=1) as canary:
        found = call(canary, io.BytesIO(IMAGE))
    report = canary.report()

    assert found.task is task
    assert [request.raw_input_contents[0] for request in (*old.requests, *new.requests)] == [IMAGE, IMAGE]
    assert (report.images, report.failed, report.dropped, report.verdict) == (1, 0, 0, "undecided")
    assert report.values["objects"]["matched"] == (1 if task is Task.CLASSIFY else 2)


def test_options_go_to_both_and_pixels_are_sent_once_encoded(serve: Serve, connect: Connect) -> None:
    old, new = serve(), serve()
    pixels = np.zeros((60, 100, 3), np.uint8)

    with Canary(connect(old), connect(new), share=1) as canary:
        canary.detect(pixels, channels="RGB", conf=0.5)
        pixels[:] = 255

    first, second = old.requests[0], new.requests[0]
    assert first.parameters["conf"].double_param == second.parameters["conf"].double_param == 0.5
    assert first.raw_input_contents == second.raw_input_contents


def test_timings_are_asked_of_the_old_model_alone(serve: Serve, connect: Connect) -> None:
    times = np.array([[1.7e12, 1, 2, 3, 0, 4, 5]])
    old, new = serve(answer=lambda _: arrays(Task.DETECT) | {"timings": times}, timings=True), serve()

    with Canary(connect(old), connect(new), share=1) as canary:
        found = canary.detect(IMAGE, timings=True)
    report = canary.report()

    assert found.timings is not None
    assert (report.images, report.failed) == (1, 0)
    assert [len(fake.requests[0].parameters) for fake in (old, new)] == [1, 0]


def test_about_the_share_is_mirrored(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = serve(), serve()
    draws = iter([0.05, 0.5, 0.09, 0.1])
    monkeypatch.setattr("random.random", lambda: next(draws))

    with Canary(connect(old), connect(new), share=0.1) as canary:
        for _ in range(4):
            canary.detect(IMAGE)

    assert (len(old.requests), len(new.requests)) == (4, 2)


def test_a_hanging_new_model_delays_nobody_and_surplus_images_are_dropped(serve: Serve, connect: Connect) -> None:
    released = threading.Event()

    def hang(_: object) -> dict[str, Any]:
        released.wait(20)
        return arrays(Task.DETECT)

    old, new = serve(), serve(answer=hang)
    with Canary(connect(old), connect(new), share=1, in_flight=1) as canary:
        found = [canary.detect(IMAGE) for _ in range(8)]
        waiting = canary.report()
        released.set()

    assert [len(one) for one in found] == [2] * 8
    assert (waiting.images, waiting.dropped) == (0, 3)
    assert canary.report().images == 5


@pytest.mark.parametrize(
    ("status", "text", "failed", "dropped"),
    [
        pytest.param(grpc.StatusCode.INTERNAL, "onnx runtime error 6", 1, 0, id="the-model's-fault"),
        pytest.param(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", 0, 1, id="a-busy-server"),
    ],
)
def test_errors_of_the_new_model_are_counted_and_not_raised(
    serve: Serve, connect: Connect, status: grpc.StatusCode, text: str, failed: int, dropped: int
) -> None:
    old, new = serve(), serve(answer=refusing(status, text))

    with Canary(connect(old), connect(new), share=1) as canary:
        assert len(canary.detect(IMAGE)) == 2

    report = canary.report()
    assert (report.images, report.failed, report.dropped) == (0, failed, dropped)


def test_errors_of_the_old_model_reach_the_caller_and_are_not_mirrored(serve: Serve, connect: Connect) -> None:
    old = serve(answer=refusing(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"))
    new = serve()

    with Canary(connect(old), connect(new), share=1) as canary:
        with pytest.raises(ServerOverloadedError):
            canary.detect(IMAGE)
        with pytest.raises(InvalidImageError):
            canary.detect("https://example.org/bus.jpg")

    assert not new.requests


def test_a_verdict_is_told_once_and_ends_the_mirroring(serve: Serve, connect: Connect) -> None:
    old, new = serve(), serve(count=0)
    told: list[CanaryReport] = []

    with Canary(connect(old), connect(new), share=1, on_verdict=told.append) as canary:
        while not told:
            canary.detect(IMAGE)
        found = canary.detect(IMAGE)
        is_mirrored = canary.offer(IMAGE, found)

    (report,) = told
    assert report.verdict == "roll back"
    assert "without a partner: 1.0000" in report.reasons[0]
    assert report.images < 30
    assert not is_mirrored


def test_an_error_of_on_verdict_is_logged(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    old, new = serve(), serve(count=0)

    def fail(_: CanaryReport) -> None:
        raise RuntimeError("no pager")

    with Canary(connect(old), connect(new), share=1, on_verdict=fail) as canary:
        while canary.report().verdict == "undecided":
            canary.detect(IMAGE)

    assert "on_verdict failed" in caplog.text


def test_answers_that_came_another_way_can_be_offered(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    with Canary(client, connect(serve())) as canary:
        assert canary.offer(IMAGE, client.detect(IMAGE), conf=0.3)
    closed = canary.offer(IMAGE, client.detect(IMAGE))

    assert canary.report().images == 1
    assert not closed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "share: expected a number above 0"),
        ({"share": 1.5}, "at most 1"),
        ({"in_flight": 0}, "1 or more"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with Client() as client, pytest.raises(ValueError, match=message):
        Canary(client, client, **options)
