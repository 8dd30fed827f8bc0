# SPDX-License-Identifier: Apache-2.0
"""Calls for many images: several in flight, results in order.

An image is taken when a request can be sent, so the images may be endless. Closing the generator stops early: no
further image is taken, and requests in flight are abandoned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

A = TypeVar("A")
I = TypeVar("I")  # noqa: E741  (an input)

DEFAULT_IN_FLIGHT = 8
"""Enough requests to keep a server's instances busy and its batches filled, and far below its queue limit."""


def ahead(ask: Callable[[I], A], images: Iterable[I], in_flight: int) -> Generator[A, None, None]:
    """Yield the results of ``ask`` for all images, called in threads.

    Raises:
        ValueError: ``in_flight`` is below 1.
    """
    _check(in_flight)
    return _ahead(ask, images, in_flight)


def ahead_async(
    ask: Callable[[I], Awaitable[A]], images: Iterable[I] | AsyncIterable[I], in_flight: int
) -> AsyncGenerator[A, None]:
    """Yield the results of ``ask`` for all images, called in tasks.

    Raises:
        ValueError: ``in_flight`` is below 1.
    """
    _check(in_flight)
    return _ahead_async(ask, images, in_flight)


def _ahead(ask: Callable[[I], A], images: Iterable[I], in_flight: int) -> Generator[A, None, None]:
    waiting: deque[Future[A]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="yolov8-triton")
    try:
        for image in images:
            # The caller's context holds the current span of a trace; tasks inherit it by themselves.
            waiting.append(pool.submit(copy_context().run, ask, image))
            if len(waiting) == in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # requests in flight end by themselves, at their deadlines at the latest
        pool.shutdown(wait=False, cancel_futures=True)


async def _ahead_async(
    ask: Callable[[I], Awaitable[A]], images: Iterable[I] | AsyncIterable[I], in_flight: int
) -> AsyncGenerator[A, None]:
    waiting: deque[asyncio.Future[A]] = deque()
    try:
        async for image in _each(images):
            waiting.append(asyncio.ensure_future(ask(image)))
            if len(waiting) == in_flight:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _each(images: Iterable[I] | AsyncIterable[I]) -> AsyncIterator[I]:
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        for image in images:
            yield image


def _check(in_flight: int) -> None:
    if in_flight < 1:
        raise ValueError(f"in_flight: expected 1 or more, got {in_flight!r}")
