# SPDX-License-Identifier: Apache-2.0
"""Clients across forks, and clients that are closed while calls are under way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes import tiny_model
from tests.fakes.black_hole import BlackHole
from yolov8_server import TritonServer
from yolov8_triton import AsyncClient, Client, YoloTritonError

CLOSED_WITHIN_S = 5.0
LONG = 0.5
"""The tiny model takes it for seconds."""

FORK = """
import os, sys
from yolov8_triton import Client

shared, unused = Client(sys.argv[1]), Client(sys.argv[1])
shared.detect(b"an image")
child = os.fork()
if child:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shared.detect(b"an image")
    print(f"child {code}, parent works on")
else:
    try:
        shared.detect(b"an image")
    except RuntimeError as exc:
        print(exc)
    shared.close()
    print("unused:", len(unused.detect(b"an image")))
    with Client(sys.argv[1]) as own:
        print("own:", len(own.detect(b"an image")), flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with TritonServer(
        tiny_model.write(tmp_path_factory.mktemp("tiny"), instances=2), http=True, stop_timeout_s=0
    ) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def url(request: pytest.FixtureRequest, server: TritonServer) -> str:
    return server.grpc_url if request.param == "grpc" else f"http://{server.http_url}"


def test_a_forked_child_is_told_at_once_and_may_make_its_own(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, url], capture_output=True, text=True, timeout=60, check=False)

    refusal, *others = done.stdout.splitlines()
    assert "this client made its connections in process" in refusal
    assert "create a client in each process, after the fork" in refusal
    assert others == ["unused: 2", "own: 2", "child 0, parent works on"]
    assert done.stderr == ""


def test_closing_with_calls_under_way_ends_soon_and_so_do_they(url: str) -> None:
    client = Client(url)
    client.info()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(client.detect, b"an image", conf=LONG) for _ in range(2)]
        time.sleep(LONG / 3)  # they are at the server now, or on their way to it: both must end

        begin = time.monotonic()
        client.close()
        assert time.monotonic() - begin < CLOSED_WITHIN_S
        for call in calls:
            error = call.exception(timeout=CLOSED_WITHIN_S)
            # Over HTTP those that are under way are answered.
            assert error is None or isinstance(error, YoloTritonError | RuntimeError)


def test_closing_from_a_loop_ends_soon_and_so_do_calls(url: str) -> None:
    async def run() -> list[object]:
        client = AsyncClient(url)
        await client.info()
        calls = [asyncio.ensure_future(client.detect(b"an image", conf=LONG)) for _ in range(2)]
        await asyncio.sleep(LONG / 3)
        await asyncio.wait_for(client.close(), CLOSED_WITHIN_S)
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), CLOSED_WITHIN_S)

    for error in asyncio.run(run()):
        assert isinstance(error, YoloTritonError | RuntimeError), error


def test_threads_share_a_client(url: str) -> None:
    with Client(url) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: client.detect(bytes(number)), range(1, 400)))

    assert [one.orig_shape[0] for one in found] == [number + 50 for number in range(1, 400)]


def test_a_connection_that_went_silent_is_given_up_for_a_new_one(server: TritonServer) -> None:
    # As by default, but in one second each in place of 10 and 20.
    soon = [("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 1000), ("grpc.http2.ping_timeout_ms", 1000)]
    with (
        BlackHole(server.grpc_url) as proxy,
        Client(proxy.url, timeout_s=30, channel_args=[*soon, ("grpc.use_local_subchannel_pool", 1)]) as client,
    ):
        client.detect(b"an image")
        proxy.swallow()

        begin = time.monotonic()
        assert len(client.detect(b"an image")) == 2

    assert time.monotonic() - begin < 20
    assert proxy.connections == 2
