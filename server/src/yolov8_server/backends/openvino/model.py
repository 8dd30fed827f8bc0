# SPDX-License-Identifier: Apache-2.0
"""Serve ONNX and OpenVINO IR models on the CPU as Triton's own openvino backend does.

A Python-based backend: Triton starts one process for each instance of each model whose configuration says
``backend: "openvino"``. Triton's own backend compiles the network once and gives each instance a stream; here each
process compiles the network itself and gets its share of the threads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The modules beside this file take precedence over installed ones of the same name.
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import triton_python_backend_utils as pb_utils
from openvino_options import compile_options  # type: ignore[import-not-found]
from openvino_refusals import (  # type: ignore[import-not-found]
    RefusedConfigError,
    check_environment,
    check_tensors,
)

DEFAULT_FILENAME = "model.xml"
NOT_INSTALLED = "the embedded openvino backend needs the package openvino: pip install openvino"


class TritonPythonModel:
    """One instance of a model; Triton finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model.

        Raises:
            RefusedConfigError: if Triton's own backend would not serve the model, or this backend can't.
        """
        config = json.loads(args["model_config"])
        check_environment(config, args["model_instance_kind"])
        options = compile_options(config)
        try:
            import openvino  # an optional, large dependency
        except ImportError as exc:
            raise RefusedConfigError(NOT_INSTALLED) from exc
        core = openvino.Core()
        network = core.read_model(_model_path(config, args))
        check_tensors(config, inputs=network.inputs, outputs=network.outputs)
        if config["max_batch_size"]:
            for tensor in network.inputs:
                tensor.node.layout = openvino.Layout("N...")
            openvino.set_batch(network, config["max_batch_size"])
        self._request = core.compile_model(network, "CPU", options).create_infer_request()
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run the network once for each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            feed = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            self._request.infer({name: np.ascontiguousarray(array) for name, array in feed.items()}, share_inputs=True)
            # These arrays are views that the next run overwrites, so the response copies them.
            arrays = {name: self._request.get_tensor(name).data for name in self._outputs}
        except Exception as exc:  # noqa: BLE001  (the boundary of one request)
            message = f"openvino: {exc}"
            pb_utils.Logger.log_error(message)
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, np.array(array)) for name, array in arrays.items()])


def _model_path(config: dict[str, Any], args: dict[str, str]) -> Path:
    path = Path(args["model_repository"], args["model_version"], config["default_model_filename"] or DEFAULT_FILENAME)
    if not path.exists():
        raise RefusedConfigError(f"the file {path} does not exist")
    return path
