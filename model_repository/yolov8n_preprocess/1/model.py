# SPDX-License-Identifier: Apache-2.0
"""The first member: checks a request's parameters and its image, and makes the network's input of it."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # the contract that travelled with the model is the one that runs

import cropped
import memory
import pixels
import triton_python_backend_utils as pb_utils
from preparation import Outputs, Preparation, Raw

from yolov8_contract import signature
from yolov8_contract.errors import RequestError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.refusals import Refusals
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task


class TritonPythonModel:
    """What Triton's python backend loads and calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Hold the configuration against the contract, and make ready.

        Raises:
            ConfigError: They differ; the model then doesn't load.
        """
        config = json.loads(args["model_config"])
        model = ServedModel.from_config(config)
        signature.preprocess(model).check_config(config)
        policy = ParameterPolicy.from_config(config, model)
        self._preparation = Preparation(model, policy, ImageLimits.from_config(config))
        self._refusals = Refusals(pb_utils.MetricFamily, args["model_name"])
        memory.keep_freed()
        pixels.configure_opencv()
        if model.task is Task.CLASSIFY and not cropped.has_pillow():
            pb_utils.Logger.log_warn(cropped.PILLOW_MISSING)
        workers = min(len(os.sched_getaffinity(0)), max(1, int(config["max_batch_size"])))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="preprocess")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request of a batch on its own; images are worked on in parallel."""
        raws = [_read(request) for request in requests]  # Triton's objects stay in this thread
        # One image alone stays in this thread, which has its bytes at hand.
        outcomes = map(self._outcome, raws) if len(raws) == 1 else self._pool.map(self._outcome, raws)
        return [self._respond(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]

    def finalize(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def _outcome(self, raw: Raw) -> Outputs | Exception:
        try:
            return self._preparation.run(raw)
        except Exception as exc:  # noqa: BLE001  (a request fails alone; `_respond` tells the client or the log)
            return exc

    def _respond(self, request: Any, outcome: Outputs | Exception) -> Any:
        if isinstance(outcome, RequestError):
            pb_utils.Logger.log_verbose(f"refused: {outcome}")
            self._refusals.count(outcome)
            return _error(str(outcome), pb_utils.TritonError.INVALID_ARG)
        if isinstance(outcome, Exception):
            pb_utils.Logger.log_error("".join(traceback.format_exception(outcome)))
            return _error("preprocessing failed, the server's log says why", pb_utils.TritonError.INTERNAL)
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, array) for name, array in outcome.items() if name in wanted]
        )


def _read(request: Any) -> Raw:
    images = pb_utils.get_input_tensor_by_name(request, signature.IMAGE.name).as_numpy()
    return Raw(request.parameters(), images)


def _error(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
