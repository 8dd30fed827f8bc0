# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the members of a served model run, what they hold, and what a GPU might do: before one is bought."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.image_header import ImageLimits
from yolov8_export.config_network import ONNX_FILE
from yolov8_export.cost import Cost, read_cost
from yolov8_export.errors import RepositoryError
from yolov8_export.manifest import MANIFEST
from yolov8_export.memory_pools import cuda_pool_mib, is_on_gpu, pinned_pool_mib
from yolov8_export.named_config import check_known, config_path
from yolov8_export.pbtxt import as_json, read_config
from yolov8_export.shared_memory import needed_mib, tensor_bytes

CONTEXT_MIB = 500
"""What CUDA, the engine's libraries and DALI take on a GPU before the first image; 300 to 700 are usual."""
DECODED_BYTES_A_PIXEL = 8
"""DALI holds an image decoded and partly resized."""
TYPICAL_PIXELS = 2_000_000
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member: where it runs and what it takes; ``tensor_bytes`` are those of one image."""

    name: str
    backend: str
    device: str
    instances: int
    max_batch_size: int
    tensor_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a served model takes.

    Attributes:
        members: In the order in which they run.
        precision: Of the network.
        cost: Of the network, for one image.
        gpu_mib: On each GPU, by what for; empty where nothing runs on one.
        shm_mib: Of shared memory, for ``--shm-size``.
    """

    members: tuple[Member, ...]
    precision: str
    cost: Cost
    gpu_mib: dict[str, int]
    shm_mib: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def make_plan(repository: Path, name: str, config_name: str | None = None) -> Plan:
    """Read an exported model's plan.

    Args:
        repository: The folder that Triton serves.
        name: The ensemble's.
        config_name: Of the configurations to read where a model has them.

    Raises:
        RepositoryError: It is not there, or is not whole.
    """
    check_known(repository, config_name)
    ensemble = read_config(config_path(repository / name, config_name))
    steps = [step.model_name for step in ensemble.ensemble_scheduling.step]
    configs = [read_config(config_path(repository / member, config_name)) for member in steps]
    if not configs:
        raise RepositoryError(f"{repository / name}: is no ensemble; say the name that clients use")
    folder = repository / f"{name}_network"
    versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    try:
        newest = folder / str(versions[-1])
        cost = read_cost(newest / ONNX_FILE)
        precision = json.loads((newest / MANIFEST).read_text(encoding="utf-8"))["network"]["precision"]
    except (OSError, IndexError, ValueError, KeyError) as exc:
        raise RepositoryError(f"{folder}: has no network to read: {exc}; export the model again") from exc
    max_bytes = ImageLimits.from_config(as_json(configs[0])).max_bytes
    members = tuple(_member(config) for config in configs)
    return Plan(
        members=members,
        precision=precision,
        cost=cost,
        gpu_mib=_gpu_mib(configs, cost, max_bytes),
        shm_mib=needed_mib(configs, max_bytes=max_bytes),
    )


def _member(config: pb.ModelConfig) -> Member:
    (group,) = config.instance_group
    gpus = ",".join(map(str, group.gpus)) or "all"
    return Member(
        name=config.name,
        backend=config.backend,
        device=f"GPU {gpus}" if is_on_gpu(config) else "CPU",
        instances=group.count,
        max_batch_size=config.max_batch_size,
        tensor_bytes=tensor_bytes(config, varying=0),
    )


def _gpu_mib(configs: list[pb.ModelConfig], cost: Cost, max_bytes: int) -> dict[str, int]:
    """Add up what lies on one GPU; an estimate, and on the large side where an engine fuses layers."""
    on_gpu = [config for config in configs if is_on_gpu(config)]
    if not on_gpu:
        return {}
    parts = {"CUDA context and libraries": CONTEXT_MIB, "pool for tensors": cuda_pool_mib(configs, max_bytes)}
    for config in on_gpu:
        instances, batch = config.instance_group[0].count, config.max_batch_size
        if config.backend == "dali":
            parts["decoding"] = instances * batch * TYPICAL_PIXELS * DECODED_BYTES_A_PIXEL // _MIB
        else:
            parts["weights"] = instances * cost.weight_bytes // _MIB + 1
            parts["activations"] = instances * batch * cost.activation_bytes // _MIB + 1
    return parts | {"pinned memory of the host": pinned_pool_mib(configs, max_bytes)}
