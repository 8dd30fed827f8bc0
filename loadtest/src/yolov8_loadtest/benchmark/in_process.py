# SPDX-License-Identifier: Apache-2.0
"""The in-process limit: a served model's own code and network, called in one process without a server.

python -m yolov8_loadtest.benchmark.in_process REPOSITORY MODEL WORKERS THREADS
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import model_config_pb2

from yolov8_loadtest.benchmark.contender import Ask, StageClock, serve

VERSION = "1"
Network = Callable[[Any], list[Any]]


class Pipeline:
    """Decoding, letterbox, network and postprocessing of one model, from the files that a server would run.

    Args:
        repository: The model repository.
        model: The ensemble's name.
        threads: Number of threads that run the network.
        clock: Takes the time of each part.
        conf: Threshold of scores; None for the model's default.
    """

    def __init__(
        self, repository: Path, model: str, threads: int, clock: StageClock, *, conf: float | None = None
    ) -> None:
        preprocess = repository / f"{model}_preprocess"
        # The code in the model repository is measured, as a server would run it.
        sys.path.insert(0, str(preprocess / VERSION))
        preparation = importlib.import_module("preparation")
        importlib.import_module("memory").keep_freed()
        importlib.import_module("pixels").configure_opencv()
        config = _config(preprocess)
        served = importlib.import_module("yolov8_contract.served_model").ServedModel.from_config(config)
        policy = importlib.import_module("yolov8_contract.parameters").ParameterPolicy.from_config(config, served)
        limits = importlib.import_module("yolov8_contract.image_header").ImageLimits.from_config(config)
        self._prepare = preparation.Preparation(served, policy, limits)
        self._raw = preparation.Raw
        self._postprocess = importlib.import_module("yolov8_contract.postprocess").postprocess
        self._served = served
        self._parameters = policy.parse({} if conf is None else {"conf": conf})
        self._network = _network(repository / f"{model}_network", threads)
        self._clock = clock

    def run(self, image: bytes) -> dict[str, Any]:
        """Return the tensors that the ensemble would answer an encoded image with, without the batch axis."""
        marks = [time.perf_counter()]
        inputs = self._prepare.run(self._raw("{}", np.frombuffer(image, np.uint8)[np.newaxis]))
        marks.append(time.perf_counter())
        head = self._network(inputs["images"])
        marks.append(time.perf_counter())
        height, width = inputs["orig_shape"][0].tolist()
        found = self._postprocess(self._served, [output[0] for output in head], (height, width), self._parameters)
        marks.append(time.perf_counter())
        names = ("preprocess", "network", "postprocess")
        self._clock.add({name: marks[i + 1] - marks[i] for i, name in enumerate(names)})
        return {**found, "orig_shape": inputs["orig_shape"][0]}


def _network(folder: Path, threads: int) -> Network:
    """Return a function that runs the network as its Triton backend would; ONNX Runtime stands in for most engines."""
    config = _config(folder)
    if config.get("backend") != "openvino":
        return _onnxruntime(folder / VERSION / "model.onnx", threads)
    path = folder / VERSION / config["default_model_filename"]  # in INT8, it is not the ONNX file
    return _openvino(path, threads, "bf16" if "HINT_BF16" in config.get("parameters", {}) else "f32")


def _onnxruntime(path: Path, threads: int) -> Network:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (name,) = (tensor.name for tensor in session.get_inputs())
    return lambda images: list(session.run(None, {name: images}))


def _openvino(path: Path, threads: int, precision: str) -> Network:
    import openvino  # an extra of other distributions

    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    return lambda images: list(request.infer([images]).to_tuple())


def _config(folder: Path) -> dict[str, Any]:
    message = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    plain: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return plain


def main() -> int:
    """Run as a contender."""
    repository, model, workers, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    clock = StageClock()
    own = threading.local()

    def make_pipeline() -> None:
        own.pipeline = Pipeline(repository, model, threads, clock)

    # More callers than workers wait in a queue, first come first served, as they would in a server.
    pool = ThreadPoolExecutor(workers, initializer=make_pipeline)

    def make_ask(_: int) -> Ask:
        return lambda image: pool.submit(lambda: int(own.pipeline.run(image)["num_detections"][0])).result()

    return serve(make_ask, stages=clock)


if __name__ == "__main__":
    sys.exit(main())
