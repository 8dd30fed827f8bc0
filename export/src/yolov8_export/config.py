# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the Triton configurations of a served model: its members', then its ensemble's.

Only fields that Triton 24.10 knows. The same model and deployment give the same text, byte for byte: nothing in it
comes from a clock, a path or a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_contract.tensors import Signature, TensorSpec
from yolov8_export.deployment import Deployment
from yolov8_export.metadata import ultralytics_metadata

CONTRACT_VERSION = "contract_version"
"""The parameter that marks a configuration as written here."""

LATEST = -1
"""The version that an ensemble asks its members for."""


def served_configs(
    name: str, model: ServedModel, head: Head, *, stride: int, deployment: Deployment
) -> dict[str, pb.ModelConfig]:
    """Return the configurations of one served model by model name, members first and the ensemble last.

    Raises:
        ConfigError: The deployment's defaults don't fit the model, or ``head`` is none of its task.
    """
    policy = ParameterPolicy(
        task=model.task,
        num_classes=len(model.labels),
        defaults=deployment.defaults,
        max_det_limit=deployment.max_det_limit,
    )
    members = [_preprocess(name, model, policy, deployment), _network(name, model, head, stride, deployment)]
    if model.task is not Task.CLASSIFY:
        members.append(_postprocess(name, model, head, policy, deployment))
    return {config.name: config for config in (*members, _ensemble(name, model, members))}


def _preprocess(name: str, model: ServedModel, policy: ParameterPolicy, deployment: Deployment) -> pb.ModelConfig:
    config = _member(f"{name}_preprocess", "python", signature.preprocess(model), deployment)
    config.dynamic_batching.default_queue_policy.max_queue_size = deployment.queue_size
    _set_parameters(config, model.to_parameters() | policy.to_parameters() | deployment.limits.to_parameters())
    return config


def _network(name: str, model: ServedModel, head: Head, stride: int, deployment: Deployment) -> pb.ModelConfig:
    config = _member(f"{name}_network", "onnxruntime", signature.network(model, head), deployment)
    config.default_model_filename = "model.onnx"
    config.instance_group[0].count = deployment.instances
    config.dynamic_batching.max_queue_delay_microseconds = deployment.queue_delay_us
    parameters = {
        "intra_op_thread_count": str(deployment.threads),
        "inter_op_thread_count": "1",
        "metadata": ultralytics_metadata(model, stride),
        CONTRACT_VERSION: model.to_parameters()[CONTRACT_VERSION],
    }
    _set_parameters(config, parameters)
    return config


def _postprocess(
    name: str, model: ServedModel, head: Head, policy: ParameterPolicy, deployment: Deployment
) -> pb.ModelConfig:
    config = _member(f"{name}_postprocess", "python", signature.postprocess(model, head), deployment)
    _set_parameters(config, model.to_parameters() | policy.to_parameters())
    return config


def _member(name: str, backend: str, tensors: Signature, deployment: Deployment) -> pb.ModelConfig:
    return pb.ModelConfig(
        name=name,
        backend=backend,
        max_batch_size=deployment.max_batch_size,
        version_policy=_newest(),
        input=_inputs(tensors.inputs),
        output=_outputs(tensors.outputs),
        instance_group=[pb.ModelInstanceGroup(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)],
        dynamic_batching=pb.ModelDynamicBatching(),
    )


def _ensemble(name: str, model: ServedModel, members: Iterable[pb.ModelConfig]) -> pb.ModelConfig:
    tensors = signature.ensemble(model)
    config = pb.ModelConfig(
        name=name,
        platform="ensemble",
        max_batch_size=1,
        version_policy=_newest(),
        input=_inputs(tensors.inputs),
        output=_outputs(tensors.outputs),
    )
    config.ensemble_scheduling.step.extend(ensemble_steps(members, model.task))
    _set_parameters(config, model.to_parameters())
    return config


def ensemble_steps(members: Iterable[pb.ModelConfig], task: Task) -> list[pb.ModelEnsembling.Step]:
    """Return how an ensemble hands its members' tensors on: under their own names."""
    return [
        pb.ModelEnsembling.Step(
            model_name=member.name,
            model_version=LATEST,
            input_map={tensor.name: tensor.name for tensor in member.input},
            output_map={tensor.name: _in_ensemble(tensor.name, task) for tensor in member.output},
        )
        for member in members
    ]


def _in_ensemble(output: str, task: Task) -> str:
    """A classifier's network is its last member: what it puts out is the answer."""
    return signature.CLASS_SCORES if task is Task.CLASSIFY and output == "output0" else output


def _newest() -> pb.ModelVersionPolicy:
    """An ensemble runs its members' newest version whichever of its own is asked for, so only that is served."""
    return pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1))


def _inputs(specs: Iterable[TensorSpec]) -> list[pb.ModelInput]:
    return [
        pb.ModelInput(
            name=spec.name,
            data_type=pb.DataType.Value(spec.dtype.config_name),
            dims=spec.shape,
            allow_ragged_batch=spec == signature.IMAGE,  # else files of different lengths would never batch
        )
        for spec in specs
    ]


def _outputs(specs: Iterable[TensorSpec]) -> list[pb.ModelOutput]:
    return [
        pb.ModelOutput(name=spec.name, data_type=pb.DataType.Value(spec.dtype.config_name), dims=spec.shape)
        for spec in specs
    ]


def _set_parameters(config: pb.ModelConfig, parameters: Mapping[str, str]) -> None:
    for key, value in parameters.items():
        config.parameters[key].string_value = value
