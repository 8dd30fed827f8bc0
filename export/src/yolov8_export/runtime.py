# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run networks on the CPU."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from yolov8_export.errors import OptionError, RunError

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Sequence[Array]]
"""Takes ``(n, 3, height, width)`` images in [0, 1] and returns the outputs in the order of their names."""

_ORT_ERRORS = tuple(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""ONNX Runtime's errors have no common base class."""

SIGNATURE = "serving_default"
"""The signature by which a SavedModel is served, in TensorFlow's own server too."""

_FATAL_ONLY = 4
"""ONNX Runtime's severity: the errors that it raises have the text of those that it would write to stderr, too."""


def onnx_runner(network: ir.Model, *, called: str) -> Run:
    """Return a function that runs an ONNX network in ONNX Runtime.

    Args:
        network: The network.
        called: The name of the network in errors.

    Raises:
        RunError: ONNX Runtime can't load the network. The function raises it if a run fails.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    try:
        session = onnxruntime.InferenceSession(serialize(network), options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as exc:
        raise RunError(f"{called}: ONNX Runtime can't load it: {one_line(exc)}") from exc
    names = sorted(output.name for output in session.get_outputs())

    def run(images: Array) -> Sequence[Array]:
        try:
            outputs: Sequence[Array] = session.run(names, {"images": images})
        except _ORT_ERRORS as exc:
            raise RunError(f"{called}: ONNX Runtime can't run it on {len(images)} images: {one_line(exc)}") from exc
        return outputs

    return run


def serialize(network: ir.Model) -> bytes:
    """Return the content of an ONNX file."""
    return bytes(to_proto(network).SerializeToString(deterministic=True))


def to_proto(network: ir.Model) -> onnx.ModelProto:
    """Return the protobuf message of a network.

    onnx-ir also writes the types of initialisers, and the FP16 converter would insert casts for them.
    """
    proto: onnx.ModelProto = ir.to_proto(network)
    graph = proto.graph
    for index in reversed(range(len(graph.value_info))):
        if graph.value_info[index].name in network.graph.initializers:
            del graph.value_info[index]
    return proto


def openvino_runner(network: Any, *, precision: str = "f32") -> Run:
    """Return a function that runs an ``openvino.Model`` on one image at a time, as Triton's backend does.

    Args:
        network: The network.
        precision: The precision of what is FP32 in the network: f32, or bf16.

    Raises:
        OptionError: OpenVINO is not installed.
    """
    openvino = import_openvino()
    network.inputs[0].node.layout = openvino.Layout("N...")
    openvino.set_batch(network, 1)
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    request = compiled.create_infer_request()
    names = sorted(output.get_any_name() for output in network.outputs)

    def run(images: Array) -> Sequence[Array]:
        rows = []
        for image in images:
            request.infer({"images": image[np.newaxis]})
            rows.append([np.array(request.get_tensor(name).data) for name in names])
        return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]

    return run


def openvino_model(network: ir.Model) -> Any:
    """Return an ONNX network as an ``openvino.Model`` in which each SiLU is one operation.

    ONNX has a sigmoid and a product. NNCF would round before, between and behind these two, which costs accuracy, and
    OpenVINO could compute neither of them within the convolution: yolov8n in INT8 took 1.2 to 1.6 times as long.
    OpenVINO's converter joins them, too, but sends statistics of its use to its makers.

    Raises:
        OptionError: OpenVINO is not installed.
    """
    model = import_openvino().Core().read_model(serialize(network))
    _join_silus(model)
    return model


def _join_silus(model: Any) -> None:
    from openvino import opset13, passes, utils

    value = passes.AnyInput()
    product = passes.WrapType("opset1.Multiply", [value, passes.WrapType("opset1.Sigmoid", [value])])

    def join(match: Any) -> bool:
        node = match.get_match_root()
        silu = opset13.swish(match.get_pattern_value_map()[value])
        silu.set_friendly_name(node.get_friendly_name())
        utils.replace_node(node, silu)
        return True

    class Join(passes.MatcherPass):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_matcher(passes.Matcher(product, "SiLU"), join)

    manager = passes.Manager()
    manager.register_pass(Join())
    manager.run_passes(model)


def import_openvino() -> Any:
    """Import OpenVINO, which is an optional dependency.

    Raises:
        OptionError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as exc:
        raise OptionError("--network openvino in another precision needs openvino: pip install openvino") from exc
    return openvino


def tensorflow_runner(function: Any, *, called: str) -> Run:
    """Return a function that runs one of TensorFlow's on images in its input's order; `RunError` if that fails."""

    def run(images: Array) -> Sequence[Array]:
        try:
            outputs = function(images)
        except Exception as exc:  # TensorFlow's errors have several base classes
            raise RunError(f"{called}: TensorFlow can't run it on {len(images)} images: {one_line(exc)}") from exc
        return [outputs[name].numpy() for name in sorted(outputs)]

    return run


def import_tensorflow() -> Any:
    """Import TensorFlow, an optional dependency, without the lines that it writes to stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with suppress(ImportError):  # torch's compiler: loaded after TensorFlow, its LLVM ends the process
        import triton  # noqa: F401
    with quiet():
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")  # the export needs no GPU's memory
    return tf


@contextmanager
def quiet() -> Iterator[None]:
    """Send the process' standard error to nowhere; TensorFlow's libraries write there while they are imported."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def in_batches_of(size: int, run: Run) -> Run:
    """Return a function that runs one image at a time with a network whose batch size is fixed at ``size``."""

    def one_by_one(images: Array) -> Sequence[Array]:
        runs = [run(np.repeat(image[np.newaxis], size, axis=0)) for image in images]
        return [np.stack([outputs[index][0] for outputs in runs]) for index in range(len(runs[0]))]

    return one_by_one


def one_line(exc: BaseException) -> str:
    """Return a foreign error's text as one line that ends at a word, without the places in ONNX Runtime's code."""
    said = _ORT_PLACE.sub("", str(exc))
    return textwrap.shorten(said, width=250, placeholder=" ...") or type(exc).__name__


_ORT_PLACE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |\S+\.(?:cc|h):\d+ (?:[^\n]*?\)(?: const)?(?= |\n)|\w+) ?")
"""How its errors begin: a code, then file, line and the signature of a C++ function, or its name alone."""
