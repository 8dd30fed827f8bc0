# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the configurations of all members are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.tensors import Signature, TensorSpec
from yolov8_export.deployment import Deployment

CONTRACT_VERSION = "contract_version"
"""The parameter that marks a configuration as written here."""

_RAGGED = (signature.IMAGE, signature.CHECKED_IMAGE)
"""Files of different lengths would never batch otherwise."""


def member(name: str, backend: str, tensors: Signature, deployment: Deployment) -> pb.ModelConfig:
    """Return a member that runs in one instance on the CPU and batches across requests."""
    return pb.ModelConfig(
        name=name,
        backend=backend,
        max_batch_size=deployment.max_batch_size,
        version_policy=newest(),
        input=inputs(tensors.inputs),
        output=outputs(tensors.outputs),
        instance_group=[pb.ModelInstanceGroup(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)],
        dynamic_batching=pb.ModelDynamicBatching(),
    )


def put_on_gpus(config: pb.ModelConfig, gpus: Iterable[int]) -> None:
    """Let a member's instances run on each of some GPUs; on all where none is named."""
    config.instance_group[0].kind = pb.ModelInstanceGroup.KIND_GPU
    config.instance_group[0].gpus.extend(gpus)


def newest() -> pb.ModelVersionPolicy:
    """An ensemble runs its members' newest version whichever of its own is asked for, so only that is served."""
    return pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1))


def inputs(specs: Iterable[TensorSpec]) -> list[pb.ModelInput]:
    """Return tensors as a configuration's inputs."""
    return [
        pb.ModelInput(
            name=spec.name,
            data_type=pb.DataType.Value(spec.dtype.config_name),
            dims=spec.shape,
            allow_ragged_batch=spec in _RAGGED,
        )
        for spec in specs
    ]


def outputs(specs: Iterable[TensorSpec]) -> list[pb.ModelOutput]:
    """Return tensors as a configuration's outputs."""
    return [
        pb.ModelOutput(name=spec.name, data_type=pb.DataType.Value(spec.dtype.config_name), dims=spec.shape)
        for spec in specs
    ]


def set_parameters(config: pb.ModelConfig, parameters: Mapping[str, str]) -> None:
    """Add parameters to a configuration."""
    for key, value in parameters.items():
        config.parameters[key].string_value = value
