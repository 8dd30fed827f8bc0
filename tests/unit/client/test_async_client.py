# SPDX-License-Identifier: Apache-2.0
"""The client for asyncio gives what the blocking one gives, and shares a loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import pytest

from tests.fakes import fake_http
from tests.fakes.answers import arrays, model
from tests.fakes.fake_triton import FakeTriton, Refusal, refusing
from tests.unit.client.conftest import QUICK, Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidImageError,
    InvalidParameterError,
    ServerOverloadedError,
    ServerUnavailableError,
    WrongTaskError,
    YoloTritonError,
)

T = TypeVar("T")


def ask(fake: FakeTriton, call: Callable[[AsyncClient], Awaitable[T]], **options: Any) -> T:
    """Run one call in a loop of its own, with a client of its own."""

    async def run() -> T:
        async with AsyncClient(fake.url, model="yolov8n", **options) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_both_clients_give_the_same(serve: Serve, connect: Connect, task: Task) -> None:
    fake = serve(task)

    blocking = getattr(connect(fake), task.value)(b"an image")
    awaited = ask(fake, lambda client: getattr(client, task.value)(b"an image"))

    assert type(awaited) is type(blocking)
    for field in dataclasses.fields(blocking):
        np.testing.assert_array_equal(getattr(awaited, field.name), getattr(blocking, field.name))


def test_both_clients_send_the_same(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    fake = serve()
    (tmp_path / "image.jpg").write_bytes(b"an image")
    thresholds: Any = {"conf": 0.5, "classes": ["bus"]}

    connect(fake).detect(tmp_path / "image.jpg", **thresholds)
    ask(fake, lambda client: client.detect(tmp_path / "image.jpg", **thresholds))

    assert fake.requests[0] == fake.requests[1]


@pytest.mark.parametrize("method", ["info", "models", "is_ready", "check"])
def test_both_clients_tell_the_same_of_a_server(serve: Serve, connect: Connect, method: str) -> None:
    fake = serve(Task.POSE)

    assert ask(fake, lambda client: getattr(client, method)()) == getattr(connect(fake), method)()


def test_the_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    # A property can't be awaited: `info` has them.
    assert public(Client) - public(AsyncClient) == {"labels", "task"}


def test_requests_of_one_loop_are_under_way_at_once(serve: Serve) -> None:
    together = threading.Barrier(4)  # as many as the fake has threads: it answers none before all have come

    def answer(_: object) -> dict[str, Any]:
        together.wait(timeout=30)
        return arrays(Task.DETECT)

    async def four(client: AsyncClient) -> list[Any]:
        return await asyncio.gather(*(client.detect(b"an image") for _ in range(4)))

    fake = serve(answer=answer)

    assert [len(found) for found in ask(fake, four)] == [2] * 4
    assert fake.config_calls == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(
            refusing(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"), ServerOverloadedError, id="overload"
        ),
        pytest.param(
            refusing(grpc.StatusCode.INVALID_ARGUMENT, "invalid image: none"), InvalidImageError, id="bad-image"
        ),
    ],
)
def test_errors_are_the_same(serve: Serve, answer: Any, error: type[Exception]) -> None:
    fake = serve(answer=answer)

    with pytest.raises(error, match=f"model 'yolov8n' at {fake.url}: "):
        ask(fake, lambda client: client.detect(b"an image"))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param(lambda client: client.pose(b""), WrongTaskError, "serves 'detect', not 'pose'", id="task"),
        pytest.param(lambda client: client.detect(b"", classes="buss"), InvalidParameterError, "'bus'", id="class"),
        pytest.param(lambda client: client.detect(b"", confidence=1), TypeError, "'confidence'", id="option"),
        pytest.param(
            lambda client: client.detect(np.zeros((2, 2, 9), np.uint8), channels="RGB"),
            InvalidImageError,
            "model 'yolov8n' at .*: invalid image: an array must be",
            id="array",
        ),
        pytest.param(lambda client: client.detect("none.jpg"), FileNotFoundError, "none.jpg", id="file"),
    ],
)
def test_what_can_not_be_sent_is_refused(
    serve: Serve, call: Callable[[AsyncClient], Awaitable[Any]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ask(serve(), call)


def test_a_slow_answer_ends_at_the_deadline(serve: Serve) -> None:
    over = threading.Event()

    def wait(_: object) -> dict[str, Any]:
        over.wait(timeout=30)
        return arrays(Task.DETECT)

    try:
        with pytest.raises(DeadlineExceededError, match=r"no answer within 0\.5 s"):
            ask(serve(answer=wait), lambda client: client.detect(b"an image"), timeout_s=0.5)
    finally:
        over.set()


async def cancel(client: AsyncClient, asked: threading.Event) -> None:
    """Cancel a call that has reached the server, which sets ``asked``."""
    call = asyncio.ensure_future(client.detect(b"an image"))
    assert await asyncio.to_thread(asked.wait, 30)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.slow
def test_a_call_that_is_cancelled_leaves_the_client_usable(serve: Serve) -> None:
    asked, over = threading.Event(), threading.Event()

    def first_waits(_: object) -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            over.wait(timeout=30)
        return arrays(Task.DETECT)

    async def cancel_then_ask(client: AsyncClient) -> Any:
        await cancel(client, asked)
        return await client.detect(b"an image")

    try:
        assert len(ask(serve(answer=first_waits), cancel_then_ask)) == 2
    finally:
        over.set()


def test_a_call_that_is_cancelled_runs_out_at_the_server(serve: Serve) -> None:
    asked, over = threading.Event(), threading.Event()

    def wait(_: object) -> dict[str, Any]:
        asked.set()
        over.wait(timeout=30)
        return arrays(Task.DETECT)

    async def leave(client: AsyncClient) -> None:
        await cancel(client, asked)
        asyncio.get_running_loop().call_later(0.2, over.set)

    fake = serve(answer=wait)
    try:
        ask(fake, leave)
    finally:
        over.set()

    assert fake.left == [False]


@pytest.mark.slow
def test_a_model_that_could_not_be_asked_about_is_asked_again(serve: Serve) -> None:
    fake = serve()

    async def fail_then_ask(client: AsyncClient) -> Any:
        fake.refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        with pytest.raises(ServerUnavailableError):
            await client.info()
        fake.refusal = None
        return await client.info()

    assert ask(fake, fail_then_ask) == model(Task.DETECT)


def test_a_closed_client_says_so(serve: Serve) -> None:
    async def close_then_ask(client: AsyncClient) -> None:
        await client.detect(b"an image")
        await client.close()
        await client.detect(b"an image")

    with pytest.raises(RuntimeError, match="this client is closed: model 'yolov8n' at"):
        ask(serve(), close_then_ask)


def test_creating_a_client_needs_no_loop() -> None:
    assert repr(AsyncClient("localhost:8001")) == "<AsyncClient: model 'yolov8n' at localhost:8001>"


@pytest.mark.slow
@pytest.mark.parametrize("over", ["grpc", "http"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the connection that nobody closes
def test_a_client_of_an_event_loop_that_has_ended_says_so(serve: Serve, over: str) -> None:
    fake = serve()

    with fake_http.serving(lambda _: (400, b'{"error": "invalid image: none"}')) as http_url:
        client = AsyncClient(fake.url if over == "grpc" else f"http://{http_url}", retry=QUICK)

        async def ask() -> None:
            with contextlib.suppress(YoloTritonError):
                await client.info()

        asyncio.run(ask())
        for call in (client.info, client.is_ready, client.models, client.check, lambda: client.detect(b"an image")):

            async def again(call: Any = call) -> None:
                await call()

            with pytest.raises(RuntimeError, match=r"event loop of its first call.* create a client in each"):
                asyncio.run(again())
        asyncio.run(client.close())
        with pytest.raises(RuntimeError, match="this client is closed"):
            asyncio.run(ask())
    client = AsyncClient(fake.url)
    gc.collect()
