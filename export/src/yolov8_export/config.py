# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the Triton configurations of a served model: its members', then its ensemble's.

Only fields that Triton 24.10 knows. The same model and deployment give the same text, byte for byte: nothing in it
comes from a clock, a path or a version.
"""

from __future__ import annotations

from collections.abc import Iterable

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_export import warmup
from yolov8_export.config_network import network_config
from yolov8_export.config_parts import CONTRACT_VERSION as CONTRACT_VERSION
from yolov8_export.config_parts import inputs, member, newest, outputs, put_on_gpus, set_parameters
from yolov8_export.deployment import Deployment
from yolov8_export.model_code import warmup_picture
from yolov8_export.queues import bound_first

LATEST = -1
"""The version that an ensemble asks its members for."""

DALI_FILE = "dali.py"


def served_configs(
    name: str, model: ServedModel, head: Head, *, stride: int, deployment: Deployment
) -> dict[str, pb.ModelConfig]:
    """Return the configurations of one served model by model name, members first and the ensemble last.

    Raises:
        ConfigError: The deployment's defaults don't fit the model, or ``head`` is none of its task.
    """
    policy = deployment.policy(model.task, num_classes=len(model.labels))
    members = _first_members(name, model, policy, deployment)
    members.append(network_config(name, model, head, stride=stride, deployment=deployment))
    if model.task is not Task.CLASSIFY:
        members.append(_postprocess(name, model, head, policy, deployment))
    return {config.name: config for config in (*members, _ensemble(name, model, members))}


def _first_members(
    name: str, model: ServedModel, policy: ParameterPolicy, deployment: Deployment
) -> list[pb.ModelConfig]:
    """The first one checks requests and bounds the queue; where DALI decodes, it does nothing else."""
    if deployment.preprocess == "dali":
        first = member(f"{name}_check", "python", signature.check(model), deployment)
    else:
        first = member(f"{name}_preprocess", "python", signature.preprocess(model), deployment)
    bound_first(first, deployment)
    set_parameters(first, model.to_parameters() | policy.to_parameters() | deployment.limits.to_parameters())
    return [first, _dali(name, model, deployment)] if deployment.preprocess == "dali" else [first]


def _dali(name: str, model: ServedModel, deployment: Deployment) -> pb.ModelConfig:
    """One instance a GPU: more of them take memory and bring nothing."""
    config = member(f"{name}_preprocess", "dali", signature.checked_preprocess(model), deployment)
    config.default_model_filename = DALI_FILE
    put_on_gpus(config, deployment.gpus)
    # One image sets the decoder up, a full batch its buffers; the sizes between have nothing of their own.
    sizes = sorted({1, deployment.max_batch_size})
    config.model_warmup.extend(warmup.file(sizes, signature.CHECKED_IMAGE, warmup_picture()))
    parameters = {
        "num_threads": str(deployment.threads),
        CONTRACT_VERSION: model.to_parameters()[CONTRACT_VERSION],
    }
    set_parameters(config, parameters)
    return config


def _postprocess(
    name: str, model: ServedModel, head: Head, policy: ParameterPolicy, deployment: Deployment
) -> pb.ModelConfig:
    config = member(f"{name}_postprocess", "python", signature.postprocess(model, head), deployment)
    set_parameters(config, model.to_parameters() | policy.to_parameters())
    return config


def _ensemble(name: str, model: ServedModel, members: Iterable[pb.ModelConfig]) -> pb.ModelConfig:
    tensors = signature.ensemble(model)
    config = pb.ModelConfig(
        name=name,
        platform="ensemble",
        max_batch_size=1,
        version_policy=newest(),
        input=inputs(tensors.inputs),
        output=outputs(tensors.outputs),
    )
    config.ensemble_scheduling.step.extend(ensemble_steps(members, model.task))
    set_parameters(config, model.to_parameters())
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
