# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of ``/dev/shm`` a served model can take: its python members' tensors travel there."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.tensors import DataType

_BYTES = {kind.config_name: np.dtype(kind.numpy).itemsize for kind in DataType if kind is not DataType.BYTES}
_MIB = 1024 * 1024
_STEP_MIB = 64
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
    return -int(-total * RESERVE // (_STEP_MIB * _MIB)) * _STEP_MIB


def _fixed_bytes(tensor: pb.ModelInput | pb.ModelOutput) -> int:
    if -1 in tensor.dims:
        return 0
    return int(np.prod(tensor.dims)) * _BYTES[pb.DataType.Name(tensor.data_type)]
