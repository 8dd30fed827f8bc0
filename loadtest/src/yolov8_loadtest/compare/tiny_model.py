# SPDX-License-Identifier: Apache-2.0
"""A served model that does next to nothing: what is measured with it is the generator, not the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from yolov8_contract import signature
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_contract.tensors import TensorSpec

NAME = "tiny"
_MEMBER = "tiny_fixed"
_SERVED = ServedModel(task=Task.DETECT, labels=("thing",), imgsz=(32, 32))

# One object in an image of 64 x 48 pixels, whatever was sent.
_CODE = """\
import numpy as np
import triton_python_backend_utils as pb_utils

ANSWER = {
    "num_detections": np.array([[1]], np.int32),
    "detection_boxes": np.array([[[1.0, 2.0, 30.0, 40.0]]], np.float32),
    "detection_scores": np.array([[0.9]], np.float32),
    "detection_classes": np.array([[0]], np.int32),
    "orig_shape": np.array([[48, 64]], np.int32),
}


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor(*item) for item in ANSWER.items()]) for _ in requests]
"""


def write_tiny_model(repository: Path) -> None:
    """Write the model, an ensemble as all models of this contract are, into an empty repository."""
    (repository / NAME / "1").mkdir(parents=True)
    (repository / _MEMBER / "1").mkdir(parents=True)
    (repository / _MEMBER / "1" / "model.py").write_text(_CODE, encoding="utf-8")
    ensemble = _config(NAME)
    ensemble.platform = "ensemble"
    for name, value in _SERVED.to_parameters().items():
        ensemble.parameters[name].string_value = value
    step = ensemble.ensemble_scheduling.step.add(model_name=_MEMBER, model_version=-1)
    shape = signature.ensemble(_SERVED)
    step.input_map.update({spec.name: spec.name for spec in shape.inputs})
    step.output_map.update({spec.name: spec.name for spec in shape.outputs})
    member = _config(_MEMBER)
    member.backend = "python"
    member.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    for config in (ensemble, member):
        (repository / config.name / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


def _config(name: str) -> Any:
    config = model_config_pb2.ModelConfig(name=name, max_batch_size=1)
    shape = signature.ensemble(_SERVED)
    for spec in shape.inputs:
        _fill(config.input.add(allow_ragged_batch=True), spec)
    for spec in shape.outputs:
        _fill(config.output.add(), spec)
    return config


def _fill(tensor: Any, spec: TensorSpec) -> None:
    tensor.name = spec.name
    tensor.data_type = model_config_pb2.DataType.Value(spec.dtype.config_name)
    tensor.dims.extend(spec.shape)
