# SPDX-License-Identifier: Apache-2.0
"""Read the options of a model's configuration, as Triton's tensorrt backend reads them.

Unknown ``parameters`` are ignored, as in Triton's own backend. `eager_batching`, `gather_kernel_buffer_threshold`,
`priority`, `busy_wait_events` and `output_copy_stream` decide when Triton's own backend copies, and have no effect
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_FILENAME = "model.plan"
DEFAULT_GRAPHS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Batch sizes with a CUDA graph where the configuration has neither graphs nor dynamic batching."""
STRATEGIES = ("STATIC", "ON_PROFILE_CHANGE")


class RefusedConfigError(ValueError):
    """The model can't be served with its configuration."""


@dataclass(frozen=True, slots=True)
class GraphSize:
    """A batch size with a CUDA graph; the graph also runs batches from ``lowest`` on."""

    size: int
    lowest: int


@dataclass(frozen=True, slots=True)
class Options:
    """How an instance runs a plan.

    Attributes:
        profiles: Numbers of the plan's optimization profiles that the instance uses.
        graphs: Batch sizes with a CUDA graph.
        strategy: How a context gets its memory; None is TensorRT's own choice.
    """

    profiles: tuple[int, ...]
    graphs: tuple[GraphSize, ...]
    strategy: str | None

    @classmethod
    def read(cls, config: Mapping[str, Any], *, instance: str) -> Options:
        """Read a configuration for the instance of this name.

        Raises:
            RefusedConfigError: if Triton's own backend would refuse a value, or this backend can't serve it.
        """
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        strategy = parameters.get("execution_context_allocation_strategy")
        if strategy is not None and strategy not in STRATEGIES:
            raise RefusedConfigError(
                f"parameter execution_context_allocation_strategy is {strategy!r}, expected {' or '.join(STRATEGIES)}"
            )
        if parameters.get("enable_multi_device", "false").lower() == "true":
            raise RefusedConfigError("enable_multi_device is not served by the embedded tensorrt backend")
        cuda = config.get("optimization", {}).get("cuda", {})
        graphs = _graphs(config, cuda.get("graph_spec", [])) if cuda.get("graphs") else ()
        return cls(_profiles(_group(config, instance)), graphs, strategy)


def plan_filename(config: Mapping[str, Any], compute_capability: str) -> str:
    """Return the name of the plan for a GPU of a compute capability such as ``8.9``."""
    by_capability: Mapping[str, str] = config.get("cc_model_filenames", {})
    return by_capability.get(compute_capability) or config.get("default_model_filename") or DEFAULT_FILENAME


def _group(config: Mapping[str, Any], instance: str) -> Mapping[str, Any]:
    """Return the instance group of an instance, whose name Triton makes of the group's and a number."""
    groups: Sequence[Mapping[str, Any]] = config.get("instance_group", [])
    for group in groups:
        if re.fullmatch(re.escape(group.get("name", "")) + r"(_\d+)?", instance):
            return group
    return groups[0] if groups else {}


def _profiles(group: Mapping[str, Any]) -> tuple[int, ...]:
    if group.get("secondary_devices"):
        raise RefusedConfigError("secondary_devices (DLA cores) are not served by the embedded tensorrt backend")
    numbers = []
    for name in group.get("profile", []):
        digits = re.match(r"\s*\+?(\d+)", name)  # C++'s stoi ignores the rest of the text
        if digits is None:
            raise RefusedConfigError(
                f"profile {name!r} of the instance group is no number of a profile: 0, 1 and so on"
            )
        numbers.append(int(digits[1]))
    return tuple(dict.fromkeys(numbers)) or (0,)


def _graphs(config: Mapping[str, Any], specs: Sequence[Mapping[str, Any]]) -> tuple[GraphSize, ...]:
    most = int(config["max_batch_size"])
    if not specs:
        return tuple(GraphSize(size, size) for size in _default_graphs(config, most) if size <= most)
    graphs = []
    for spec in specs:
        size = int(spec.get("batch_size", 0))
        lowest = int(spec.get("graph_lower_bound", {}).get("batch_size", size))
        _check_inputs(config, spec)
        _check_inputs(config, spec.get("graph_lower_bound", {}))
        if most == 0 and (size or lowest):
            raise RefusedConfigError("graph spec expects 'batch_size' to be 0 if 'max_batch_size' is 0")
        if most and not (1 <= size <= most and 1 <= lowest <= most):
            raise RefusedConfigError(f"graph spec expects 'batch_size' to be >= 1 and <= {most}, got {size}, {lowest}")
        if lowest > size:
            raise RefusedConfigError(
                f"graph lower bound spec expects 'batch_size' to be <= graph spec 'batch_size' {size}, got {lowest}"
            )
        graphs.append(GraphSize(size, lowest))
    return tuple(sorted(graphs, key=lambda graph: graph.size))


def _default_graphs(config: Mapping[str, Any], most: int) -> list[int]:
    if "dynamic_batching" in config:
        preferred = config["dynamic_batching"].get("preferred_batch_size", [])
        return sorted({min(1, most), *map(int, preferred), most})
    return sorted({*DEFAULT_GRAPHS, most})


def _check_inputs(config: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Refuse a graph for other shapes than the configuration's; without shapes it is for the plan's own."""
    declared = {tensor["name"]: [int(dim) for dim in tensor["dims"]] for tensor in config["input"]}
    for name, shape in spec.get("input", {}).items():
        dims = [int(dim) for dim in shape.get("dim", [])]
        if dims != declared.get(name):
            raise RefusedConfigError(
                f"graph_spec for input {name!r} has the dims {dims}, the input has {declared.get(name)}; graphs for "
                "other shapes are not served by the embedded tensorrt backend"
            )
