# SPDX-License-Identifier: Apache-2.0
"""The caller's span goes along to the server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

from tests.unit.client.conftest import Connect, Serve
from yolov8_triton import AsyncClient

TRACE, SPAN = 0x0123456789ABCDEF0123456789ABCDEF, 0x0123456789ABCDEF
PARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"


def in_a_span(call: Callable[[], Any]) -> Any:
    context = trace.SpanContext(TRACE, SPAN, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    with trace.use_span(trace.NonRecordingSpan(context)):
        return call()


def test_the_current_span_goes_along(serve: Serve, connect: Connect) -> None:
    fake = serve()
    client = connect(fake)

    in_a_span(lambda: client.detect(b"an image"))
    client.detect(b"an image")

    assert [headers.get("traceparent") for headers in fake.headers] == [PARENT, None]


def test_requests_for_many_images_belong_to_the_span_of_who_asks(serve: Serve, connect: Connect) -> None:
    fake = serve()
    client = connect(fake)

    in_a_span(lambda: list(client.detect_many([b"an image"] * 3)))

    assert [headers.get("traceparent") for headers in fake.headers] == [PARENT] * 3


def test_those_of_a_loop_do_too(serve: Serve) -> None:
    async def run() -> None:
        async with AsyncClient(fake.url) as client:
            await client.detect(b"an image")
            _ = [outcome async for outcome in client.detect_many([b"an image"] * 3)]

    fake = serve()
    in_a_span(lambda: asyncio.run(run()))

    assert [headers.get("traceparent") for headers in fake.headers] == [PARENT] * 4


@pytest.mark.slow
@pytest.mark.parametrize("imported", ["", "import opentelemetry.trace"])
def test_without_a_span_nothing_goes_along_and_nothing_is_imported(serve: Serve, imported: str) -> None:
    code = f"""
import sys
{imported}
from yolov8_triton import Client
with Client(sys.argv[1]) as client:
    client.detect(b"an image")
print("opentelemetry" in sys.modules)
"""
    fake = serve()

    done = subprocess.run([sys.executable, "-c", code, fake.url], capture_output=True, text=True, check=True)

    assert done.stdout == f"{bool(imported)}\n"
    assert "traceparent" not in fake.headers[0]
