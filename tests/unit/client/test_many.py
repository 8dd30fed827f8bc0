# SPDX-License-Identifier: Apache-2.0
"""Many images, with either client: in order, a few at a time, and each with its own result or error."""

from __future__ import annotations

import asyncio
import io
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.either_client import of_either_kind
from tests.fakes.answers import arrays
from tests.fakes.fake_triton import FakeTriton, Refusal
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import AsyncClient, Client, InvalidImageError

Seen = list[Any]
Many = Callable[..., Seen]

LIMIT_S = 60


def many_blocking(
    fake: FakeTriton, images: Iterable[Any], *, verb: str = "detect", first: int | None = None, **options: Any
) -> Seen:
    seen: Seen = []
    with Client(fake.url) as client:
        outcomes = getattr(client, f"{verb}_many")(images, **options)
        for outcome in outcomes:
            seen.append(outcome)
            if len(seen) == first:
                break
        outcomes.close()
    return seen


def many_asyncio(
    fake: FakeTriton, images: Iterable[Any], *, verb: str = "detect", first: int | None = None, **options: Any
) -> Seen:
    async def run() -> Seen:
        seen: Seen = []
        async with (
            AsyncClient(fake.url) as client,
            aclosing(getattr(client, f"{verb}_many")(images, **options)) as outcomes,
        ):
            async for outcome in outcomes:
                seen.append(outcome)
                if len(seen) == first:
                    break
        return seen

    return asyncio.run(run())


many = of_either_kind(many_blocking, many_asyncio)
"""Ask about many images with a client of either kind; return the outcomes, all or the first ones."""


def counted(request: Any) -> dict[str, Any]:
    """Answer with as many objects as the image, a number in digits, says."""
    return arrays(Task.DETECT, int(bytes(request.raw_input_contents[0])))


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_each_task_has_its_verb_for_many(serve: Serve, connect: Connect, many: Many, task: Task) -> None:
    fake = serve(task)

    (outcome,) = many(fake, [b"an image"], verb=task.value)

    assert type(outcome.result) is type(getattr(connect(fake), task.value)(b"an image"))


def test_answers_come_in_the_order_of_the_images_whichever_is_first(serve: Serve, many: Many) -> None:
    second_answered = threading.Event()

    def second_first(request: Any) -> dict[str, Any]:
        number = int(bytes(request.raw_input_contents[0]))
        if number == 0:
            assert second_answered.wait(LIMIT_S)
        if number == 1:
            second_answered.set()
        return arrays(Task.DETECT, number)

    outcomes = many(serve(answer=second_first), [b"%d" % number for number in range(12)], in_flight=3)

    assert [len(outcome.result) for outcome in outcomes] == list(range(12))
    assert [outcome.image for outcome in outcomes] == [b"%d" % number for number in range(12)]


def test_as_many_requests_are_in_flight_as_were_asked_for_and_no_more(serve: Serve, many: Many) -> None:
    together = threading.Barrier(3)  # answers none before three have come: fewer would wait for ever
    under_way, most = 0, 0
    counting = threading.Lock()

    def answer(_: object) -> dict[str, Any]:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
        together.wait(LIMIT_S)
        with counting:
            under_way -= 1
        return arrays(Task.DETECT)

    assert len(many(serve(answer=answer), [b""] * 12, in_flight=3)) == 12
    assert most == 3


def test_an_image_that_fails_is_an_outcome_among_others(serve: Serve, many: Many, tmp_path: Path) -> None:
    def answer(request: Any) -> dict[str, Any]:
        if request.raw_input_contents[0] == b"bad":
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "invalid image: 3 bytes")
        return arrays(Task.DETECT)

    good, bad, missing, more = many(serve(answer=answer), [b"good", b"bad", tmp_path / "none.jpg", b"more"])

    assert (good.error, more.error) == (None, None)
    assert (len(good.result), len(more.result)) == (2, 2)
    assert type(bad.error) is InvalidImageError
    assert type(missing.error) is FileNotFoundError
    with pytest.raises(InvalidImageError) as caught:
        _ = bad.result
    assert caught.value is bad.error


@pytest.mark.slow
def test_a_server_that_is_away_is_an_error_of_each_image(many: Many) -> None:
    nobody = FakeTriton({}, counted)
    nobody.url = "127.0.0.1:1"

    assert [outcome.error is not None for outcome in many(nobody, [b""] * 3)] == [True] * 3


def test_thresholds_go_with_each_image(serve: Serve, many: Many) -> None:
    fake = serve()

    many(fake, [b"", b""], conf=0.5)

    assert [request.parameters["conf"].double_param for request in fake.requests] == [0.5, 0.5]


def test_an_option_that_is_not_known_ends_it(serve: Serve, many: Many) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'confidence'"):
        many(serve(), [b"", b""], confidence=0.5)


def test_no_request_in_flight_is_refused_at_once(connect: Connect, serve: Serve) -> None:
    with pytest.raises(ValueError, match="in_flight: expected 1 or more, got 0"):
        connect(serve()).detect_many([], in_flight=0)


def test_no_image_at_all_is_no_outcome(serve: Serve, many: Many) -> None:
    assert many(serve(), []) == []


def test_a_million_images_are_taken_only_as_there_is_room(serve: Serve, many: Many) -> None:
    taken = 0

    def images() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1_000_000):
            taken += 1
            yield b"an image"

    fake = serve()

    outcomes = many(fake, images(), in_flight=4, first=20)

    assert len(outcomes) == 20
    assert taken <= 20 + 4
    assert len(fake.requests) <= taken


class Image(io.BytesIO):
    """An image that can be watched."""


def test_images_that_were_answered_are_not_held(serve: Serve, connect: Connect) -> None:
    alive: weakref.WeakSet[Image] = weakref.WeakSet()
    most = 0

    def images() -> Iterator[Image]:
        for _ in range(200):
            image = Image(b"an image")
            alive.add(image)
            yield image

    for outcome in connect(serve()).detect_many(images(), in_flight=4):
        assert outcome.error is None
        most = max(most, len(alive))

    assert most <= 4 + 4  # in flight; and the last ones, in the hands of generator, loop and threads


@pytest.mark.slow
def test_closing_while_requests_are_in_flight_does_not_wait_for_them(serve: Serve) -> None:
    over = threading.Event()

    def first_alone(request: Any) -> dict[str, Any]:
        if request.raw_input_contents[0] != b"0":
            over.wait(LIMIT_S)
        return arrays(Task.DETECT)

    fake = serve(answer=first_alone)
    try:
        for many in (many_blocking, many_asyncio):
            images = (b"%d" % number for number in range(1_000_000))
            assert len(many(fake, images, in_flight=2, first=1, timeout_s=2 * LIMIT_S)) == 1
            assert next(images)  # nobody took them all
    finally:
        over.set()


def test_images_may_come_from_an_asynchronous_iterator(serve: Serve) -> None:
    async def images() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0)
            yield b"%d" % number

    async def run(url: str) -> list[int]:
        async with AsyncClient(url) as client:
            return [len(outcome.result) async for outcome in client.detect_many(images())]

    assert asyncio.run(run(serve(answer=counted).url)) == list(range(5))


def test_an_error_of_the_images_themselves_is_raised(serve: Serve, many: Many) -> None:
    def images() -> Iterator[bytes]:
        yield b"an image"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        many(serve(), images())
