# SPDX-License-Identifier: Apache-2.0
"""Serve DALI pipelines as Triton's own dali backend does.

A Python-based backend: Triton starts one process for each instance of each model whose configuration says
``backend: "dali"``. All requests of a batch go through one run of the pipeline. An instance of KIND_GPU leaves its
outputs on the GPU; an instance of KIND_CPU runs pipelines without any operator of a GPU.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The modules beside this file take precedence over installed ones of the same name.
sys.path.insert(0, str(Path(__file__).parent))

import triton_python_backend_utils as pb_utils
from dali_options import DaliOptions, check_config  # type: ignore[import-not-found]
from dali_pipeline import Runner, serialized  # type: ignore[import-not-found]


class TritonPythonModel:
    """One instance of a model; Triton finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the pipeline.

        Raises:
            RefusedConfigError: if Triton's own backend would not load the model, or this backend can't serve it.
        """
        config = json.loads(args["model_config"])
        check_config(config)
        options = DaliOptions.read(config, kind=args["model_instance_kind"], device=args["model_instance_device_id"])
        folder = Path(args["model_repository"], args["model_version"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        graph = serialized(folder, config.get("default_model_filename", ""))
        self._runner = Runner(graph, options, inputs=self._inputs, outputs=self._outputs)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run all requests in one batch; as in Triton's own backend, an error of one of them fails them all."""
        try:
            for request in requests:
                self._check_outputs(request)
            return self._run(requests)
        except Exception as exc:  # noqa: BLE001  (whatever DALI raises; the server and later batches go on)
            message = f"DALI error: {exc}"
            pb_utils.Logger.log_error(message)
            self._runner.reset()
            error = pb_utils.TritonError(message, pb_utils.TritonError.UNKNOWN)
            return [pb_utils.InferenceResponse(error=error) for _ in requests]

    def _check_outputs(self, request: Any) -> None:
        requested = len(request.requested_output_names())
        if requested != len(self._outputs):
            raise ValueError(
                f"Number of outputs expected by the requests ({requested}) does not match the number of outputs from "
                f"DALI pipeline ({len(self._outputs)}): request all of {', '.join(self._outputs)}"
            )

    def _run(self, requests: Sequence[Any]) -> list[Any]:
        samples: dict[str, list[Any]] = {name: [] for name in self._inputs}
        counts = []
        for request in requests:
            arrays = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            for name, array in zip(self._inputs, arrays, strict=True):
                samples[name].extend(array)
            counts.append(len(arrays[0]))
            if any(len(array) != counts[-1] for array in arrays):
                raise ValueError("Each input in a request must have the same batch size.")
        outputs = self._runner.run(samples, counts)
        return [
            pb_utils.InferenceResponse(
                [self._runner.tensor(name, output[index]) for name, output in zip(self._outputs, outputs, strict=True)]
            )
            for index in range(len(requests))
        ]
