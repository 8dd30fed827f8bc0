# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run ONNX files on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from yolov8_export.errors import OptionError, RunError

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Sequence[Array]]
"""Takes ``(n, 3, height, width)`` images in [0, 1], returns the outputs in the order of their names."""

_ORT_ERRORS = tuple(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""They have no base class of their own."""

_ERRORS_ONLY = 3


def onnx_runner(path: Path, *, called: str) -> Run:
    """Return what runs an ONNX file.

    Args:
        path: The file.
        called: What to call it in errors.

    Raises:
        RunError: ONNX Runtime can't load it; later, it can't run it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY  # its warnings are about its own optimisations
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as exc:
        raise RunError(f"{called}: ONNX Runtime can't load it: {_first_line(exc)}") from exc
    names = sorted(output.name for output in session.get_outputs())

    def run(images: Array) -> Sequence[Array]:
        try:
            outputs: Sequence[Array] = session.run(names, {"images": images})
        except _ORT_ERRORS as exc:
            raise RunError(f"{called}: ONNX Runtime can't run it on {len(images)} images: {_first_line(exc)}") from exc
        return outputs

    return run


def openvino_runner(path: Path) -> Run:
    """Return what runs a file in OpenVINO, one image after the other, as Triton's backend would.

    Raises:
        OptionError: OpenVINO is not installed.
    """
    try:
        import openvino  # optional
    except ImportError as exc:
        raise OptionError("--network openvino in another precision needs openvino: pip install openvino") from exc
    core = openvino.Core()
    network = core.read_model(path)
    network.inputs[0].node.layout = openvino.Layout("N...")
    openvino.set_batch(network, 1)
    request = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    names = sorted(output.get_any_name() for output in network.outputs)

    def run(images: Array) -> Sequence[Array]:
        rows = []
        for image in images:
            request.infer({"images": image[np.newaxis]})
            rows.append([np.array(request.get_tensor(name).data) for name in names])
        return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]

    return run


def in_batches_of(size: int, run: Run) -> Run:
    """Return what runs one image after the other with a network that takes ``size`` at once."""

    def one_by_one(images: Array) -> Sequence[Array]:
        runs = [run(np.repeat(image[np.newaxis], size, axis=0)) for image in images]
        return [np.stack([outputs[index][0] for outputs in runs]) for index in range(len(runs[0]))]

    return one_by_one


def _first_line(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0][:200]
