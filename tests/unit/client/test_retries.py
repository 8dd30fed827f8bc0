# SPDX-License-Identifier: Apache-2.0
"""What is tried again, where, and how often. All counts are those of the fake."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.either_client import of_either_kind
from tests.fakes.answers import arrays
from tests.fakes.fake_triton import Answer, FakeTriton, Refusal, refusing
from tests.unit.client.conftest import QUICK, Serve
from yolov8_contract.task import Task
from yolov8_triton import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    Detections,
    RetryPolicy,
    ServerOverloadedError,
    ServerUnavailableError,
    YoloTritonError,
)
from yolov8_triton._failover import AVOIDED_S, EXPIRIES, Endpoints

Status = grpc.StatusCode
Outcomes = list[Detections | YoloTritonError]
Ask = Callable[..., Outcomes]

DEAD = refusing(Status.UNAVAILABLE, "Socket closed")


def ask_blocking(url: str | Sequence[str], count: int = 1, **options: Any) -> Outcomes:
    outcomes: Outcomes = []
    with Client(url, **{"retry": QUICK, **options}) as client:
        for _ in range(count):
            try:
                outcomes.append(client.detect(b"an image"))
            except YoloTritonError as exc:  # noqa: PERF203  (the error is an outcome)
                outcomes.append(exc)
    return outcomes


def ask_asyncio(url: str | Sequence[str], count: int = 1, **options: Any) -> Outcomes:
    async def run() -> Outcomes:
        outcomes: Outcomes = []
        async with AsyncClient(url, **{"retry": QUICK, **options}) as client:
            for _ in range(count):
                try:
                    outcomes.append(await client.detect(b"an image"))
                except YoloTritonError as exc:  # noqa: PERF203  (the error is an outcome)
                    outcomes.append(exc)
        return outcomes

    return asyncio.run(run())


ask = of_either_kind(ask_blocking, ask_asyncio)
"""Make some calls, one after the other, with a client of either kind; return results and errors."""


def failing(times: int, status: Status = Status.UNAVAILABLE, text: str = "Socket closed") -> Answer:
    """Return an answer that refuses the first requests."""
    count = itertools.count()

    def answer(_: object) -> dict[str, Any]:
        if next(count) < times:
            raise Refusal(status, text)
        return arrays(Task.DETECT)

    return answer


def answered(outcomes: Outcomes) -> list[bool]:
    return [isinstance(one, Detections) for one in outcomes]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(Status.UNAVAILABLE, "Socket closed", id="died"),
        pytest.param(Status.UNAVAILABLE, "Server exiting", id="exiting"),
        pytest.param(Status.UNAVAILABLE, "Server is stopping, scheduler for model 'm' has stopped", id="stopping"),
        pytest.param(Status.UNAVAILABLE, "... is not at ready state", id="loading"),
        pytest.param(Status.NOT_FOUND, "Request for unknown model: 'm' has no available versions", id="drained"),
        pytest.param(Status.CANCELLED, "CANCELLED", id="cancelled-there"),
        pytest.param(Status.INTERNAL, "Stub process 'm_postprocess_0_0' is not healthy.", id="model-died"),
    ],
)
def test_what_a_dead_or_draining_server_says_is_tried_again(serve: Serve, ask: Ask, status: Status, text: str) -> None:
    fake = serve(answer=failing(2, status, text))

    assert answered(ask(fake.url)) == [True]
    assert len(fake.requests) == 3


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(Status.UNAVAILABLE, "This protocol is restricted, expecting header 'x'", id="restricted"),
        pytest.param(Status.DEADLINE_EXCEEDED, "Deadline Exceeded", id="deadline"),
        pytest.param(Status.INVALID_ARGUMENT, "invalid image: 3 bytes", id="bad-image"),
        pytest.param(Status.INVALID_ARGUMENT, "invalid parameter: 'conf'", id="bad-parameter"),
        pytest.param(Status.NOT_FOUND, "Request for unknown model: 'm' is not found", id="unknown-model"),
        pytest.param(Status.UNAUTHENTICATED, "no token", id="no-token"),
        pytest.param(Status.PERMISSION_DENIED, "not yours", id="denied"),
        pytest.param(Status.INTERNAL, "onnx runtime error 6", id="internal"),
        pytest.param(Status.UNIMPLEMENTED, "", id="not-triton"),
        pytest.param(Status.UNAVAILABLE, "Tls handshake failed: CERTIFICATE_VERIFY_FAILED", id="certificate"),
    ],
)
def test_what_another_try_would_not_help_is_tried_once(serve: Serve, ask: Ask, status: Status, text: str) -> None:
    fakes = [serve(answer=refusing(status, text)) for _ in range(2)]

    assert answered(ask([fake.url for fake in fakes])) == [False]
    assert sum(len(fake.requests) for fake in fakes) == 1


@pytest.mark.parametrize("text", ["in ensemble 'm', Exceeds maximum queue size", "Request timeout expired"])
@pytest.mark.parametrize("servers", [1, 2, 3])
def test_an_overloaded_server_is_asked_once_and_then_each_other_one(
    serve: Serve, ask: Ask, servers: int, text: str
) -> None:
    fakes = [serve(answer=refusing(Status.UNAVAILABLE, text)) for _ in range(servers)]

    (error,) = ask([fake.url for fake in fakes])

    assert type(error) is ServerOverloadedError
    assert [len(fake.requests) for fake in fakes] == [1] * servers


def test_a_server_with_room_answers_for_an_overloaded_one(serve: Serve, ask: Ask) -> None:
    full = serve(answer=refusing(Status.UNAVAILABLE, "Exceeds maximum queue size"))

    assert answered(ask([full.url, serve().url])) == [True]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_call_is_tried_as_often_as_the_policy_says(serve: Serve, ask: Ask, attempts: int) -> None:
    fake = serve(answer=DEAD)

    (error,) = ask(fake.url, retry=RetryPolicy(attempts=attempts, first_pause_s=0.001))

    assert type(error) is ServerUnavailableError
    assert len(fake.requests) == attempts


def test_the_model_s_configuration_is_asked_for_again_too(serve: Serve) -> None:
    fakes = [serve(), serve()]
    fakes[0].refusal = Refusal(Status.UNAVAILABLE, "Server exiting")

    assert answered(ask_blocking([fake.url for fake in fakes])) == [True]
    assert [fake.config_calls for fake in fakes] == [1, 1]


def test_callers_that_fail_together_share_one_budget(serve: Serve) -> None:
    fake = serve(answer=DEAD)
    policy = RetryPolicy(attempts=9, first_pause_s=0.001, budget=7, budget_per_s=0)

    with Client(fake.url, retry=policy) as client, ThreadPoolExecutor(8) as pool:
        for call in [pool.submit(client.detect, b"an image") for _ in range(40)]:
            assert isinstance(call.exception(timeout=60), ServerUnavailableError)

    assert len(fake.requests) == 40 + 7


@pytest.mark.slow
def test_answers_earn_retries_and_never_more_than_their_share(serve: Serve, ask: Ask) -> None:
    turns = itertools.count()

    def every_third(_: object) -> dict[str, Any]:
        if next(turns) % 3:
            raise Refusal(Status.UNAVAILABLE, "Socket closed")
        return arrays(Task.DETECT)

    fake = serve(answer=every_third)
    policy = RetryPolicy(attempts=2, first_pause_s=0.001, budget=2, budget_per_answer=0.5, budget_per_s=0)

    outcomes = ask(fake.url, count=60, retry=policy)

    answers, retries = sum(answered(outcomes)), len(fake.requests) - 60
    assert answers >= 20
    # One more answer is that to the question what the model is; what is earned above a full budget is lost.
    assert 0.5 * answers <= retries <= 2 + 0.5 * (answers + 1)


def test_time_alone_earns_retries(serve: Serve, ask: Ask) -> None:
    fake = serve(answer=DEAD)
    policy = RetryPolicy(attempts=6, first_pause_s=0.01, budget=1, budget_per_answer=0, budget_per_s=1000)

    ask(fake.url, retry=policy)

    assert len(fake.requests) == 6


def test_a_pause_that_would_outlast_the_deadline_is_not_made(serve: Serve, ask: Ask) -> None:
    fake = serve(answer=DEAD)
    start = time.monotonic()

    (error,) = ask(fake.url, timeout_s=30, retry=RetryPolicy(first_pause_s=100, longest_pause_s=100))

    assert type(error) is ServerUnavailableError
    assert time.monotonic() - start < 20
    assert len(fake.requests) == 1


def test_servers_are_asked_in_turn(serve: Serve, ask: Ask) -> None:
    fakes = [serve() for _ in range(3)]

    ask([fake.url for fake in fakes], count=9)

    assert [len(fake.requests) for fake in fakes] == [3, 3, 3]


def test_a_server_that_fails_loses_nothing_and_is_left_alone(serve: Serve, ask: Ask) -> None:
    dead, alive = serve(answer=DEAD), serve()

    # No time earns a retry here: a second visit to the dead one costs one that is not there.
    outcomes = ask([dead.url, alive.url], count=8, retry=RetryPolicy(budget=1, budget_per_answer=0, budget_per_s=0))

    assert answered(outcomes) == [True] * 8
    assert (len(dead.requests), len(alive.requests)) == (1, 8)


def test_another_server_is_asked_without_a_pause(serve: Serve, ask: Ask) -> None:
    fakes = [serve(answer=DEAD), serve(answer=DEAD), serve()]

    outcomes = ask([fake.url for fake in fakes], timeout_s=30, retry=RetryPolicy(first_pause_s=100))

    assert answered(outcomes) == [True]


def test_servers_that_are_all_away_fail_within_the_deadline(ask: Ask) -> None:
    start = time.monotonic()

    (error,) = ask(["127.0.0.1:1", "127.0.0.1:2"], timeout_s=10)

    assert isinstance(error, ServerUnavailableError)
    assert time.monotonic() - start < 10


def test_a_host_that_accepts_and_says_nothing_is_left_behind(serve: Serve, ask: Ask) -> None:
    fake = serve()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        urls = [f"127.0.0.1:{silent.getsockname()[1]}", fake.url]

        outcomes = ask(urls, timeout_s=30, channel_args=[("grpc.min_reconnect_backoff_ms", 200)])

    assert answered(outcomes) == [True]


@pytest.mark.slow
def test_a_server_that_lets_deadlines_expire_is_left_alone_and_no_expired_call_is_tried_again(
    serve: Serve, ask: Ask
) -> None:
    over = threading.Event()

    def hang(_: object) -> dict[str, Any]:
        over.wait(timeout=30)
        return arrays(Task.DETECT)

    hung, alive = serve(answer=hang), serve()
    try:
        outcomes = ask([hung.url, alive.url], count=4 * EXPIRIES, timeout_s=0.5)
    finally:
        over.set()

    late = [one for one in outcomes if isinstance(one, DeadlineExceededError)]
    assert len(late) == EXPIRIES == len(hung.requests)
    assert len(alive.requests) == 4 * EXPIRIES - EXPIRIES


def test_a_name_for_grpc_s_own_resolver_is_left_to_it(serve: Serve, ask: Ask) -> None:
    fake = serve()

    assert answered(ask(f"dns:///{fake.url}")) == [True]


def test_a_client_of_several_servers_names_them_all() -> None:
    with Client(["a:8001", "b:8001", "grpc://a:8001"]) as client:
        assert repr(client) == "<Client: model 'yolov8n' at a:8001, b:8001>"


def test_an_error_names_the_server_that_it_came_from(serve: Serve, ask: Ask) -> None:
    fakes: list[FakeTriton] = [serve(answer=refusing(Status.INTERNAL, "oh")) for _ in range(2)]

    errors = ask([fake.url for fake in fakes], count=2)

    named = {fake.url for fake in fakes for error in errors if f"model 'yolov8n' at {fake.url}: " in str(error)}
    assert named == {fake.url for fake in fakes}


def test_one_server_that_is_ready_is_enough(serve: Serve) -> None:
    fakes = [serve(), serve()]
    fakes[0].ready = False

    with Client(["127.0.0.1:1", *(fake.url for fake in fakes)]) as client:
        assert client.is_ready()


def test_closing_ends_a_pause(serve: Serve) -> None:
    asked = threading.Event()

    def answer(_: object) -> dict[str, Any]:
        asked.set()
        raise Refusal(Status.UNAVAILABLE, "Socket closed")

    policy = RetryPolicy(first_pause_s=200, longest_pause_s=200)
    client = Client(serve(answer=answer).url, timeout_s=250, retry=policy)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.detect, b"an image")
        assert asked.wait(timeout=30)
        client.close()
        error = call.exception(timeout=30)

    # Whichever was first: the server's answer, or the end of the channel that it came through.
    assert isinstance(error, RuntimeError | YoloTritonError)
    assert "closed" in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("attempts", 0, id="never"),
        pytest.param("first_pause_s", -1, id="negative-pause"),
        pytest.param("budget", float("nan"), id="no-number"),
    ],
)
def test_a_policy_that_can_not_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected "):
        RetryPolicy(**{name: value})  # type: ignore[arg-type]  # attempts is an int


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one address"):
        Client([])


class Clock:
    """A clock that stands still unless it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_after_its_time_a_failed_server_is_tried_by_one_call_alone(clock: Clock) -> None:
    endpoints = Endpoints(["a", "b"], clock=clock)
    endpoints.failed(0)
    assert {endpoints.pick() for _ in range(4)} == {1}

    clock.now += AVOIDED_S

    assert [endpoints.pick() for _ in range(6)].count(0) == 1


def test_a_server_that_answers_again_has_its_turns_again(clock: Clock) -> None:
    endpoints = Endpoints(["a", "b"], clock=clock)
    endpoints.failed(0)
    endpoints.answered(0)

    assert [endpoints.pick() for _ in range(4)] == [0, 1, 0, 1]


def test_where_all_failed_the_one_that_failed_first_is_tried_first(clock: Clock) -> None:
    endpoints = Endpoints(["a", "b", "c"], clock=clock)
    for number in (1, 2, 0):
        endpoints.failed(number)
        clock.now += 0.1

    assert endpoints.pick() == 1


def test_deadlines_that_expire_between_answers_are_no_failure(clock: Clock) -> None:
    endpoints = Endpoints(["a", "b"], clock=clock)
    for _ in range(EXPIRIES):
        endpoints.expired(0)
        endpoints.answered(0)

    assert [endpoints.pick() for _ in range(4)] == [0, 1, 0, 1]
