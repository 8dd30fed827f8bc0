# SPDX-License-Identifier: Apache-2.0
"""Times that a real server measures: all parts, over both protocols, and zeros for who does not ask."""

from __future__ import annotations

import time

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests import corpus
from yolov8_server import TritonServer
from yolov8_triton import Client
from yolov8_triton.low_level import infer_request

IMAGE = corpus.encode(corpus.drawn(), "PNG")
CALLS = 5


@pytest.mark.parametrize("scheme", ["", "http://"])
@pytest.mark.parametrize("task", ["obb", "classify"])
def test_the_parts_are_within_a_twentieth_of_the_callers_latency(server: TritonServer, task: str, scheme: str) -> None:
    url = f"http://{server.http_url.removeprefix('http://')}" if scheme else server.grpc_url
    with Client(url, model=f"shapes-{task}") as client:
        call = getattr(client, task)
        call(IMAGE)
        apart = []
        for _ in range(CALLS):
            began = time.perf_counter()
            timings = call(IMAGE, timings=True).timings
            took_ms = (time.perf_counter() - began) * 1000
            apart.append(abs(sum(value for _, value in timings.parts()) / took_ms - 1))

    print(timings.summary())
    assert sorted(apart)[CALLS // 2] < 0.05
    assert min(timings.check_ms, timings.decode_ms, timings.letterbox_ms) > 0
    assert timings.tiles_ms == 0
    assert (timings.network_ms is None) == (task == "classify")


def test_who_does_not_ask_gets_zeros(server: TritonServer) -> None:
    with grpc.insecure_channel(server.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(infer_request("shapes-obb", IMAGE, {}), timeout=30)

    (index,) = [i for i, output in enumerate(answer.outputs) if output.name == "timings"]
    assert (answer.outputs[index].datatype, list(answer.outputs[index].shape)) == ("FP64", [1, 7])
    assert not any(answer.raw_output_contents[index])
