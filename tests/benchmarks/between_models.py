# SPDX-License-Identifier: Apache-2.0
"""Measure what it costs to bring a tensor from one python model of an ensemble to the next.

One model makes a tensor, and the next reads its shape. The tensor takes the way of an image: from the first process
into shared memory, from there into tritonserver, and into the shared memory of the second process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import tritonclient.grpc as triton

from yolov8_server import TritonServer

REQUESTS = 100
"""Requests of a turn; the kernel counts a process' time in steps of 10 ms."""
_MAKER = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        sizes = [int(pb_utils.get_input_tensor_by_name(request, "size").as_numpy()[0]) for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("tensor", self._made(size))]) for size in sizes]

    def initialize(self, args):
        self._tensors = {}

    def _made(self, size):
        return self._tensors.setdefault(size, np.ones(size, np.float32))
"""
_READER = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        tensors = [pb_utils.get_input_tensor_by_name(request, "tensor").as_numpy() for request in requests]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("size", np.array([tensor.size], np.int32))])
            for tensor in tensors
        ]
"""
_SIZE = '{ name: "size" data_type: TYPE_INT32 dims: [1] }'
_TENSOR = '{ name: "tensor" data_type: TYPE_FP32 dims: [-1] }'
_ENSEMBLE = """
platform: "ensemble"
ensemble_scheduling {
  step {
    model_name: "maker" model_version: -1
    input_map { key: "size" value: "size" }
    output_map { key: "tensor" value: "tensor" }
  }
  step {
    model_name: "reader" model_version: -1
    input_map { key: "tensor" value: "tensor" }
    output_map { key: "size" value: "found" }
  }
}
"""


def write_repository(folder: Path) -> None:
    """Write both models and the ensemble into an empty folder."""
    python = 'backend: "python" instance_group { count: 1 kind: KIND_CPU }'
    found = _SIZE.replace("size", "found", 1)
    for name, code, config in (
        ("maker", _MAKER, f"input {_SIZE} output {_TENSOR} {python}"),
        ("reader", _READER, f"input {_TENSOR} output {_SIZE} {python}"),
        ("both", None, f"input {_SIZE} output {found} {_ENSEMBLE}"),
    ):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(f'name: "{name}" {config}', encoding="utf-8")
        if code is not None:
            (folder / name / "1" / "model.py").write_text(code, encoding="utf-8")


def transfer_s(folder: Path, numbers: int, rounds: int) -> tuple[float, float]:
    """Return the processor's seconds for bringing FP32 numbers to the next model, and for one memcpy of them.

    The first is the difference between these requests and ones with a single number, in turns, over all processes of
    the server; both are medians over the rounds.
    """
    write_repository(folder)
    source, copy = np.ones((2, numbers), np.float32)
    with TritonServer(folder) as server, triton.InferenceServerClient(server.grpc_url) as client:
        assert server.pid is not None
        root = psutil.Process(server.pid)
        processes = [root, *root.children(recursive=True)]

        def ask(size: int) -> None:
            wanted = triton.InferInput("size", [1], "INT32")
            wanted.set_data_from_numpy(np.array([size], np.int32))
            for _ in range(REQUESTS):
                found = client.infer("both", [wanted]).as_numpy("found")
                assert found is not None
                assert found.tolist() == [size]

        def of_server(size: int) -> float:
            return _grown(lambda: sum(sum(one.cpu_times()[:2]) for one in processes), lambda: ask(size))

        def memcpy() -> None:
            for _ in range(REQUESTS):
                np.copyto(copy, source)

        ask(numbers)  # the shared memory grows
        extra = [of_server(numbers) - of_server(1) for _ in range(rounds)]
        bound = [_grown(time.thread_time, memcpy) for _ in range(rounds)]
    return statistics.median(extra) / REQUESTS, statistics.median(bound) / REQUESTS


def _grown(clock: Callable[[], float], work: Callable[[], None]) -> float:
    began = clock()
    work()
    return clock() - began
