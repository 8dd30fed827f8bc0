# SPDX-License-Identifier: Apache-2.0
"""Refuse every configuration that Triton's own onnxruntime backend refuses at load.

A model that loads here therefore loads in Triton's container image as well. The checks compare a model's configuration
with the graph. Features that this backend can't serve are refused, too, rather than served differently. The module does
no I/O and uses the standard library alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

DYNAMIC = -1
_CONFIG_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
_NOT_SERVED = ("sequence_batching", "batch_input", "batch_output", "model_operations")


class RefusedConfigError(ValueError):
    """The model can't be served with its configuration."""


class GraphTensor(Protocol):
    """An input or output of a graph, as ``onnxruntime.NodeArg`` describes it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def type(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> Sequence[int | str | None]: ...  # noqa: D102


def check_environment(config: Mapping[str, Any]) -> None:
    """Refuse unsupported fields of the configuration; called before the graph is loaded."""
    for field in _NOT_SERVED:
        if config.get(field):
            raise RefusedConfigError(f"{field} is not served by the embedded onnxruntime backend")
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", []):
        raise RefusedConfigError(
            f"cpu_execution_accelerator {accelerator.get('name')!r} is unknown: this backend supports no accelerators"
        )


def check_tensors(config: Mapping[str, Any], *, inputs: Iterable[GraphTensor], outputs: Iterable[GraphTensor]) -> None:
    """Refuse a configuration whose tensors differ from the graph's.

    All inputs must be declared; outputs may be left out. An input's dims may be static where the graph's are dynamic.
    An output's dims must equal the graph's exactly; most exported networks that fail do so here.
    """
    graph_inputs = {tensor.name: tensor for tensor in inputs}
    graph_outputs = {tensor.name: tensor for tensor in outputs}
    _check_names("input", config["input"], graph_inputs)
    missing = graph_inputs.keys() - {tensor["name"] for tensor in config["input"]}
    if missing:
        raise RefusedConfigError(f"the graph has inputs that the configuration lacks: {', '.join(sorted(missing))}")
    _check_names("output", config["output"], graph_outputs)
    batches = config["max_batch_size"] > 0
    for declared in config["input"]:
        _check_input_flags(declared)
        _check_type("input", declared, graph_inputs[declared["name"]])
        _check_dims("input", declared, graph_inputs[declared["name"]], batches=batches)
    for declared in config["output"]:
        _check_type("output", declared, graph_outputs[declared["name"]])
        _check_dims("output", declared, graph_outputs[declared["name"]], batches=batches)


def _check_names(kind: str, declared: Iterable[Mapping[str, Any]], graph: Mapping[str, GraphTensor]) -> None:
    for tensor in declared:
        if tensor["name"] not in graph:
            raise RefusedConfigError(
                f"{kind} {tensor['name']!r} is not in the graph, which has {', '.join(sorted(graph)) or 'none'}"
            )


def _check_input_flags(declared: Mapping[str, Any]) -> None:
    for flag in ("optional", "allow_ragged_batch"):
        if declared.get(flag):
            raise RefusedConfigError(
                f"input {declared['name']!r}: {flag} is not served by the embedded onnxruntime backend"
            )


def _check_type(kind: str, declared: Mapping[str, Any], graph: GraphTensor) -> None:
    name, wanted = declared["name"], declared["data_type"]
    if wanted not in _CONFIG_TYPES.values():
        raise RefusedConfigError(f"{kind} {name!r}: {wanted} is not served by an onnxruntime backend")
    provided = _CONFIG_TYPES.get(graph.type)
    if provided is None:
        raise RefusedConfigError(f"{kind} {name!r} is a {graph.type} in the graph, which Triton can't carry")
    if wanted != provided:
        raise RefusedConfigError(f"{kind} {name!r} is {wanted} in the configuration and {provided} in the graph")
    if wanted == "TYPE_STRING":
        raise RefusedConfigError(f"{kind} {name!r}: TYPE_STRING is not served by the embedded onnxruntime backend")


def _check_dims(kind: str, declared: Mapping[str, Any], graph: GraphTensor, *, batches: bool) -> None:
    name = declared["name"]
    dims = list(declared["reshape"]["shape"] if "reshape" in declared else declared["dims"])
    shape = [length if isinstance(length, int) else DYNAMIC for length in graph.shape]
    if not shape:
        if any(length != 1 for length in dims):
            raise RefusedConfigError(f"{kind} {name!r} is a scalar in the graph: its dims must all be 1, got {dims}")
        return
    if batches and shape[0] != DYNAMIC:
        raise RefusedConfigError(
            f"{kind} {name!r} has the fixed batch size {shape[0]} in the graph ({shape}): set max_batch_size to 0 and "
            "add the batch to the dims, or export with a dynamic batch axis"
        )
    full = [DYNAMIC, *dims] if batches else dims
    if not _fits(full, shape, exact=kind == "output"):
        rule = (
            "an output's dims must equal the graph's exactly: export with static dims except for the batch"
            if kind == "output"
            else "an input's dims may be static where the graph's are dynamic, but not the reverse"
        )
        batch = " (with the batch axis that max_batch_size > 0 adds)" if batches else ""
        raise RefusedConfigError(
            f"{kind} {name!r} is {full} in the configuration{batch} and {shape} in the graph; {rule}"
        )


def _fits(declared: Sequence[int], graph: Sequence[int], *, exact: bool) -> bool:
    return len(declared) == len(graph) and all(
        want == have or (have == DYNAMIC and not exact) for want, have in zip(declared, graph, strict=True)
    )
