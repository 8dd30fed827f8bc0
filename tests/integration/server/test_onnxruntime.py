# SPDX-License-Identifier: Apache-2.0
"""The onnxruntime drop-in gives the answers of a bare session, batches requests and isolates their errors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.integration.server import models
from tests.integration.server.traces import wait_until
from yolov8_server import TritonServer

Array = npt.NDArray[np.generic]
WIRE = {"float32": "FP32", "int64": "INT64"}
# Long enough for all requests of a test to be in one batch, even on a busy machine.
TOGETHER = {
    "max_batch_size": 16,
    "dynamic_batching": {"preferred_batch_size": [16], "max_queue_delay_microseconds": 500_000},
}
ONE_THREAD = {"intra_op_thread_count": {"string_value": "1"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("served")
    models.write(
        folder,
        "convolution",
        {
            **TOGETHER,
            "parameters": ONE_THREAD,
            "default_model_filename": "net.onnx",
            "input": [{"name": "images", "data_type": "TYPE_FP32", "dims": [3, 64, 64]}],
            "output": [
                {"name": "output1", "data_type": "TYPE_FP32", "dims": [8]},
                {"name": "output0", "data_type": "TYPE_FP32", "dims": [8, 60, 60]},
            ],
        },
        graph=models.convolution(),
    )
    models.write(
        folder,
        "any_length",
        {
            **TOGETHER,
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}],
            "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1]}],
        },
        graph=models.double("length"),
    )
    models.write(
        folder,
        "look_up",
        {
            **TOGETHER,
            "input": [{"name": "x", "data_type": "TYPE_INT64", "dims": [1]}],
            "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}],
        },
        graph=models.look_up(),
    )
    models.write(
        folder,
        "positive_rows",
        {**TOGETHER, **models.FLAT, "output": [{"name": "y", "data_type": "TYPE_INT64", "dims": [2]}]},
        graph=models.positive_rows(),
    )
    models.write(folder, "rows_seen", {**TOGETHER, **models.FLAT}, graph=models.rows_seen())
    models.write(folder, "without_batches", models.FLAT_WITH_BATCH, graph=models.double())
    with TritonServer(folder, stop_timeout_s=0) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_url) as connection:
        yield connection


def infer(client: triton.InferenceServerClient, model: str, **inputs: Array) -> triton.InferResult:
    tensors = []
    for name, array in inputs.items():
        tensor = triton.InferInput(name, array.shape, WIRE[array.dtype.name])
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return client.infer(model, tensors, client_timeout=60)


def attempt(client: triton.InferenceServerClient, model: str, x: Array) -> Array | InferenceServerException:
    try:
        return infer(client, model, x=x).as_numpy("y")
    except InferenceServerException as exc:
        return exc


class Counters:
    """The number of a model's runs and requests since this object was created."""

    def __init__(self, client: triton.InferenceServerClient, model: str) -> None:
        self._client, self._model = client, model
        self._before = self._now()

    def sessions_for(self, requests: int) -> int:
        """Wait until Triton has counted the requests (it does so after answering them); return the number of runs."""
        wait_until(lambda: self._now()[0] - self._before[0] >= requests, "the requests are not counted")
        return self._now()[1] - self._before[1]

    def _now(self) -> tuple[int, int]:
        (model,) = self._client.get_inference_statistics(self._model).model_stats
        ended = model.inference_stats.success.count + model.inference_stats.fail.count
        return int(ended), int(model.execution_count)


def images(count: int, batch: int = 1) -> list[Array]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((batch, 3, 64, 64), dtype=np.float32) for _ in range(count)]


