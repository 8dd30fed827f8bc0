# SPDX-License-Identifier: Apache-2.0
"""Preprocess, the first composing model: check a request and turn its image into the network's input."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # use the copy of the contract in the model's folder

import cropped
import memory
import pixels
import triton_python_backend_utils as pb_utils
from preparation import Outputs, Preparation, Raw
from slicing import Sliced, Slicer, TileError

from yolov8_contract import signature
from yolov8_contract.build import check_build
from yolov8_contract.distributions import BRIGHTNESS, Distributions, of_input
from yolov8_contract.errors import RequestError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy, parameters_text
from yolov8_contract.refusals import Refusals
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

_NICENESS = 5
"""The network goes first where cores are scarce: under overload, requests then wait in the first queue, where refusing
one costs no work. With the same priority, a third of the time went into images that were refused later."""


class TritonPythonModel:
    """One model instance; Triton's python backend finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compare the configuration with the contract, and create the thread pool.

        Raises:
            ConfigError: The configuration breaks the contract, or another model of the ensemble comes from another
                export, so the model doesn't load.
        """
        check_build(Path(args["model_repository"]), args["model_name"], args["model_version"])
        config = json.loads(args["model_config"])
        model = ServedModel.from_config(config)
        signature.preprocess(model).check_config(config)
        policy = ParameterPolicy.from_config(config, model)
        self._preparation = Preparation(model, policy, ImageLimits.from_config(config))
        self._refusals = Refusals(pb_utils.MetricFamily, args["model_name"])
        self._distributions = Distributions(pb_utils.MetricFamily, args["model_name"], (BRIGHTNESS,))
        os.nice(_NICENESS)
        memory.keep_freed()
        pixels.configure_opencv()
        if model.task is Task.CLASSIFY and not cropped.has_pillow():
            pb_utils.Logger.log_warn(cropped.PILLOW_MISSING)
        workers = min(len(os.sched_getaffinity(0)), max(1, int(config["max_batch_size"])))
        network = f"{args['model_name'].removesuffix('_preprocess')}_network"
        self._slicer = Slicer(model, network, self._preparation.network_input) if model.max_slices else None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="preprocess")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request of a batch separately; the images are processed in parallel.

        An image that is cut into tiles is answered later; the list has None in its place.
        """
        raws = [_read(request) for request in requests]  # Triton's objects are used in this thread only
        # A single image is processed in this thread, whose CPU cache has its bytes.
        outcomes = map(self._outcome, raws) if len(raws) == 1 else self._pool.map(self._outcome, raws)
        responses = [self._respond(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]
        self._distributions.count_if_due()
        return responses

    def finalize(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()
        if self._slicer is not None:
            self._slicer.stop()

    def _outcome(self, raw: Raw | Exception) -> Outputs | Sliced | Exception:
        if isinstance(raw, Exception):
            return raw
        try:
            return self._preparation.run(raw)
        except Exception as exc:  # noqa: BLE001  (only this request fails; `_respond` reports the error)
            return exc

    def _respond(self, request: Any, outcome: Outputs | Sliced | Exception) -> Any:
        wanted = request.requested_output_names()
        if isinstance(outcome, Sliced):
            assert self._slicer is not None  # without it, preparation cuts no image
            try:
                self._slicer.start(request, outcome, lambda found: self._response(found, wanted))
            except TileError as exc:
                return self._response(exc, wanted)
            return None
        if not isinstance(outcome, Exception):
            self._distributions.add(of_input(outcome["images"]))
        return self._response(outcome, wanted)

    def _response(self, outcome: Outputs | Exception, wanted: Sequence[str]) -> Any:
        if isinstance(outcome, RequestError):
            pb_utils.Logger.log_verbose(f"refused: {outcome}")
            self._refusals.count(outcome)
            return _error(str(outcome), pb_utils.TritonError.INVALID_ARG)
        if isinstance(outcome, TileError):
            return _error(str(outcome), outcome.code)
        if isinstance(outcome, Exception):
            pb_utils.Logger.log_error("".join(traceback.format_exception(outcome)))
            return _error("preprocessing failed, see the server's log", pb_utils.TritonError.INTERNAL)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, array) for name, array in outcome.items() if name in wanted]
        )


def _read(request: Any) -> Raw | Exception:
    try:
        images = pb_utils.get_input_tensor_by_name(request, signature.IMAGE.name).as_numpy()
        return Raw(parameters_text(request), images)
    except Exception as exc:  # noqa: BLE001  (only this request fails; `_respond` reports the error)
        return exc


def _error(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
