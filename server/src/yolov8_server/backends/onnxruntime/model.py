# SPDX-License-Identifier: Apache-2.0
"""Serve ONNX models as Triton's own onnxruntime backend does, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of a model; Triton finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model."""
        config = json.loads(args["model_config"])
        options = ort.SessionOptions()
        threads = config["parameters"].get("intra_op_thread_count", {}).get("string_value", "0")
        options.intra_op_num_threads = int(threads)
        path = Path(args["model_repository"], args["model_version"], config["default_model_filename"])
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests with one session run."""
        rows = [[pb_utils.get_input_tensor_by_name(r, name).as_numpy() for name in self._inputs] for r in requests]
        counts = np.cumsum([len(row[0]) for row in rows])[:-1]
        feed = {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(self._inputs)}
        split = [np.split(o, counts) for o in self._session.run(self._outputs, feed)]
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, np.ascontiguousarray(out[i]))
                    for name, out in zip(self._outputs, split, strict=True)
                ]
            )
            for i in range(len(requests))
        ]
