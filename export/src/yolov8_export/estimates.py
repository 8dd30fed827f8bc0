# SPDX-License-Identifier: AGPL-3.0-or-later
"""Estimate the memory of a served model and the throughput of its network, before a GPU is bought.

The operations and the memory of one image are read from the network's ONNX graph. The throughput is a share of the peak
in the GPU's data sheet. Published figures of TensorRT in FP16 (Ultralytics' pages: yolov8n takes 0.34 ms an image on an
A100 and 0.62 ms on an RTX 3080 in batches of 8, yolov8x 3.53 ms on an A100) are 8 to 25 % of the peak: small networks
reach a smaller share of a large GPU. This project has measured none of this.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.image_header import ImageLimits
from yolov8_contract.served_model import ServedModel
from yolov8_export.config.files import as_json, check_config_exists, config_path, read_config
from yolov8_export.config.members import ONNX_FILE
from yolov8_export.config.sizing import (
    MIB,
    cuda_pool_mib,
    fixed_bytes,
    is_on_gpu,
    pinned_pool_mib,
    shm_mib,
    tensor_bytes,
)
from yolov8_export.errors import RepositoryError
from yolov8_export.graph.operations import multiplications, with_shapes
from yolov8_export.repository.layout import MANIFEST

LEAST_SHARE, MOST_SHARE = 0.08, 0.25


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU's data sheet: memory in GB, and dense FP16, INT8 and FP32 throughput in 10^12 operations a second.

    ``decodes_jpeg`` tells whether it has hardware for JPEGs (nvJPEG's documentation: A100, Ada, Hopper, Blackwell).
    """

    name: str
    memory_gb: int
    fp16_tops: float
    int8_tops: float
    fp32_tops: float
    decodes_jpeg: bool = False

    def images_per_second(self, operations: int, precision: str) -> tuple[float, float]:
        """Return a low and a high estimate of the throughput of the network alone."""
        peak = {"fp16": self.fp16_tops, "int8": self.int8_tops}.get(precision, self.fp32_tops) * 1e12
        return peak * LEAST_SHARE / max(operations, 1), peak * MOST_SHARE / max(operations, 1)


GPUS = (
    Gpu("T4", 16, 65, 130, 8.1),
    Gpu("L4", 24, 121, 242, 30.3, decodes_jpeg=True),
    Gpu("A10", 24, 125, 250, 31.2),
    Gpu("RTX 4090", 24, 165, 660, 82.6, decodes_jpeg=True),
    Gpu("L40S", 48, 362, 733, 91.6, decodes_jpeg=True),
    Gpu("A100", 40, 312, 624, 19.5, decodes_jpeg=True),
    Gpu("H100", 80, 989, 1979, 67, decodes_jpeg=True),
)
COPIED_BYTES_PER_S = (3e9, 6e9)
"""Copies over PCIe into pageable memory, as Triton's python backend makes them: an assumption, measured nowhere."""
DECODED_PER_S = (2_000, 7_000)
"""JPEGs an A100 decodes a second, with 10 and 75 % of them in its hardware (DALI's issue 5362)."""
CHECK_MS = 0.8
POSTPROCESS_MS = {"raw": 1.8, "best-class": 0.9, "candidates": 0.9, "end2end": 0.6}
"""CPU time of an image of 137 KB in the python models, by the network's output (``make benchmark-host``, one core of an
AMD EPYC; yolov8n, default thresholds)."""
CONTEXT_MIB = 500
"""The memory of CUDA, the engine's libraries and DALI before the first image; 300 to 700 MiB are usual."""
DECODED_BYTES_A_PIXEL = 8
"""DALI keeps an image both decoded and partly resized."""
TYPICAL_PIXELS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The operations and the memory of a network.

    Attributes:
        operations: The number of multiplications and additions for one image.
        weight_bytes: The size of all weights.
        activation_bytes: The peak of the intermediate tensors of one image; engines that fuse layers need less.
    """

    operations: int
    weight_bytes: int
    activation_bytes: int


def read_cost(path: Path) -> Cost:
    """Read the cost of the network in an ONNX file."""
    file = with_shapes(onnx.load(path))
    graph = file.graph
    sizes = {value.name: _size(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    operations = 2 * sum(multiplications(file).values())
    weights = {weight.name: weight for weight in graph.initializer}
    held = sum(len(weight.raw_data) or onnx.numpy_helper.to_array(weight).nbytes for weight in weights.values())
    return Cost(operations=operations, weight_bytes=held, activation_bytes=_peak(graph, sizes))


def _size(value: onnx.ValueInfoProto) -> tuple[int, int]:
    """Return the number of a tensor's values and their bytes; 0 if they are unknown."""
    kind = value.type.tensor_type
    count = int(np.prod([dim.dim_value for dim in kind.shape.dim], dtype=np.int64))
    return count, count * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize if kind.elem_type else 0


