# SPDX-License-Identifier: Apache-2.0
"""Two real servers, and one of them goes; one real server, and too many callers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import pytest
import tritonclient.grpc as triton

from tests.data import shapes
from tests.integration.server.traces import wait_until
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import (
    AsyncClient,
    Client,
    ServerOverloadedError,
    ServerUnavailableError,
    YoloTritonError,
)

WEIGHTS = Path(__file__).parents[2] / "data" / "shapes-detect.pt"
MODEL = "shapes-detect"
CALLERS = 8
TIMEOUT_S = 30.0
SCHEDULING_S = 2.0
"""How late a thread of a busy machine may notice that its time is over."""
BACK_WITHIN_S = 10.0
ENOUGH_CALLS = 100
PAUSE_S = 0.5
"""Between two calls of a caller while a server starts: a full load would slow the start and test nothing."""

IMAGE = cv2.imencode(".jpg", shapes.scene(90_000, "detect", size=(120, 150)).image)[1].tobytes()


class Pair:
    """Two servers of one repository, which keep their ports however often they start."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._running: list[TritonServer | None] = [None, None]
        self.urls = ["", ""]

    def start(self, number: int, *, stop_timeout_s: float = 0) -> None:
        if self._running[number] is None:
            port = int(self.urls[number].rpartition(":")[2] or 0)
            server = TritonServer(self._repository, grpc_port=port, stop_timeout_s=stop_timeout_s)
            server.start()
            self._running[number] = server
            self.urls[number] = server.grpc_url

    def end(self, number: int, how: signal.Signals) -> None:
        """Send a signal, and return when the server has gone."""
        server = self._running[number]
        assert server is not None
        os.kill(server.pid, how)
        wait_until(lambda: server.wait(0.1) is not None, "the server runs on")
        self.forget(number)

    def forget(self, number: int) -> None:
        server, self._running[number] = self._running[number], None
        if server is not None:
            server.stop()

    def answered(self) -> list[int]:
        """Return how many requests each server has answered since it started."""
        return [requests_of(url) for url in self.urls]


def requests_of(url: str) -> int:
    with triton.InferenceServerClient(url) as raw:
        (statistics,) = raw.get_inference_statistics(MODEL, client_timeout=TIMEOUT_S).model_stats
    count: int = statistics.inference_stats.success.count
    return count


def exported(folder: Path, *, queue_size: int = Deployment().queue_size) -> Path:
    deployment = Deployment(instances=1, queue_size=queue_size)
    export(WEIGHTS, Target(repository=folder / "repository", name=MODEL), deployment=deployment)
    return folder / "repository"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    servers = Pair(exported(tmp_path_factory.mktemp("failover")))
    with ExitStack() as stack:
        for number in range(2):
            stack.callback(servers.forget, number)
        yield servers


@pytest.fixture
def pair(both: Pair) -> Pair:
    """Two servers that run, whatever a test before did to them."""
    for number in range(2):
        both.start(number)
    return both


@dataclass
class Traffic:
    """What callers that never stop have seen so far."""

    answers: int = 0
    errors: list[YoloTritonError] = field(default_factory=list)
    slowest_s: float = 0.0
    pause_s: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    _noting: threading.Lock = field(default_factory=threading.Lock)

    def note(self, start: float, error: YoloTritonError | None) -> None:
        with self._noting:
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)
            if error is None:
                self.answers += 1
            else:
                self.errors.append(error)

    def wait_for(self, answers: int) -> None:
        """Wait for so many answers more."""
        goal = self.answers + answers
        wait_until(lambda: self.answers >= goal or bool(self.errors), "no answers", then=lambda: self)


@contextmanager
def blocking_traffic(urls: list[str]) -> Iterator[Traffic]:
    """Keep eight threads calling with one client."""
    traffic = Traffic()

    def call(client: Client) -> None:
        while not traffic.over.is_set():
            start, error = time.monotonic(), None
            try:
                client.detect(IMAGE)
            except YoloTritonError as exc:
                error = exc
            traffic.note(start, error)
            time.sleep(traffic.pause_s)

    with Client(urls, model=MODEL, timeout_s=TIMEOUT_S) as client, ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(call, client) for _ in range(CALLERS)]
        try:
            yield traffic
        finally:
            traffic.over.set()
        for caller in callers:
            caller.result(TIMEOUT_S)


