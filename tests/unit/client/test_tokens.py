# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens, as the server sees them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.unit.client.conftest import Connect, Serve
from yolov8_triton import AsyncClient, Client, DeadlineExceededError


def detect_with_asyncio(url: str, count: int, **options: Any) -> None:
    async def run() -> None:
        async with AsyncClient(url, **options) as client:
            for _ in range(count):
                await client.detect(b"an image")

    asyncio.run(run())


def test_a_token_goes_along(serve: Serve, connect: Connect) -> None:
    fake = serve()

    connect(fake, token="abc").detect(b"an image")
    detect_with_asyncio(fake.url, 1, token="abc")

    assert [headers["authorization"] for headers in fake.headers] == ["Bearer abc"] * 2


def test_a_callable_is_asked_before_every_request(serve: Serve, connect: Connect) -> None:
    fake = serve()
    numbers = itertools.count()
    client = connect(fake, token=lambda: f"t{next(numbers)}")

    for _ in range(3):
        client.detect(b"an image")

    # The first one went with the question what the model is.
    assert [headers["authorization"] for headers in fake.headers] == ["Bearer t1", "Bearer t2", "Bearer t3"]


def test_an_asyncio_client_takes_callables_of_both_kinds(serve: Serve) -> None:
    async def fetch() -> str:
        await asyncio.sleep(0)
        return "fetched"

    fake = serve()
    detect_with_asyncio(fake.url, 2, token=fetch)
    detect_with_asyncio(fake.url, 1, token=lambda: "made")

    assert [headers["authorization"] for headers in fake.headers] == ["Bearer fetched"] * 2 + ["Bearer made"]


def test_a_token_that_does_not_come_ends_the_call_at_its_deadline(serve: Serve) -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(DeadlineExceededError, match=r"no answer within 0\.2 s"):
        detect_with_asyncio(serve().url, 1, token=never, timeout_s=0.2)


def test_what_a_callable_raises_is_the_caller_s(serve: Serve) -> None:
    class LoginError(Exception):
        pass

    def refuse() -> str:
        raise LoginError("no")

    with Client(serve().url, token=refuse) as client, pytest.raises(LoginError, match="no"):
        client.detect(b"an image")


def test_a_callable_that_gives_no_token_is_told(serve: Serve) -> None:
    token: Any = lambda: None  # noqa: E731
    with Client(serve().url, token=token) as client, pytest.raises(ValueError, match="got NoneType"):
        client.detect(b"an image")