def bare(batch: Array) -> dict[str, Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(models.convolution().SerializeToString(), options, ["CPUExecutionProvider"])
    names = ["output0", "output1"]
    return dict(zip(names, session.run(names, {"images": batch}), strict=True))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_request_gets_the_bits_of_a_bare_session(client: triton.InferenceServerClient, batch: int) -> None:
    (image,) = images(1, batch)

    result = infer(client, "convolution", images=image)

    for name, expected in bare(image).items():
        np.testing.assert_array_equal(result.as_numpy(name), expected)


def test_the_process_of_a_model_maps_its_weights(server: TritonServer) -> None:
    (stub,) = [
        process
        for process in psutil.Process(server.pid).children(recursive=True)
        if "convolution" in str(process.cmdline())
    ]

    assert [Path(region.path).name for region in stub.memory_maps()].count("weights") == 1


def test_requests_at_once_share_sessions_and_get_their_own_answers(client: triton.InferenceServerClient) -> None:
    sent = images(16)
    counters = Counters(client, "convolution")

    with ThreadPoolExecutor(len(sent)) as pool:
        results = list(pool.map(lambda image: infer(client, "convolution", images=image), sent))

    assert counters.sessions_for(len(sent)) < len(sent) / 2
    for image, result in zip(sent, results, strict=True):
        for name, expected in bare(image).items():
            np.testing.assert_array_equal(result.as_numpy(name), expected)


def test_a_batch_of_requests_is_one_run_of_the_session(client: triton.InferenceServerClient) -> None:
    sent = [np.zeros((rows, 2), np.float32) for rows in (1, 3, 2, 4)]
    counters = Counters(client, "rows_seen")

    with ThreadPoolExecutor(len(sent)) as pool:
        results = list(pool.map(lambda x: infer(client, "rows_seen", x=x).as_numpy("y"), sent))

    assert counters.sessions_for(len(sent)) == 1, "they were not in one batch: this shows nothing"
    assert [np.unique(result).tolist() for result in results] == [[10]] * 4


def test_requests_of_different_sizes_share_a_batch(client: triton.InferenceServerClient) -> None:
    sent = [np.full((rows, 5), rows, np.float32) for rows in (1, 3, 2, 4)]
    counters = Counters(client, "any_length")

    with ThreadPoolExecutor(len(sent)) as pool:
        results = list(pool.map(lambda x: infer(client, "any_length", x=x).as_numpy("y"), sent))

    assert counters.sessions_for(len(sent)) < len(sent)
    for x, y in zip(sent, results, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


def test_requests_of_different_shapes_are_all_answered(client: triton.InferenceServerClient) -> None:
    sent = [np.full((1, length), length, np.float32) for length in (2, 3, 2, 5, 3, 0)]

    with ThreadPoolExecutor(len(sent)) as pool:
        results = list(pool.map(lambda x: infer(client, "any_length", x=x).as_numpy("y"), sent))

    for x, y in zip(sent, results, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


def test_a_request_of_the_wrong_shape_fails_alone(client: triton.InferenceServerClient) -> None:
    (good,) = images(1)

    with ThreadPoolExecutor(3) as pool:
        neighbours = [pool.submit(infer, client, "convolution", images=good) for _ in range(2)]
        with pytest.raises(InferenceServerException, match="unexpected shape for input 'images'") as error:
            infer(client, "convolution", images=np.zeros((1, 3, 32, 32), np.float32))

    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"
    for neighbour in neighbours:
        np.testing.assert_array_equal(neighbour.result().as_numpy("output0"), bare(good)["output0"])


def test_a_request_that_fails_inside_onnxruntime_fails_alone(client: triton.InferenceServerClient) -> None:
    sent = [np.array([[index]], np.int64) for index in (0, 1, 7, 2)]
    counters = Counters(client, "look_up")

    with ThreadPoolExecutor(len(sent)) as pool:
        first, second, failed, third = pool.map(lambda x: attempt(client, "look_up", x), sent)

    assert counters.sessions_for(len(sent)) == 1, "they were not in one batch: this shows nothing"
    assert [float(answer[0, 0]) for answer in (first, second, third)] == [0, 1, 2]
    assert isinstance(failed, InferenceServerException)
    assert failed.status() == "StatusCode.INTERNAL"
    assert "onnxruntime: " in failed.message()
    assert "Traceback" not in failed.message()


def test_a_wrong_number_of_output_rows_is_an_error(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="output 'y' has 0 rows for a batch of 1"):
        infer(client, "positive_rows", x=np.array([[-1, -1]], np.float32))


def test_a_model_without_batches_takes_the_batch_as_a_dimension(client: triton.InferenceServerClient) -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)

    np.testing.assert_array_equal(infer(client, "without_batches", x=x).as_numpy("y"), 2 * x)