@contextmanager
def asyncio_traffic(urls: list[str]) -> Iterator[Traffic]:
    """Keep eight tasks of a loop calling with one client."""
    traffic = Traffic()

    async def call(client: AsyncClient) -> None:
        while not traffic.over.is_set():
            start, error = time.monotonic(), None
            try:
                await client.detect(IMAGE)
            except YoloTritonError as exc:
                error = exc
            traffic.note(start, error)
            await asyncio.sleep(traffic.pause_s)

    async def run() -> None:
        async with AsyncClient(urls, model=MODEL, timeout_s=TIMEOUT_S) as client:
            await asyncio.gather(*(call(client) for _ in range(CALLERS)))

    with ThreadPoolExecutor(1) as pool:
        loop = pool.submit(asyncio.run, run())
        try:
            yield traffic
        finally:
            traffic.over.set()
        loop.result(2 * TIMEOUT_S)


@pytest.mark.parametrize("traffic", [blocking_traffic, asyncio_traffic], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_a_server_that_goes_loses_no_request_and_is_used_again_when_it_is_back(
    pair: Pair, traffic: Callable[[list[str]], AbstractContextManager[Traffic]], how: signal.Signals
) -> None:
    before = pair.answered()
    with traffic(pair.urls) as seen:
        seen.wait_for(ENOUGH_CALLS)
        shares = [now - then for now, then in zip(pair.answered(), before, strict=True)]
        assert min(shares) >= sum(shares) / 4, shares

        pair.end(0, how)
        seen.wait_for(ENOUGH_CALLS)
        seen.pause_s = PAUSE_S
        pair.start(0)
        back = time.monotonic()
        wait_until(lambda: requests_of(pair.urls[0]) > 0, "the server that came back is not used")
        seen.pause_s = 0

        assert time.monotonic() - back < BACK_WITHIN_S
        print(f"{how.name}: shares {shares}, used again after {time.monotonic() - back:.1f} s")
        seen.wait_for(ENOUGH_CALLS)

    print(f"{seen.answers} answers, {len(seen.errors)} errors, slowest {seen.slowest_s:.2f} s")
    assert seen.errors == []


def test_a_server_that_drains_loses_no_request(pair: Pair) -> None:
    pair.forget(0)
    pair.start(0, stop_timeout_s=TIMEOUT_S)
    with blocking_traffic(pair.urls) as seen:
        seen.wait_for(ENOUGH_CALLS)
        shares = pair.answered()

        pair.forget(0)  # the launcher tells it to end what is in flight, and waits
        seen.wait_for(ENOUGH_CALLS)

    print(f"shares {shares}, {seen.answers} answers, {len(seen.errors)} errors, slowest {seen.slowest_s:.2f} s")
    assert shares[0] > ENOUGH_CALLS / 4
    assert seen.errors == []


def test_with_both_servers_dead_calls_fail_within_their_deadline(pair: Pair) -> None:
    timeout_s = 5.0

    def call(client: Client) -> tuple[float, BaseException | None]:
        start = time.monotonic()
        try:
            client.detect(IMAGE, timeout_s=timeout_s)
        except YoloTritonError as exc:
            return time.monotonic() - start, exc
        return 0, None

    with Client(pair.urls, model=MODEL) as client, ThreadPoolExecutor(CALLERS) as pool:
        client.detect(IMAGE, timeout_s=TIMEOUT_S)
        for number in range(2):
            pair.end(number, signal.SIGKILL)
        calls = list(pool.map(call, [client] * 5 * CALLERS, timeout=60))

    assert all(isinstance(error, ServerUnavailableError) for _, error in calls)
    assert max(seconds for seconds, _ in calls) < timeout_s + SCHEDULING_S
    print(f"{len(calls)} calls, slowest {max(seconds for seconds, _ in calls):.2f} s")


def test_overload_ends_every_call_as_a_result_or_as_overload(tmp_path: Path) -> None:
    timeout_s = 10.0

    def call(client: Client) -> tuple[float, type[BaseException] | None]:
        start = time.monotonic()
        try:
            client.detect(IMAGE, timeout_s=timeout_s)
        except YoloTritonError as exc:
            return time.monotonic() - start, type(exc)
        return time.monotonic() - start, None

    repository = exported(tmp_path, queue_size=4)
    with (
        TritonServer(repository, stop_timeout_s=0) as server,
        Client(server.grpc_url, model=MODEL) as client,
        ThreadPoolExecutor(64) as pool,
    ):
        client.detect(IMAGE, timeout_s=TIMEOUT_S)
        calls = list(pool.map(call, [client] * 64 * 10, timeout=120))

    kinds = [kind for _, kind in calls]
    print(f"{kinds.count(None)} results, {kinds.count(ServerOverloadedError)} overloads")
    assert set(kinds) == {None, ServerOverloadedError}
    assert max(seconds for seconds, _ in calls) < timeout_s + SCHEDULING_S
