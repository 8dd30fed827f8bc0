# SPDX-License-Identifier: AGPL-3.0-or-later
"""Size the server's memory pools and ``/dev/shm`` for the tensors that composing models pass on.

Triton's default pool on a GPU has 64 MB. If it is full, tensors take the way through the host's memory, and only one
warning in the log tells so. The tensors of python models travel through ``/dev/shm``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature, slices
from yolov8_contract.tensors import DataType

MIB = 1024 * 1024
RESERVE = 1.25
"""Pools and shared memory are heaps: tensors of different sizes leave gaps, and each has a few bytes around it."""

_STEP_MIB = 64
_DEFAULT_CUDA_MIB = 64
_DEFAULT_PINNED_MIB = 256
_ENCODED_SHARE = 10
_BYTES = {kind.config_name: np.dtype(kind.numpy).itemsize for kind in DataType if kind is not DataType.BYTES}


def cuda_pool_mib(members: Iterable[pb.ModelConfig], max_bytes: int) -> int:
    """Return the MiB that the pool of each GPU needs for all batches that can be in flight.

    While each model instance works on one batch, the next is filled and the results of one are read, which makes two
    batches an instance and one more.
    """
    on_gpu = [config for config in members if is_on_gpu(config)]
    return _rounded(sum(_batches(config) * _batch_bytes(config, max_bytes) for config in on_gpu))


def pinned_pool_mib(members: Iterable[pb.ModelConfig], max_bytes: int) -> int:
    """Return the MiB of pinned host memory for the batches that enter and leave the GPU."""
    edges = [config for config in members if config.backend == "python" or is_on_gpu(config)]
    return _rounded(sum(_batches(config) * _batch_bytes(config, max_bytes) for config in edges))


def pool_of_each_gpu(cuda_mib: int, gpus: Collection[int]) -> int:
    """Return the bytes of each GPU's pool where all GPUs are used, whose number ``serve.sh`` finds out; else 0."""
    return cuda_mib * MIB if cuda_mib > _DEFAULT_CUDA_MIB and not gpus else 0


def option_texts(cuda_mib: int, pinned_mib: int, gpus: Collection[int]) -> list[str]:
    """Return tritonserver's options for pools of these sizes, without those that its defaults cover.

    Args:
        cuda_mib: The MiB of the pool on each GPU.
        pinned_mib: The MiB of pinned host memory.
        gpus: The numbers of the GPUs; if it is empty, `pool_of_each_gpu` has the size.
    """
    options = []
    if cuda_mib > _DEFAULT_CUDA_MIB:
        options = [f"--cuda-memory-pool-byte-size={gpu}:{cuda_mib * MIB}" for gpu in gpus]
    if pinned_mib > _DEFAULT_PINNED_MIB:
        options.append(f"--pinned-memory-pool-byte-size={pinned_mib * MIB}")
    return options


def shm_mib(members: Iterable[pb.ModelConfig], *, max_bytes: int) -> int:
    """Return the MiB for ``--shm-size``: for each python model instances x batch x bytes of an image's tensors.

    A model that cuts images has some tiles in flight as well.

    It is a limit and not a reservation: memory is taken as it is used.
    """
    members = list(members)
    on_python = [config for config in members if config.backend == "python"]
    return _rounded(
        sum(
            config.instance_group[0].count * config.max_batch_size * tensor_bytes(config, varying=max_bytes)
            for config in on_python
        )
        + sum(config.instance_group[0].count for config in on_python if _cuts(config))
        * slices.IN_FLIGHT
        * sum(tensor_bytes(config, varying=0) for config in members if config.name.endswith("_network"))
    )


def _cuts(config: pb.ModelConfig) -> bool:
    """Return whether a model asks the network about tiles, whose tensors travel through its shared memory."""
    return any(tensor.name == signature.SLICED for tensor in config.output)


def tensor_bytes(config: pb.ModelConfig, *, varying: int) -> int:
    """Return the bytes of a model's inputs and outputs for one image.

    Args:
        config: The model's configuration.
        varying: The bytes to count for an input of varying length, which is the encoded image. An output of varying
            length contains the detections, which are small and not counted.
    """
    fixed = sum(fixed_bytes(tensor) for tensor in (*config.input, *config.output))
    return fixed + varying * sum(1 for tensor in config.input if -1 in tensor.dims)


def is_on_gpu(config: pb.ModelConfig) -> bool:
    """Return whether a model runs on a GPU."""
    return any(group.kind == pb.ModelInstanceGroup.KIND_GPU for group in config.instance_group)


def _batches(config: pb.ModelConfig) -> int:
    return 2 * int(config.instance_group[0].count) + 1


def _batch_bytes(config: pb.ModelConfig, max_bytes: int) -> int:
    """Return the bytes of a full batch's tensors; encoded images are counted at a tenth of the largest allowed."""
    return int(config.max_batch_size) * tensor_bytes(config, varying=max_bytes // _ENCODED_SHARE)


def _rounded(size: float) -> int:
    return -int(-size * RESERVE // (_STEP_MIB * MIB)) * _STEP_MIB


def fixed_bytes(tensor: pb.ModelInput | pb.ModelOutput) -> int:
    """Return the bytes of a tensor for one image; 0 if its length varies."""
    if -1 in tensor.dims:
        return 0
    return int(np.prod(tensor.dims)) * _BYTES[pb.DataType.Name(tensor.data_type)]
