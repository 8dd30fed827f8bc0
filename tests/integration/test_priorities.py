# SPDX-License-Identifier: Apache-2.0
"""Priority levels on a real server: under overload, the first level keeps its latency and lower ones are refused.

``python -m tests.integration.test_priorities`` measures for longer, and compares with a server without levels.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests import corpus
from tests.fixed_time import delay, replace_network
from tests.integration.conftest import DATA
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client
from yolov8_triton.low_level import infer_request

pytestmark = pytest.mark.alone

IMAGE = corpus.encode(corpus.drawn(), "JPEG")
NETWORK_S = 0.02
INSTANCES = 2
CAPACITY = INSTANCES / NETWORK_S
HIGH_RATE, LOW_RATE = 0.2 * CAPACITY, 2.5 * CAPACITY
DURATION_S = 3
LEVELS = 2


@dataclass
class Flow:
    """Requests at a rate, and what became of them."""

    rate: float
    priority: int | None
    latencies_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.latencies_s, percent)) * 1e3

    def __str__(self) -> str:
        asked = len(self.latencies_s) + len(self.errors)
        shown = ", ".join(f"p{percent} {self.percentile_ms(percent):.0f} ms" for percent in (50, 95, 99))
        return f"{len(self.latencies_s)} of {asked} answered, {shown}"


def send(stub: Any, flow: Flow, duration_s: float) -> None:
    """Send the requests of a flow when they are due, whatever becomes of them; wait for all answers."""
    request = infer_request("m", IMAGE, {} if flow.priority is None else {"priority": flow.priority})
    begin, calls = time.monotonic(), []

    def done(call: Any, due: float) -> None:
        if (error := call.exception()) is None:
            flow.latencies_s.append(time.monotonic() - due)
        else:
            flow.errors.append(error.details())

    for number in range(int(flow.rate * duration_s)):
        due = begin + number / flow.rate
        time.sleep(max(0.0, due - time.monotonic()))
        calls.append(stub.ModelInfer.future(request, timeout=2))
        calls[-1].add_done_callback(partial(done, due=due))
    while len(flow.latencies_s) + len(flow.errors) < len(calls):
        time.sleep(0.01)


def send_all(url: str, flows: list[Flow], duration_s: float) -> None:
    with grpc.insecure_channel(url) as channel, ThreadPoolExecutor() as pool:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(infer_request("m", IMAGE, {}), timeout=10)
        list(pool.map(lambda flow: send(stub, flow, duration_s), flows))


def exported(folder: Path, *, priority_levels: int = LEVELS) -> Path:
    deployment = Deployment(instances=INSTANCES, priority_levels=priority_levels)
    export(DATA / "shapes-detect.pt", Target(repository=folder, name="m"), deployment=deployment)
    return folder


@pytest.fixture(scope="module", params=["network", "preprocess"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server whose slow composing model is one of the two that have limited queues."""
    repository = exported(tmp_path_factory.mktemp(request.param))
    if request.param == "network":
        replace_network(repository, "m", seconds=NETWORK_S)
    else:
        delay(repository, "m_preprocess", seconds=4 * NETWORK_S)  # it batches, so it is delayed for longer
    with TritonServer(repository, http=True, stop_timeout_s=0) as running:
        yield running


def test_the_first_level_keeps_its_latency_while_the_second_is_refused(server: TritonServer) -> None:
    alone, high, low = Flow(HIGH_RATE, 1), Flow(HIGH_RATE, 1), Flow(LOW_RATE, 2)
    send_all(server.grpc_url, [alone], DURATION_S)
    send_all(server.grpc_url, [high, low], DURATION_S)
    print(f"\nalone: {alone}\nhigh: {high}\nlow: {low}")

    # Without levels a third is answered; the rest of the way to all is left to the pauses of a busy machine.
    assert len(high.errors) < 0.3 * len(high.errors + high.latencies_s)
    assert any("Exceeds maximum queue size" in error for error in low.errors)
    # Other requests may be running already in each composing model.
    assert high.percentile_ms(50) < alone.percentile_ms(50) + 500
    assert low.percentile_ms(50) > 1.5 * high.percentile_ms(50)


def test_priorities_of_http_requests_are_taken(server: TritonServer) -> None:
    with Client(f"http://{server.http_url}", model="m") as client:
        assert len(client.detect(IMAGE, priority=LEVELS)) >= 0


def _measure(duration_s: float) -> None:
    for levels in (0, LEVELS):
        with tempfile.TemporaryDirectory() as folder:
            repository = exported(Path(folder), priority_levels=levels)
            replace_network(repository, "m", seconds=NETWORK_S)
            with TritonServer(repository, stop_timeout_s=0) as server:
                high, low = Flow(HIGH_RATE, 1 if levels else None), Flow(LOW_RATE, 2 if levels else None)
                send_all(server.grpc_url, [high, low], duration_s)
        sys.stdout.write(f"{levels} levels: high {high}; low {low}\n")


if __name__ == "__main__":
    _measure(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)
