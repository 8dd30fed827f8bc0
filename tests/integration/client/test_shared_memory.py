# SPDX-License-Identifier: Apache-2.0
"""Images that reach the real server through the memory of this host."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tritonclient.grpc as triton

from tests.fakes import tiny_model
from tests.fakes.answers import arrays, model
from tests.fakes.fake_triton import FakeTriton, ensemble_config, serving
from tests.integration.server.traces import wait_until
from yolov8_contract.task import Task
from yolov8_server import TritonServer
from yolov8_triton import AsyncClient, Client, DeadlineExceededError, Detections, SharedMemoryError

ALLOW = ["shared-memory"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TritonServer]:
    with TritonServer(tiny_model.write(tmp_path), allow=ALLOW, stop_timeout_s=0) as running:
        yield running


def image(number: int, size: int = 3000) -> bytes:
    return (hashlib.sha256(bytes([number])).digest() * (size // 32 + 1))[:size]


def arrived(found: Detections, sent: bytes) -> bool:
    """Tell whether the model saw these bytes: it answers with their number and a digest."""
    return found.orig_shape == (len(sent) + 50, int(hashlib.md5(sent).hexdigest()[:3], 16) + 50)


def regions(url: str) -> set[str]:
    with triton.InferenceServerClient(url) as raw:
        return set(raw.get_system_shared_memory_status().regions)


def files(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"yolov8-triton-{pid}-*"))


def test_images_arrive_and_closing_leaves_nothing(server: TritonServer) -> None:
    with Client(server.grpc_url, shared_memory=True) as client:
        for number, size in enumerate((0, 1, 3000, 5_000_000, 3000, 2**20, 2**20 + 1)):
            sent = image(number, size)
            assert arrived(client.detect(sent), sent)
        assert 0 < len(regions(server.grpc_url)) < 6
        assert files(os.getpid()) == []  # the server has them open, and needs no name any more

    assert regions(server.grpc_url) == set()


def test_threads_do_not_share_a_region(server: TritonServer) -> None:
    def ask(number: int) -> bool:
        return arrived(client.detect(image(number)), image(number))

    with Client(server.grpc_url, shared_memory=True) as client, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
        assert len(regions(server.grpc_url)) <= 8


def test_the_asyncio_client_does_the_same(server: TritonServer) -> None:
    async def run() -> None:
        async with AsyncClient(server.grpc_url, shared_memory=True) as client:
            found = await asyncio.gather(*(client.detect(image(number)) for number in range(100)))
            assert all(arrived(one, image(number)) for number, one in enumerate(found))
            assert regions(server.grpc_url)

    asyncio.run(run())

    assert regions(server.grpc_url) == set()


def test_a_server_that_was_started_anew_is_told_again(tmp_path: Path) -> None:
    repository = tiny_model.write(tmp_path)
    with TritonServer(repository, allow=ALLOW, stop_timeout_s=0) as first:
        url = first.grpc_url
        client = Client(url, shared_memory=True, timeout_s=30)
        assert arrived(client.detect(image(1)), image(1))
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: first.wait(0.1) is not None, "the server runs on")

    with TritonServer(repository, allow=ALLOW, stop_timeout_s=0, grpc_port=int(url.rpartition(":")[2])), client:
        assert arrived(client.detect(image(2)), image(2))
        assert len(regions(url)) == 1


def test_a_region_that_a_late_request_may_still_read_is_kept_and_used_again(server: TritonServer) -> None:
    with Client(server.grpc_url, shared_memory=True) as client:
        client.detect(image(1))
        with pytest.raises(DeadlineExceededError):
            client.detect(image(2), conf=0.9, timeout_s=0.3)  # the model's seconds
        assert arrived(client.detect(image(3)), image(3))
        assert len(regions(server.grpc_url)) == 1


def test_closing_without_the_server_ends_soon(tmp_path: Path) -> None:
    with TritonServer(tiny_model.write(tmp_path), allow=ALLOW, stop_timeout_s=0) as server:
        client = Client(server.grpc_url, shared_memory=True)
        client.detect(image(1))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(client.close).result(timeout=10)


@pytest.mark.parametrize("end", ["pass", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_process_that_ends_without_closing_leaves_no_file(server: TritonServer, end: str) -> None:
    code = (
        "import sys; from yolov8_triton import Client\n"
        "client = Client(sys.argv[1], shared_memory=True); client.detect(b'an image'); print('done', flush=True)\n"
        f"{end}"
    )

    with subprocess.Popen([sys.executable, "-c", code, server.grpc_url], stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=60)

    assert out == "done\n"
    assert files(process.pid) == []


def test_a_server_that_can_not_open_this_host_s_memory_says_so() -> None:
    fake = FakeTriton({"yolov8n": ensemble_config("yolov8n", model(Task.DETECT))}, lambda _: arrays(Task.DETECT))
    fake.memory = "Unable to open shared memory region: '/yolov8-triton'"

    with (
        serving(fake) as url,
        Client(url, shared_memory=True) as client,
        pytest.raises(SharedMemoryError, match="needs a server on this host that sees the same /dev/shm"),
    ):
        client.detect(b"an image")

    assert files(os.getpid()) == []
