# SPDX-License-Identifier: Apache-2.0
"""Writes a preprocess member alone into a model repository."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

import yolov8_contract
from yolov8_contract import signature
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.tensors import TensorSpec

SOURCE = Path(__file__).parents[3] / "model_repository" / "yolov8n_preprocess" / "1"


def write(
    repository: Path,
    name: str,
    model: ServedModel,
    *,
    limits: ImageLimits | None = None,
    changes: Mapping[str, str | None] | None = None,
) -> None:
    """Write a member; ``changes`` replace parameters of its configuration, or take them away."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    for path in SOURCE.glob("*.py"):
        shutil.copy(path, version)
    contract = Path(yolov8_contract.__file__).parent
    shutil.copytree(contract, version / "yolov8_contract", ignore=shutil.ignore_patterns("__pycache__"))
    policy = ParameterPolicy(task=model.task, num_classes=len(model.labels))
    parameters = model.to_parameters() | policy.to_parameters() | (limits or ImageLimits()).to_parameters()
    for key, text in (changes or {}).items():
        parameters.pop(key) if text is None else parameters.update({key: text})
    config = _config(name, model, parameters)
    (repository / name / "config.pbtxt").write_text(text_format.MessageToString(config))


def _config(name: str, model: ServedModel, parameters: Mapping[str, str]) -> pb.ModelConfig:
    tensors = signature.preprocess(model)
    return pb.ModelConfig(
        name=name,
        backend="python",
        max_batch_size=8,
        input=[pb.ModelInput(**_tensor(spec), allow_ragged_batch=True) for spec in tensors.inputs],
        output=[pb.ModelOutput(**_tensor(spec)) for spec in tensors.outputs],
        instance_group=[pb.ModelInstanceGroup(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)],
        dynamic_batching=pb.ModelDynamicBatching(max_queue_delay_microseconds=5000),
        parameters={key: pb.ModelParameter(string_value=text) for key, text in parameters.items()},
    )


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "data_type": pb.DataType.Value(spec.dtype.config_name), "dims": spec.shape}
