# SPDX-License-Identifier: Apache-2.0
"""Postprocess, the last composing model: turn the network's outputs into detections in the image's own pixels."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # use the copy of the contract in the model's folder

import numpy as np
import triton_python_backend_utils as pb_utils

from yolov8_contract import signature, timings
from yolov8_contract.build import check_build
from yolov8_contract.distributions import Distributions, of_answer
from yolov8_contract.errors import ConfigError, Refusal, RequestError
from yolov8_contract.parameters import ParameterPolicy, RequestParameters, parameters_text
from yolov8_contract.postprocess import postprocess
from yolov8_contract.refusals import Refusals
from yolov8_contract.served_model import ServedModel
from yolov8_contract.slice_merge import merge, packed


class TritonPythonModel:
    """One model instance; Triton's python backend finds the class by its name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compare the configuration with the contract.

        Raises:
            ConfigError: The configuration breaks the contract, or another model of the ensemble comes from another
                export, so the model doesn't load.
        """
        check_build(Path(args["model_repository"]), args["model_name"], args["model_version"])
        config = json.loads(args["model_config"])
        self._model = ServedModel.from_config(config)
        self._policy = ParameterPolicy.from_config(config, self._model)
        head = _head_shapes(config)
        signature.postprocess(self._model, tuple(head.values())).check_config(config)
        if int(config["max_batch_size"]) < 1:
            raise ConfigError(
                f"model {config['name']!r}: expected max_batch_size of at least 1, got 0; export it again"
            )
        self._head_names = tuple(head)
        self._refusals = Refusals(pb_utils.MetricFamily, args["model_name"])
        self._counter_families = _counter_families()
        self._images, self._detections = (
            family.Metric(labels={"model": args["model_name"]}) for family in self._counter_families
        )
        quantities = ("score", "size", "objects", "megapixels")
        self._distributions = Distributions(pb_utils.MetricFamily, args["model_name"], quantities, self._model.labels)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request of a batch separately.

        The counters grow once a batch: each time, this process waits for the server's.
        """
        found: list[int] = []
        responses = [self._respond(request, found) for request in requests]
        if found:
            self._images.increment(len(found))
            self._detections.increment(sum(found))
        self._distributions.count_if_due()
        return responses

    def _respond(self, request: Any, found: list[int]) -> Any:
        """Return the response; append the number of objects to ``found`` if there is an answer."""
        try:
            tensors = self._detect(request)
        except RequestError as exc:
            self._refusals.count(exc)
            return _error(str(exc), pb_utils.TritonError.INVALID_ARG)
        except Exception:  # noqa: BLE001  (only this request fails; the reason is for the operator)
            pb_utils.Logger.log_error(traceback.format_exc())
            return _error("postprocessing failed, see the server's log", pb_utils.TritonError.INTERNAL)
        found.append(len(tensors[signature.SCORES.name]))
        self._distributions.add(of_answer(self._model, tensors))
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, array[np.newaxis]) for name, array in tensors.items() if name in wanted]
        )

    def _detect(self, request: Any) -> dict[str, Any]:
        times = np.zeros(len(timings.NAMES))
        if self._model.timings:
            times[:] = _one(request, signature.TIMINGS.name)
            timings.end(timings.NETWORK, times)
        parameters = self._policy.parse_json(parameters_text(request))
        shape = _one(request, signature.ORIG_SHAPE.name)
        height, width = shape.tolist()
        head = [_one(request, name) for name in self._head_names]
        tensors = self._objects(request, head, (height, width), parameters)
        timings.end(timings.POSTPROCESS, times)
        return tensors | {signature.ORIG_SHAPE.name: shape, signature.TIMINGS.name: times}

    def _objects(
        self, request: Any, head: Sequence[Any], orig_shape: tuple[int, int], parameters: RequestParameters
    ) -> dict[str, Any]:
        if parameters.slicing is None:
            return postprocess(self._model, head, orig_shape, parameters)
        tiles = parameters.slicing.tiles(orig_shape)
        first = packed(self._model, [postprocess(self._model, head, tiles[0].shape, parameters)], tiles, 0)
        others = {spec.name: _one(request, spec.name) for spec in signature.sliced(self._model)}
        return merge(self._model, orig_shape, parameters, [first, others])


def _one(request: Any, name: str) -> Any:
    """Return a tensor of the request's single image, without the batch axis."""
    batch = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    if len(batch) != 1:
        # Images have different numbers of objects, so their results do not fit into one array.
        raise RequestError(
            f"{name}: expected one image per request, got {len(batch)}; send one request per image", Refusal.COUNT
        )
    return batch[0]


def _head_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the network's outputs, in their order, from this model's inputs."""
    shapes = {tensor["name"]: tuple(int(dim) for dim in tensor["dims"]) for tensor in config["input"]}
    return {name: shapes[name] for name in sorted(shapes) if name.startswith("output")}


def _counter_families() -> tuple[Any, ...]:
    """Create counters of images and objects; Triton itself counts only requests. A family must outlive its counters."""
    return tuple(
        pb_utils.MetricFamily(name=name, description=description, kind=pb_utils.MetricFamily.COUNTER)
        for name, description in (
            ("yolov8_images_total", "Images that were postprocessed"),
            ("yolov8_detections_total", "Objects that were found in these images"),
        )
    )


def _error(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
