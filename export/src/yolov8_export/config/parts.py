# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the configurations of all members are made of.

How many requests may wait in front of a member, and for how long.

What Triton runs through a member's instances before it says that they are ready (``model_warmup``).

A sample of batch size n is n requests of one image each, run as one batch. A sample that fails keeps the model from
loading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.tensors import Signature, TensorSpec
from yolov8_export.config.deployment import Deployment

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


MIN_BOUNDED_INSTANCES = 2
"""With any limit on its queue and one instance, Triton 2.51 lets requests lie for half a second beside an idle model:
with limits it no longer prepares a batch ahead, and nothing wakes its batcher when the instance is done."""

NETWORK_QUEUES = 2
"""How much longer than the first member's the network's queue may be: all that was let in at once has room."""


def bound_first(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Limit the queue of the member that requests meet first; a request that is refused there has cost nothing."""
    config.instance_group[0].count = MIN_BOUNDED_INSTANCES
    _bound(config, deployment.queue_size, deployment)


def bound_network(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Limit the network's queue, if that is possible.

    The first member is quicker and lets in what the network can't keep up with. Unlimited, the queue would grow until
    each answer comes after its caller's deadline.
    """
    if config.instance_group[0].count >= MIN_BOUNDED_INSTANCES:
        _bound(config, NETWORK_QUEUES * deployment.queue_size, deployment)


def is_bounded(config: pb.ModelConfig) -> bool:
    """Tell whether a member's queue has a limit of any kind."""
    return bool(config.dynamic_batching.default_queue_policy != pb.ModelQueuePolicy())


def _bound(config: pb.ModelConfig, size: int, deployment: Deployment) -> None:
    """A request may say that it waits for less time than others, since its caller does."""
    policy = config.dynamic_batching.default_queue_policy
    policy.max_queue_size = size
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = round(deployment.queue_timeout_s * 1e6)
    policy.allow_timeout_override = True


def zeros(batch_sizes: Iterable[int], tensors: Signature) -> list[pb.ModelWarmup]:
    """Return samples of nothing but zeros, for inputs whose dims are numbers."""
    samples = []
    for size in batch_sizes:
        sample = _sample(size)
        for spec in tensors.inputs:
            sample.inputs[spec.name].CopyFrom(pb.ModelWarmup.Input(data_type=_type(spec), dims=spec.shape))
            sample.inputs[spec.name].zero_data = True
        samples.append(sample)
    return samples


def file(batch_sizes: Iterable[int], spec: TensorSpec, path: Path) -> list[pb.ModelWarmup]:
    """Return samples that give an input of varying length the bytes of a file, in the folder `WARMUP_FOLDER`."""
    samples = []
    for size in batch_sizes:
        sample = _sample(size)
        given = pb.ModelWarmup.Input(data_type=_type(spec), dims=[path.stat().st_size], input_data_file=path.name)
        sample.inputs[spec.name].CopyFrom(given)
        samples.append(sample)
    return samples


def _sample(size: int) -> pb.ModelWarmup:
    return pb.ModelWarmup(name=f"batch_{size}", batch_size=size)


def _type(spec: TensorSpec) -> int:
    return int(pb.DataType.Value(spec.dtype.config_name))