def _peak(graph: onnx.GraphProto, sizes: dict[str, tuple[int, int]]) -> int:
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input}
    alive = {value.name for value in graph.input}
    most = 0
    for index, node in enumerate(graph.node):
        alive.update(node.output)
        most = max(most, sum(sizes.get(name, (0, 0))[1] for name in alive))
        alive = {name for name in alive if last_use.get(name, len(graph.node)) > index}
    return most


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A composing model: where it runs, and the bytes of its tensors for one image."""

    name: str
    backend: str
    device: str
    instances: int
    max_batch_size: int
    tensor_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The estimate of a served model.

    Attributes:
        members: The composing models in the order in which they run.
        precision: The precision of the network.
        cost: The operations and the memory of the network.
        gpu_mib: The MiB on each GPU by purpose; empty if nothing runs on a GPU.
        shm_mib: The MiB of shared memory, for ``--shm-size``.
        copied_bytes: The bytes of the network's output for one image, which postprocess gets from the GPU.
        network_output: What the output holds: ``raw``, ``best-class`` or ``candidates``.
    """

    members: tuple[Member, ...]
    precision: str
    cost: Cost
    gpu_mib: dict[str, int]
    shm_mib: int
    copied_bytes: int
    network_output: str

    def stages(self, gpu: Gpu, precision: str) -> dict[str, tuple[float, float]]:
        """Return low and high estimates of the images a second that each stage can process, on one GPU.

        No inference runs while the network's output is copied, so their times add up. Decoding counts where the GPU has
        hardware for it; for others there is no published figure.
        """
        speeds = zip(gpu.images_per_second(self.cost.operations, precision), COPIED_BYTES_PER_S, strict=True)
        low, high = (1 / (1 / images + self.copied_bytes / copied) for images, copied in speeds)
        stages = {"network and copy": (low, high)}
        instances = {member.name.rpartition("_")[2]: member.instances for member in self.members}
        if gpu.decodes_jpeg and any(member.backend == "dali" for member in self.members):
            stages["decoding"] = DECODED_PER_S
        for name, ms in (("check", CHECK_MS), ("postprocess", POSTPROCESS_MS[self.network_output])):
            if name in instances:
                stages[name] = (1000 * instances[name] / ms,) * 2
        return stages

    def bottleneck(self, gpu: Gpu, precision: str) -> tuple[str, tuple[float, float]]:
        """Return the slowest stage, and its images a second."""
        return min(self.stages(gpu, precision).items(), key=lambda stage: sum(stage[1]))

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        return asdict(self)


def estimate(repository: Path, name: str, config_name: str | None = None) -> Estimate:
    """Estimate the memory of a served model and the operations of its network.

    Args:
        repository: The folder that Triton serves.
        name: The name of the ensemble.
        config_name: The custom model configuration to read where a model has it; None for ``config.pbtxt``.

    Raises:
        RepositoryError: The model is missing or incomplete.

    Example:
        >>> estimate(Path("build/repository"), "yolov8n").shm_mib  # doctest: +SKIP
        768
    """
    check_config_exists(repository, config_name)
    ensemble = read_config(config_path(repository / name, config_name))
    steps = [step.model_name for step in ensemble.ensemble_scheduling.step]
    configs = [read_config(config_path(repository / member, config_name)) for member in steps]
    if not configs:
        raise RepositoryError(f"{repository / name}: is not an ensemble; say the name that clients use")
    cost, precision = _read_network(repository / f"{name}_network")
    max_bytes = ImageLimits.from_config(as_json(configs[0])).max_bytes
    return Estimate(
        members=tuple(_member(config) for config in configs),
        precision=precision,
        cost=cost,
        gpu_mib=_gpu_mib(configs, cost, max_bytes),
        shm_mib=shm_mib(configs, max_bytes=max_bytes),
        copied_bytes=sum(fixed_bytes(tensor) for config in configs for tensor in config.output if _is_network(config)),
        network_output=ServedModel.from_config(as_json(ensemble)).network_output,
    )


def _is_network(config: pb.ModelConfig) -> bool:
    return str(config.name).endswith("_network")


def _read_network(folder: Path) -> tuple[Cost, str]:
    """Return the cost and the precision of the newest version of a network."""
    versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    try:
        newest = folder / str(versions[-1])
        network = json.loads((newest / MANIFEST).read_text(encoding="utf-8"))["network"]
        if network.get("format", "onnx") != "onnx":
            raise RepositoryError(
                f"{newest}: is a SavedModel as it was given, whose cost is not known; estimate an export of the .pt"
            )
        return read_cost(newest / ONNX_FILE), network["precision"]
    except (OSError, IndexError, ValueError, KeyError) as exc:
        raise RepositoryError(f"{folder}: has no network to read: {exc}; export the model again") from exc


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
    """Return the MiB on one GPU by purpose; too high where an engine fuses layers."""
    on_gpu = [config for config in configs if is_on_gpu(config)]
    if not on_gpu:
        return {}
    parts = {"CUDA context and libraries": CONTEXT_MIB, "pool for tensors": cuda_pool_mib(configs, max_bytes)}
    for config in on_gpu:
        instances, batch = config.instance_group[0].count, config.max_batch_size
        if config.backend == "dali":
            parts["decoding"] = instances * batch * TYPICAL_PIXELS * DECODED_BYTES_A_PIXEL // MIB
        else:
            # Triton's tensorrt backend shares only plans whose batch is fixed among instances.
            parts["weights"] = instances * cost.weight_bytes // MIB + 1
            parts["activations"] = instances * batch * cost.activation_bytes // MIB + 1
    return parts | {"pinned memory of the host": pinned_pool_mib(configs, max_bytes)}
