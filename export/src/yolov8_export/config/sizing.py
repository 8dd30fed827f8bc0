# SPDX-License-Identifier: AGPL-3.0-or-later
"""How large the server's pools must be for the tensors that travel between a model's members.

Triton's default for a GPU holds 64 MB. Where it is full, tensors go through the host's memory, and nothing but one
warning in the log tells of it.

How much of ``/dev/shm`` a served model can take: its python members' tensors travel there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.tensors import DataType
from yolov8_export.config.deployment import Deployment

_MIB = 1024 * 1024
_STEP_MIB = 64
_DEFAULT_CUDA_MIB = 64
_DEFAULT_PINNED_MIB = 256
_RESERVE = 1.25
"""Room between tensors of different sizes."""


def cuda_pool_mib(members: Iterable[pb.ModelConfig], max_bytes: int) -> int:
    """Return MiB on each GPU for what its members hand on: the tensors of all batches that can be under way.

    A batch is filled while each instance works on one, and the results of one are read: twice the instances, and one
    batch more.
    """
    on_gpu = [config for config in members if is_on_gpu(config)]
    return _rounded(sum(_batches(config) * _largest_bytes(config, max_bytes) for config in on_gpu))


def pinned_pool_mib(members: Iterable[pb.ModelConfig], max_bytes: int) -> int:
    """Return MiB of pinned host memory: what enters and leaves the GPU, batch by batch."""
    edges = [config for config in members if config.backend == "python" or is_on_gpu(config)]
    return _rounded(sum(_batches(config) * _largest_bytes(config, max_bytes) for config in edges))


def pool_options(members: Iterable[pb.ModelConfig], deployment: Deployment) -> list[str]:
    """Return tritonserver's options that size the pools; none where its defaults are enough."""
    if deployment.device == "cpu":
        return []
    members = list(members)
    max_bytes = deployment.limits.max_bytes
    cuda, pinned = cuda_pool_mib(members, max_bytes), pinned_pool_mib(members, max_bytes)
    return option_texts(cuda, pinned, deployment.gpus or (0,))


def option_texts(cuda_mib: int, pinned_mib: int, gpus: Iterable[int]) -> list[str]:
    """Return the options for pools of these sizes; none where tritonserver's defaults are enough."""
    options = []
    if cuda_mib > _DEFAULT_CUDA_MIB:
        options = [f"--cuda-memory-pool-byte-size={gpu}:{cuda_mib * _MIB}" for gpu in gpus]
    if pinned_mib > _DEFAULT_PINNED_MIB:
        options.append(f"--pinned-memory-pool-byte-size={pinned_mib * _MIB}")
    return options


def is_on_gpu(config: pb.ModelConfig) -> bool:
    """Tell whether a member runs on a GPU."""
    return any(group.kind == pb.ModelInstanceGroup.KIND_GPU for group in config.instance_group)


def _batches(config: pb.ModelConfig) -> int:
    return 2 * int(config.instance_group[0].count) + 1


def _largest_bytes(config: pb.ModelConfig, max_bytes: int) -> int:
    """Return the bytes of a full batch's tensors; encoded images are counted at a tenth of the largest allowed."""
    image = tensor_bytes(config, varying=max_bytes // 10)
    return int(config.max_batch_size) * image


def _rounded(size: int) -> int:
    return -int(-size * _RESERVE // (_STEP_MIB * _MIB)) * _STEP_MIB


_BYTES = {kind.config_name: np.dtype(kind.numpy).itemsize for kind in DataType if kind is not DataType.BYTES}
_MIB_OF_SHARED_MEMORY = 1024 * 1024
_STEP_MIB_OF_SHARED_MEMORY = 64
RESERVE = 1.25
"""The region is a heap that never shrinks: room for its gaps, and for the few bytes around each tensor."""


def tensor_bytes(config: pb.ModelConfig, *, varying: int) -> int:
    """Return the bytes of a member's inputs and outputs for one image.

    Args:
        config: Of the member.
        varying: Bytes to count for an input whose length varies: the largest image that is taken. Outputs whose
            length varies are what was found, and small.
    """
    fixed = sum(_fixed_bytes(tensor) for tensor in (*config.input, *config.output))
    return fixed + varying * sum(1 for tensor in config.input if -1 in tensor.dims)


def needed_mib(members: Iterable[pb.ModelConfig], *, max_bytes: int) -> int:
    """Return MiB for ``--shm-size``: for each python member instances x batch x bytes of an image's tensors.

    It is a limit and not a reservation: memory is taken as it is used.
    """
    total = sum(
        config.instance_group[0].count * config.max_batch_size * tensor_bytes(config, varying=max_bytes)
        for config in members
        if config.backend == "python"
    )
    return -int(-total * RESERVE // (_STEP_MIB_OF_SHARED_MEMORY * _MIB_OF_SHARED_MEMORY)) * _STEP_MIB_OF_SHARED_MEMORY


def _fixed_bytes(tensor: pb.ModelInput | pb.ModelOutput) -> int:
    if -1 in tensor.dims:
        return 0
    return int(np.prod(tensor.dims)) * _BYTES[pb.DataType.Name(tensor.data_type)]
