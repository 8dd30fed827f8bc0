# SPDX-License-Identifier: Apache-2.0
"""Serve ONNX models as Triton's own onnxruntime backend does: on the CPU, and with onnxruntime-gpu on a GPU.

A Python-based backend: Triton starts one process for each instance of each model whose configuration says
``backend: "onnxruntime"`` or ``platform: "onnxruntime_onnx"``. All requests of a batch go through one session run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

# The modules beside this file take precedence over installed ones of the same name.
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils
from onnx_cores import load  # type: ignore[import-not-found]
from onnx_device import DeviceSession, preload  # type: ignore[import-not-found]
from onnx_options import run_options, session_options  # type: ignore[import-not-found]
from onnx_providers import check_loaded, providers  # type: ignore[import-not-found]
from onnx_refusals import RefusedConfigError, check_environment, check_tensors  # type: ignore[import-not-found]
from onnx_weights import opener  # type: ignore[import-not-found]

Arrays = dict[str, Any]  # of numpy, or on a GPU of cupy
DEFAULT_FILENAME = "model.onnx"


class TritonPythonModel:
    """One instance of a model; Triton finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model.

        Raises:
            RefusedConfigError: if Triton's own backend would not load the model, or this backend can't serve it.
        """
        config = json.loads(args["model_config"])
        check_environment(config)
        is_gpu = args.get("model_instance_kind", "CPU").removeprefix("KIND_") == "GPU"
        device = int(args["model_instance_device_id"]) if is_gpu else None
        chosen = providers(config, device=device, available=ort.get_available_providers())
        if device is not None:
            preload()
        path = _model_path(config, args)
        if device is None:
            options = partial(session_options, config)
            with opener(path, options, _warn) as open_session:
                session, self._run_session = load(config, options, open_session)
            self._device = None
        else:
            session = ort.InferenceSession(path, session_options(config), providers=chosen)
            self._device = DeviceSession(session, device)
            self._run_session = self._device.run
        check_loaded(chosen, session.get_providers())
        self._run_options = run_options(config)
        check_tensors(config, inputs=session.get_inputs(), outputs=session.get_outputs())
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        self._batches = config["max_batch_size"] > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests; Triton has checked that their shapes are equal except for the batch axis."""
        if len(requests) == 1 or not self._batches:
            return [self._answer(request) for request in requests]
        try:
            return self._answer_together(requests)
        except Exception as exc:  # noqa: BLE001  (any error may be caused by one request alone)
            pb_utils.Logger.log_warn(f"a batch of {len(requests)} requests failed, running each alone: {exc}")
            return [self._answer(request) for request in requests]

    def _answer_together(self, requests: Sequence[Any]) -> list[Any]:
        feeds = [self._feed(request) for request in requests]
        join = np.concatenate if self._device is None else self._device.joined
        stacked = {name: join([feed[name] for feed in feeds]) for name in self._inputs}
        outputs = self._run(stacked)
        ends = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])
        starts = [0, *ends[:-1]]
        return [
            self._response({name: array[start:end] for name, array in outputs.items()})  # views, not copies
            for start, end in zip(starts, ends, strict=True)
        ]

    def _answer(self, request: Any) -> Any:
        try:
            return self._response(self._run(self._feed(request)))
        except Exception as exc:  # noqa: BLE001  (the boundary of one request)
            message = f"onnxruntime: {exc}"
            pb_utils.Logger.log_error(message)
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))

    def _feed(self, request: Any) -> Arrays:
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self._inputs}
        if self._device is None:
            return {name: tensor.as_numpy() for name, tensor in tensors.items()}
        return {name: self._device.array(tensor) for name, tensor in tensors.items()}

    def _run(self, feed: Arrays) -> Arrays:
        # ONNX Runtime reads the arrays in place and returns its own buffers, so nothing is copied.
        outputs = dict(zip(self._outputs, self._run_session(self._outputs, feed, self._run_options), strict=True))
        if self._batches:
            _check_batch(outputs, batch=len(feed[self._inputs[0]]))
        return outputs

    def _response(self, outputs: Arrays) -> Any:
        tensor = pb_utils.Tensor if self._device is None else pb_utils.Tensor.from_dlpack
        return pb_utils.InferenceResponse([tensor(name, array) for name, array in outputs.items()])


def _warn(message: str) -> None:
    pb_utils.Logger.log_warn(message)


def _model_path(config: dict[str, Any], args: dict[str, str]) -> Path:
    path = Path(args["model_repository"], args["model_version"], config["default_model_filename"] or DEFAULT_FILENAME)
    if path.is_dir():
        path /= DEFAULT_FILENAME
    if not path.is_file():
        raise RefusedConfigError(f"the file {path} does not exist")
    return path


def _check_batch(outputs: Arrays, *, batch: int) -> None:
    for name, array in outputs.items():
        if len(array) != batch:
            raise ValueError(
                f"output {name!r} has {len(array)} rows for a batch of {batch}: rows can't be assigned to requests"
            )
