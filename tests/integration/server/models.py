# SPDX-License-Identifier: Apache-2.0
"""Small models for tests of a server, and a function that writes them into a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tritonclient.grpc as triton
from google.protobuf import json_format, text_format
from onnx import ModelProto, numpy_helper
from onnx.helper import make_node
from onnx.helper import make_tensor_value_info as tensor
from tritonclient.grpc import model_config_pb2

from tests.unit.server.graphs import FLOAT, INT64, model

ONE_INSTANCE = [{"kind": "KIND_CPU", "count": 1}]
FLAT = {
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [2]}],
}

FLAT_WITH_BATCH = {
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 2]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1, 2]}],
}


def write(
    repository: Path, name: str, config: dict[str, Any], *, graph: ModelProto | None = None, code: str | None = None
) -> None:
    """Write a model with one version from an ONNX graph or Python code."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    defaults: dict[str, Any] = {"instance_group": ONE_INSTANCE}
    if "platform" not in config:
        defaults["backend"] = "python" if graph is None else "onnxruntime"
    message = json_format.ParseDict(defaults | config, model_config_pb2.ModelConfig())
    (repository / name / "config.pbtxt").write_text(text_format.MessageToString(message))
    if graph is not None:
        onnx.save(graph, version / config.get("default_model_filename", "model.onnx"))
    if code is not None:
        (version / "model.py").write_text(code)


def write_double(repository: Path) -> None:
    """Write a model that `doubled` asks."""
    write(repository, "double", {"max_batch_size": 4, **FLAT}, graph=double())


def doubled(url: str) -> list[float]:
    """Return what the model of `write_double` makes of 1 and 2."""
    x = triton.InferInput("x", [1, 2], "FP32")
    x.set_data_from_numpy(np.array([[1, 2]], np.float32))
    with triton.InferenceServerClient(url) as client:
        answer: list[float] = client.infer("double", [x], client_timeout=10).as_numpy("y")[0].tolist()
    return answer


def double(length: int | str = 2) -> ModelProto:
    """Return a graph for ``y = x + x``."""
    shape = ["batch", length]
    return model([make_node("Add", ["x", "x"], ["y"])], [tensor("x", FLOAT, shape)], [tensor("y", FLOAT, shape)])


def look_up() -> ModelProto:
    """Return a graph that looks ``x`` up in a table of three rows; a larger index fails inside ONNX Runtime."""
    table = numpy_helper.from_array(np.arange(3, dtype=np.float32), "table")
    return model(
        [make_node("Gather", ["table", "x"], ["y"])],
        [tensor("x", INT64, ["batch", 1])],
        [tensor("y", FLOAT, ["batch", 1])],
        initializer=[table],
    )


def rows_seen() -> ModelProto:
    """Return a graph that answers each row with the number of rows in the session's run."""
    first = numpy_helper.from_array(np.array([0], np.int64), "first")
    none = numpy_helper.from_array(np.float32(0), "none")
    return model(
        [
            make_node("Shape", ["x"], ["shape"]),
            make_node("Gather", ["shape", "first"], ["rows"]),
            make_node("Cast", ["rows"], ["number"], to=FLOAT),
            make_node("Mul", ["x", "none"], ["nothing"]),
            make_node("Add", ["nothing", "number"], ["y"]),
        ],
        [tensor("x", FLOAT, ["batch", 2])],
        [tensor("y", FLOAT, ["batch", 2])],
        initializer=[first, none],
    )


def positive_rows() -> ModelProto:
    """Return a graph that outputs one row for each positive number, for any batch."""
    zero = numpy_helper.from_array(np.float32(0), "zero")
    return model(
        [
            make_node("Greater", ["x", "zero"], ["mask"]),
            make_node("NonZero", ["mask"], ["places"]),
            make_node("Transpose", ["places"], ["y"]),
        ],
        [tensor("x", FLOAT, ["batch", 2])],
        [tensor("y", INT64, ["rows", 2])],
        initializer=[zero],
    )


def convolution(channels: int = 16) -> ModelProto:
    """Return a graph of two layers with random weights, enough arithmetic to show a difference in the last bit."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape, dtype=np.float32), name)
        for name, shape in (("w1", (channels, 3, 3, 3)), ("w2", (8, channels, 3, 3)))
    ]
    return model(
        [
            make_node("Conv", ["images", "w1"], ["a"]),
            make_node("Sigmoid", ["a"], ["b"]),
            make_node("Conv", ["b", "w2"], ["output0"]),
            make_node("GlobalMaxPool", ["output0"], ["pooled"]),
            make_node("Flatten", ["pooled"], ["output1"]),
        ],
        [tensor("images", FLOAT, ["batch", 3, 64, 64])],
        [tensor("output0", FLOAT, ["batch", 8, 60, 60]), tensor("output1", FLOAT, ["batch", 8])],
        initializer=weights,
    )


SLEEPY = """
import time
from pathlib import Path
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        time.sleep({load_s})

    def execute(self, requests):
        Path(__file__).with_name("executing").touch()
        time.sleep({execute_s})
        x = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", array)]) for array in x]
"""
