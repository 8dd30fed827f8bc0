# SPDX-License-Identifier: Apache-2.0
"""Where the time of a call went: asked for, read, and reported as spans."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace

from tests.fakes.answers import arrays
from tests.unit.client.cli.test_cli_images import ask, picture
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import AsyncClient, ContractMismatchError, InvalidParameterError, Timings

PARTS = {
    "check_ms": 1.0,
    "decode_ms": 3.0,
    "letterbox_ms": 2.0,
    "tiles_ms": 0.0,
    "network_ms": 4.0,
    "postprocess_ms": 1.5,
}


def measured(task: Task = Task.DETECT, *, late_s: float = 0.0, **changes: float) -> Callable[[Any], Any]:
    """Return an answer that took as long as it says, and began ``late_s`` after the request came."""

    def answer(_: Any) -> Any:
        time.sleep(late_s)
        values = PARTS | changes
        times = [time.time() * 1000, *values.values()]
        time.sleep(sum(max(value, 0) for value in values.values()) / 1000)
        return arrays(task) | {"timings": np.array([times])}

    return answer


def total(timings: Timings) -> float:
    return sum(value for _, value in timings.parts())


def test_the_parts_add_up_to_the_call(serve: Serve, connect: Connect) -> None:
    client = connect(serve(answer=measured(late_s=0.02), timings=True))
    client.info()

    began = time.perf_counter()
    found = client.detect(b"an image", timings=True)
    took_ms = (time.perf_counter() - began) * 1000

    timings = found.timings
    assert timings is not None
    assert {name: getattr(timings, name) for name in PARTS} == PARTS
    assert total(timings) == pytest.approx(timings.total_ms) == pytest.approx(took_ms, rel=0.05)
    assert timings.queue_ms >= 20
    assert timings.answer_ms >= 0
    assert found[:1].timings == timings
    assert found.to_dict()["timings"]["decode_ms"] == 3.0


def test_they_are_asked_for_by_a_parameter_and_are_none_without(serve: Serve, connect: Connect) -> None:
    fake = serve(answer=measured(), timings=True)
    client = connect(fake)

    found = [client.detect(b"an image", timings=asked) for asked in (True, False, None)]

    assert [dict(request.parameters) != {} for request in fake.requests] == [True, False, False]
    assert fake.requests[0].parameters["timings"].bool_param
    assert [one.timings is None for one in found] == [False, True, True]
    assert "timings" not in found[1].to_dict()


def test_many_images_and_asyncio_have_them_too(serve: Serve, connect: Connect) -> None:
    async def run() -> list[Any]:
        async with AsyncClient(fake.url) as client:
            return [outcome.result async for outcome in client.detect_many([b"an image"] * 3, timings=True)]

    fake = serve(answer=measured(), timings=True)
    results = asyncio.run(run())
    results += [outcome.result for outcome in connect(fake).detect_many([b"an image"] * 3, timings=True)]

    assert [round(one.timings.network_ms) for one in results] == [4] * 6


def test_a_classifier_has_no_part_after_its_network(serve: Serve, connect: Connect) -> None:
    client = connect(serve(Task.CLASSIFY, measured(Task.CLASSIFY, network_ms=-1, postprocess_ms=-1), timings=True))

    found = client.classify(b"an image", timings=True)

    assert found.timings is not None
    assert (found.timings.network_ms, found.timings.postprocess_ms) == (None, None)
    assert total(found.timings) == pytest.approx(found.timings.total_ms)
    assert found.to_dict()["timings"]["network_ms"] is None


@pytest.mark.parametrize("ahead_ms", [-5000, 5000])
def test_clocks_that_differ_change_no_sum(ahead_ms: float) -> None:
    times = [1e12 + ahead_ms, 1, 2, 3, 0, 4, 5]

    timings = Timings.of(times, total_ms=30, round_trip_ms=25, sent_ms=1e12)

    assert (timings.queue_ms, timings.answer_ms) == ((10, 0) if ahead_ms > 0 else (0, 10))
    assert total(timings) == 30


def test_a_model_that_does_not_measure_is_named_before_anything_is_sent(serve: Serve, connect: Connect) -> None:
    fake = serve()

    with pytest.raises(InvalidParameterError, match="export the model again with --timings"):
        connect(fake).detect(b"an image", timings=True)
    assert fake.requests == []


def test_another_value_is_refused(serve: Serve, connect: Connect) -> None:
    with pytest.raises(InvalidParameterError, match="'timings' must be True or False, got 'yes'"):
        connect(serve(timings=True)).detect(b"an image", timings="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("times", "got"),
    [
        pytest.param(None, "expected FP64 .* got none", id="missing"),
        pytest.param(np.zeros((1, 6)), "expected FP64", id="of-another-length"),
        pytest.param(np.zeros((1, 7), np.float32), "expected FP64", id="of-another-type"),
        pytest.param(np.zeros((1, 7)), "expected a start", id="zeros"),
        pytest.param(np.full((1, 7), np.nan), "expected a start", id="nan"),
    ],
)
def test_an_answer_without_times_is_refused(serve: Serve, connect: Connect, times: Any, got: str) -> None:
    extra = {} if times is None else {"timings": times}
    client = connect(serve(answer=lambda _: arrays(Task.DETECT) | extra, timings=True))

    with pytest.raises(ContractMismatchError, match=got):
        client.detect(b"an image", timings=True)


def test_the_command_line_prints_them(serve: Serve, tmp_path: Path) -> None:
    fake, path = serve(answer=measured(), timings=True), picture(tmp_path / "a.png")

    table, line = ask(fake, "--timings", path), ask(fake, "--timings", "--json", path)

    assert "decode 3.0, letterbox 2.0, tiles 0.0, network 4.0, postprocess 1.5, answer " in table.stdout
    assert json.loads(line.stdout)["timings"]["postprocess_ms"] == 1.5


class Recording(trace.NonRecordingSpan):
    """A span of a program that records."""

    def is_recording(self) -> bool:
        return True


class Tracer(trace.NoOpTracer):
    """Keeps the names and the times of spans."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int]] = []

    def start_span(self, name: str, *_: Any, start_time: int | None = None, **__: Any) -> Any:
        spans = self.spans

        class Span(trace.NonRecordingSpan):
            def end(self, end_time: int | None = None) -> None:
                spans.append((name, start_time or 0, end_time or 0))

        return Span(trace.INVALID_SPAN_CONTEXT)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_recorded_span_gets_a_child_for_each_part(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    tracer = Tracer()
    monkeypatch.setattr(trace, "get_tracer", lambda *_: tracer)
    context = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    client = connect(serve(answer=measured(), timings=True))

    with trace.use_span((Recording if recorded else trace.NonRecordingSpan)(context)):
        client.detect(b"an image", timings=True)

    names = ("queue", "check", "decode", "letterbox", "tiles", "network", "postprocess", "answer")
    assert [name for name, _, _ in tracer.spans] == [f"yolov8.{name}" for name in names if recorded]
    assert all(end == begin for (_, _, end), (_, begin, _) in zip(tracer.spans, tracer.spans[1:], strict=False))
    assert all((end - begin) == pytest.approx(3e6, abs=300) for name, begin, end in tracer.spans if "decode" in name)
