# SPDX-License-Identifier: AGPL-3.0-or-later
"""Build the parts of a composing model's configuration: tensors, queue limits and warm-up samples.

Triton runs the samples of ``model_warmup`` through each model instance before it reports the model as ready. A sample
of batch size n is n requests of one image each, run as one batch. A sample that fails keeps the model from loading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.tensors import Signature, TensorSpec
from yolov8_export.config.deployment import LEAST_QUEUE_TIMEOUT_S, Deployment

CONTRACT_VERSION = "contract_version"
"""The parameter that marks a configuration as written by export."""

_RAGGED = (signature.IMAGE, signature.CHECKED_IMAGE)
"""The inputs of varying length: without ``allow_ragged_batch``, files of different lengths are never batched."""


def member(name: str, backend: str, tensors: Signature, deployment: Deployment) -> pb.ModelConfig:
    """Return a composing model that runs in one instance on the CPU and batches across requests."""
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
    """Let a model's instances run on each of some GPUs, or on all GPUs if the list is empty."""
    config.instance_group[0].kind = pb.ModelInstanceGroup.KIND_GPU
    config.instance_group[0].gpus.extend(gpus)


def newest() -> pb.ModelVersionPolicy:
    """Return the policy to serve the newest version only, since an ensemble always runs its members' newest."""
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
"""The fewest instances of a model whose queue has limits. With limits, Triton 2.51 prepares no batch ahead, and nothing
wakes its batcher when the only instance becomes idle: requests wait for half a second beside an idle model."""

LATER_QUEUES = 2
"""The length of later queues in multiples of the first member's: all accepted requests fit into them."""


def bound_first(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Limit the queue of the first member, where refusing a request has cost no work yet."""
    _bound(config, deployment.queue_size, deployment)


def bound_later(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Limit the queue of a later member if it has enough instances.

    The first member is faster and accepts more than the others can process. An unlimited queue would grow until each
    answer comes after its caller's deadline. On a GPU it would also hold the tensors of all requests that wait.
    """
    if config.instance_group[0].count >= MIN_BOUNDED_INSTANCES:
        _bound(config, LATER_QUEUES * deployment.queue_size, deployment)


def is_bounded(config: pb.ModelConfig) -> bool:
    """Return whether a model's queue has a limit of any kind."""
    return any(policy != pb.ModelQueuePolicy() for policy in queue_policies(config).values())


def queue_policies(config: pb.ModelConfig) -> dict[int, pb.ModelQueuePolicy]:
    """Return the limits of a model's queue by priority level; a queue without levels has level 0."""
    batching = config.dynamic_batching
    levels = range(1, batching.priority_levels + 1) if batching.priority_levels else (0,)
    given = batching.priority_queue_policy
    return {level: given.get(level, batching.default_queue_policy) for level in levels}


def _bound(config: pb.ModelConfig, size: int, deployment: Deployment) -> None:
    """Limit a queue in length and time; a request may ask for a shorter time, as its caller's deadline requires."""
    policy = config.dynamic_batching.default_queue_policy
    policy.max_queue_size = size
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    chosen = deployment.queue_timeout_s
    policy.default_timeout_microseconds = round((LEAST_QUEUE_TIMEOUT_S if chosen is None else chosen) * 1e6)
    policy.allow_timeout_override = True


def default_priority_level(levels: int) -> int:
    """Return the level of requests that ask for none: the middle one, the lower of two."""
    return levels // 2 + 1


def add_priority_levels(config: pb.ModelConfig, levels: int) -> None:
    """Give a model's queue levels, of which the first is served first; with 0 levels, leave it as it is.

    A level below the first may hold half as many requests as the one above it, so that all levels together hold less
    than twice as many as a queue without levels. Measured at almost three times the network's
    capacity: other lengths or shorter times of the lower level change neither the latency of the first one nor the
    number of answers.
    """
    if levels == 0:
        return
    batching = config.dynamic_batching
    batching.priority_levels = levels
    batching.default_priority_level = default_priority_level(levels)
    if not is_bounded(config):
        return
    for level in range(1, levels + 1):
        policy = batching.priority_queue_policy[level]
        policy.CopyFrom(batching.default_queue_policy)
        policy.max_queue_size = max(policy.max_queue_size >> (level - 1), 1)


def zeros(batch_sizes: Iterable[int], tensors: Signature) -> list[pb.ModelWarmup]:
    """Return samples of zeros for inputs of fixed shape."""
    samples = []
    for size in batch_sizes:
        sample = _sample(size)
        for spec in tensors.inputs:
            sample.inputs[spec.name].CopyFrom(pb.ModelWarmup.Input(data_type=_type(spec), dims=spec.shape))
            sample.inputs[spec.name].zero_data = True
        samples.append(sample)
    return samples


def file(batch_sizes: Iterable[int], spec: TensorSpec, path: Path) -> list[pb.ModelWarmup]:
    """Return samples that fill an input of varying length with the bytes of a file in the folder `WARMUP_FOLDER`."""
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
