# SPDX-License-Identifier: Apache-2.0
"""Check, the first composing model of the gpu profile: check a request's parameters and JPEG before DALI decodes it.

DALI can't read request parameters, and it fails a whole batch for one image that it can't decode.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # use the copy of the contract in the model's folder

import triton_python_backend_utils as pb_utils
from admission import Admission

from yolov8_contract import signature
from yolov8_contract.build import check_build
from yolov8_contract.errors import RequestError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy, parameters_text
from yolov8_contract.refusals import Refusals
from yolov8_contract.served_model import ServedModel


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
        model = ServedModel.from_config(config)
        signature.check(model).check_config(config)
        policy = ParameterPolicy.from_config(config, model)
        self._admission = Admission(model, policy, ImageLimits.from_config(config))
        self._refusals = Refusals(pb_utils.MetricFamily, args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request of a batch separately."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        try:
            images = pb_utils.get_input_tensor_by_name(request, signature.IMAGE.name).as_numpy()
            outputs = self._admission.run(parameters_text(request), images)
        except RequestError as exc:
            self._refusals.count(exc)
            return _error(str(exc), pb_utils.TritonError.INVALID_ARG)
        except Exception as exc:  # noqa: BLE001  (only this request fails; the reason is for the operator)
            pb_utils.Logger.log_error("".join(traceback.format_exception(exc)))
            return _error("the check failed, see the server's log", pb_utils.TritonError.INTERNAL)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])


def _error(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
