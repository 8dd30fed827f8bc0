# SPDX-License-Identifier: Apache-2.0
"""Serve TensorRT plans as Triton's own tensorrt backend does.

A Python-based backend: Triton starts one process for each instance of each model whose configuration says
``backend: "tensorrt"`` or ``platform: "tensorrt_plan"``. All requests of a batch go through one run. Inputs may be on
the GPU or not; outputs stay on the GPU.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

# The modules beside this file take precedence over installed ones of the same name.
sys.path.insert(0, str(Path(__file__).parent))

import triton_python_backend_utils as pb_utils
from tensorrt_options import Options, RefusedConfigError, plan_filename  # type: ignore[import-not-found]
from tensorrt_refusals import check_environment, check_tensors  # type: ignore[import-not-found]

Arrays = dict[str, Any]  # of numpy or cupy


class TritonPythonModel:
    """One instance of a model; Triton finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the plan.

        Raises:
            RefusedConfigError: if Triton's own backend would not load the model, or this backend can't serve it.
        """
        config = json.loads(args["model_config"])
        check_environment(config, args["model_instance_kind"])
        options = Options.read(config, instance=args["model_instance_name"])
        # Without TensorRT and a GPU these can't be imported, and what is wrong with a configuration is told first.
        from tensorrt_plan import Plan, compute_capability, cupy  # type: ignore[import-not-found]
        from tensorrt_runner import Runner  # type: ignore[import-not-found]

        self._cupy = cupy
        device = int(args["model_instance_device_id"])
        cupy.cuda.Device(device).use()
        folder = Path(args["model_repository"], args["model_version"])
        path = folder / plan_filename(config, compute_capability(device))
        if not path.is_file():
            raise RefusedConfigError(f"the file {path} does not exist: build it, docker/build_plans.py REPOSITORY")
        plan = Plan(path, device, warn=pb_utils.Logger.log_warn)
        check_tensors(config, plan.tensors())
        self._runner = Runner(plan, config, options)
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._batches = config["max_batch_size"] > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests; Triton has checked that their shapes are equal except for the batch axis."""
        if len(requests) == 1 or not self._batches:
            return [self._answer(request) for request in requests]
        try:
            outputs, counts = self._runner.run([self._feed(request) for request in requests])
            return [
                self._response({name: array[start:end] for name, array in outputs.items()})
                for start, end in pairwise(accumulate(counts, initial=0))
            ]
        except Exception as exc:  # noqa: BLE001  (any error may be caused by one request alone)
            pb_utils.Logger.log_warn(f"a batch of {len(requests)} requests failed, running each alone: {exc}")
            return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            outputs, _ = self._runner.run([self._feed(request)])
            # The next request's run overwrites the buffers.
            return self._response({name: array.copy() for name, array in outputs.items()})
        except Exception as exc:  # noqa: BLE001  (the boundary of one request)
            message = f"tensorrt: {exc}"
            pb_utils.Logger.log_error(message)
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))

    def _feed(self, request: Any) -> Arrays:
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self._inputs}
        return {
            name: tensor.as_numpy() if tensor.is_cpu() else self._cupy.from_dlpack(tensor)
            for name, tensor in tensors.items()
        }

    def _response(self, outputs: Arrays) -> Any:
        wanted = [pb_utils.Tensor.from_dlpack(name, array) for name, array in outputs.items()]
        return pb_utils.InferenceResponse(wanted)
